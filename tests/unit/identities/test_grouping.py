"""Clusters with what people said since they were computed."""

from faceindex.identities.events import Event
from faceindex.identities.grouping import regrouped
from tests.support.speech import said
from tests.support.spoken import people, row

COMPUTED = {1: [0, 1, 2], 2: [3, 4], 3: [5, 6]}
"""Faces 1 to 7 at places 0 to 6, in one shard after sorting by id."""


def groups(*events: Event) -> tuple[dict[int, list[int]], int]:
    """Return clusters of the numbers of faces, after what was said."""
    found = people(*events, rows=[row(number) for number in range(1, 10)])
    number_of = {place: int.from_bytes(bytes(found.rows.ids(found.rows.places)[place]), "big") for place in range(9)}
    place_of = {number: place for place, number in number_of.items()}
    computed = {number: [place_of[1 + place] for place in places] for number, places in COMPUTED.items()}
    clusters, first_free = regrouped(computed, found, 10)
    return {number: sorted(number_of[place] for place in places) for number, places in clusters.items()}, first_free


def test_what_nobody_spoke_of_stays() -> None:
    assert groups() == ({1: [1, 2, 3], 2: [4, 5], 3: [6, 7]}, 10)


def test_faces_split_from_a_cluster_are_one_of_their_own() -> None:
    clusters, first_free = groups(said("split", 1, 2, others=(3,)))

    assert clusters == {1: [3], 2: [4, 5], 3: [6, 7], 10: [1, 2]}
    assert first_free == 11


def test_clusters_and_faces_said_to_be_the_same_are_one() -> None:
    assert groups(said("same", 4, 7, 8))[0] == {1: [1, 2, 3], 2: [4, 5, 6, 7, 8]}
    assert groups(said("same", 8, 9))[0][10] == [8, 9]


def test_the_later_word_holds() -> None:
    assert groups(said("same", 4, 7), said("not-same", 4, others=(7,)))[0][2] != [4, 5, 6, 7]
    assert groups(said("split", 1, others=(2, 3)), said("same", 1, 2, 3))[0][1] == [1, 2, 3]


def test_a_face_rejected_from_the_person_of_its_cluster_leaves_it() -> None:
    clusters, _ = groups(said("name", 1, 2, 3, person="Anna"), said("reject", 3, person="Anna"))

    assert clusters[1] == [1, 2]


def test_a_rejection_from_somebody_else_moves_nobody() -> None:
    clusters, _ = groups(said("name", 8, person="Bea"), said("reject", 3, person="Bea"))

    assert clusters[1] == [1, 2, 3]


def test_faces_that_are_left_out_are_in_no_cluster() -> None:
    clusters, _ = groups(said("ignore", 1), said("not-a-face", 4))

    assert clusters == {1: [2, 3], 2: [5], 3: [6, 7]}


def test_what_was_said_since_of_two_faces_that_were_told_apart_holds() -> None:
    split = said("split", 1, others=(2, 3))

    assert groups(split, said("name", 1, 2, 3, person="Anna"))[0][1] == [1, 2, 3]
    assert groups(said("name", 2, 3, person="Anna"), said("reject", 1, person="Anna"), said("name", 1, person="Anna"))[
        0
    ] == {1: [1, 2, 3], 2: [4, 5], 3: [6, 7]}


def test_faces_named_differently_since_they_were_said_to_be_the_same_stay_where_they_are() -> None:
    clusters, _ = groups(said("same", 1, 4), said("name", 1, person="Anna"), said("name", 4, person="Bea"))

    assert clusters == {1: [1, 2, 3], 2: [4, 5], 3: [6, 7]}


def test_who_is_split_from_faces_that_were_said_to_be_the_same_leaves_the_others_together() -> None:
    clusters, _ = groups(said("same", 8, 1, 4), said("split", 8, others=(1, 2, 3, 4, 5)))

    assert clusters[1] == [1, 2, 3, 4, 5]
