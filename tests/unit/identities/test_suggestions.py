"""What is asked about unknown faces, and what never again."""

from typing import Any

import pyarrow as pa
import pytest

from faceindex.identities.events import Event
from faceindex.identities.suggestions import Question, questions
from faceindex.tables import LINKS
from tests.support.speech import face, said
from tests.support.spoken import people, row

CLUSTERS = {1: [1, 2, 3], 2: [4, 5]}
LINKED = {(4, 1): 2.0, (5, 2): 2.0, (6, 1): 0.0, (7, 6): 1.0}
"""Log-odds by the numbers of two faces: cluster 2 is cluster 1, face 6 perhaps, and 7 is 6. Doubts are below 0."""


def asked(
    *events: Event,
    links: dict[tuple[int, int], float] | None = None,
    rows: list[dict[str, Any]] | None = None,
) -> list[tuple[str, list[int], list[int], str | None]]:
    """Return (kind, faces, others, person) of all questions, in the order they are asked."""
    found = people(*events, rows=rows or [row(number) for number in range(1, 9)])
    number_of = {
        place: int.from_bytes(bytes(face_id), "big")
        for place, face_id in zip(found.rows.places.tolist(), found.rows.ids(found.rows.places), strict=True)
    }
    place_of = {number: place for place, number in number_of.items()}
    table = pa.Table.from_pylist(
        [
            {"face_id": face(one), "other_id": face(other), "log_odds": odds, "inside": odds < 0}
            for (one, other), odds in (LINKED if links is None else links).items()
        ],
        LINKS,
    )
    clusters = {number: [place_of[one] for one in faces] for number, faces in CLUSTERS.items()}

    def numbers(places: tuple[int, ...]) -> list[int]:
        return sorted(number_of[place] for place in places)

    listed: list[Question] = questions(found, clusters, table, 0.3)
    assert [one.settles for one in listed] == sorted((one.settles for one in listed), reverse=True)
    return [(one.kind, numbers(one.places), numbers(one.others), one.person) for one in listed]


def test_clusters_that_may_be_one_person_are_asked_about_once() -> None:
    kinds = asked()

    assert ("same", [4, 5], [1, 2, 3], None) in kinds
    assert [one for one in kinds if {*one[1], *one[2]} >= {1, 4}] == [("same", [4, 5], [1, 2, 3], None)]


def test_who_has_a_name_is_asked_about_by_name() -> None:
    kinds = asked(said("name", 1, 2, 3, person="Anna"))

    assert kinds[0] == ("person", [4, 5], [1, 2, 3], "Anna")
    assert ("same", [6], [7], None) in kinds or ("same", [7], [6], None) in kinds


def test_the_rest_of_a_named_cluster_is_asked_about_first() -> None:
    kinds = asked(said("name", 1, person="Anna"), links={})

    assert kinds == [("person", [2, 3], [1], "Anna")]


@pytest.mark.parametrize(
    "answer",
    [said("reject", 4, person="Anna"), said("not-same", 4, 5, others=(1, 2, 3)), said("name", 4, 5, person="Anna")],
)
def test_what_was_answered_is_not_asked_again(answer: Event) -> None:
    kinds = asked(said("name", 1, 2, 3, person="Anna"), answer)

    assert not [one for one in kinds if 4 in one[1]]


def test_faces_that_stand_in_one_photo_are_not_taken_for_one_person() -> None:
    rows = [row(number, photo=1001 if number == 4 else None) for number in range(1, 9)]

    assert not [one for one in asked(rows=rows) if 4 in {*one[1], *one[2]} and 1 in {*one[1], *one[2]}]


def test_faces_that_are_left_out_are_not_asked_about() -> None:
    assert not [one for one in asked(said("ignore", 7)) if 7 in {*one[1], *one[2]}]


def test_a_bad_picture_of_a_person_finds_nobody() -> None:
    rows = [{**row(number), "quality": 0.1 if number == 1 else 1.0} for number in range(1, 9)]
    named = said("name", 1, person="Anna")
    clusterless = {(6, 1): 3.0}

    assert [one[1] for one in asked(named, links=clusterless)] == [[2, 3], [6]]
    assert [one[1] for one in asked(named, links=clusterless, rows=rows)] == [[2, 3]]


def test_a_doubtful_cluster_is_asked_about_until_somebody_says_that_it_is_one_person() -> None:
    doubt = {(3, 1): -1.0}

    assert asked(links=doubt) == [("split", [3], [1, 2], None)]
    assert asked(said("same", 1, 2, 3), links=doubt) == []
    assert asked(said("name", 1, 2, 3, person="Anna"), links=doubt) == [("split", [3], [1, 2], "Anna")]
    assert asked(said("name", 1, 2, 3, person="Anna"), said("same", 1, 2, 3), links=doubt) == []


def test_a_large_unknown_group_may_be_a_person_of_one_face() -> None:
    """The faces of a large cluster have their neighbours among themselves: the smaller side tells."""
    assert asked(said("name", 8, person="Bea"), links={(8, 1): 2.0}) == [("person", [1, 2, 3], [8], "Bea")]
