"""Who the faces of a generation are, and what people may say of them."""

from typing import Any

import numpy as np
import pytest

from faceindex.arrays import ids_array
from faceindex.catalog.catalog import Catalog
from faceindex.errors import ConfigError, FaceIndexError, NothingFoundError
from faceindex.identities.events import Event
from faceindex.identities.labelling import Labelling
from faceindex.identities.people import People, PeopleOf, overlap, people_of
from faceindex.identities.rows import LiveRows
from faceindex.identities.selection import Selection, select
from tests.support.catalogs import make_catalog
from tests.support.speech import face, ref, said
from tests.support.spoken import HALF, OUTSIDE, people, row, seen


def names(found: People, *numbers: int) -> list[str | None]:
    return found.name_of(ids_array([face(number) for number in numbers]))


def test_faces_are_found_in_every_shard_and_dead_ones_in_none() -> None:
    found = people(said("name", 1, 2, 3, person="Anna"), rows=[row(1), row(2), row(3), row(4)], dead=2)

    assert names(found, 1, 2, 3, 4, 9) == ["Anna", None, "Anna", None, None]
    assert found.counts == {"Anna": 2}


def test_people_who_came_with_photos_are_people_until_the_ledger_says_otherwise() -> None:
    rows = [row(number, photo=number) for number in range(1, 5)]
    views = [seen(number, b"import:%d" % number, "Bea") for number in range(1, 5)]

    said_since = (said("name", 1, person="Anna"), said("reject", 2, person="Bea"), said("ignore", 3))
    found = people(*said_since, said("rename", person="Bea", to="Beate"), rows=rows, views=views)

    assert names(people(rows=rows, views=views), 1, 4) == ["Bea", "Bea"]
    assert names(found, 1, 2, 3, 4) == ["Anna", None, None, "Beate"]
    assert found.everybody == {"Anna", "Beate"}


def test_a_face_of_another_detector_takes_over_what_stood_at_its_box() -> None:
    gone = ref(1, OUTSIDE)
    event = Event(said("name", 1, person="Anna").kind, "tester", (gone,), person="Anna")

    found = people(event, rows=[row(50, 1001, HALF), row(51, 1001, (0.0, 0.0, 10.0, 8.0)), row(52, 2000)])

    assert names(found, 50, 51, 52) == [None, "Anna", None]
    place = found.rows.find(ids_array([face(51)])).tolist()
    assert found.refs(place) == (gone,)


def test_nobody_takes_over_from_a_face_that_is_there_or_across_photos() -> None:
    event = said("name", 1, person="Anna")

    assert names(people(event, rows=[row(1), row(50, 1001)]), 1, 50) == ["Anna", None]
    assert names(people(event, rows=[row(50, 1002)]), 50) == [None]


def test_overlap_is_intersection_over_union() -> None:
    assert overlap((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 1, 1), (1, 1, 2, 2)) == 0


def test_constraints_are_pairs_of_faces_that_are_there() -> None:
    events = [
        said("name", 1, 2, person="Anna"),
        said("same", 3, 4),
        said("not-same", 5, others=(3, 99)),
        said("reject", 6, person="Anna"),
        said("not-a-face", 7),
        said("not-same", 1, others=(2,)),
    ]

    found = people(*events, rows=[row(number) for number in range(1, 8)]).constraints()

    assert pairs(found.must_link) == {(1, 2), (3, 4)}
    assert pairs(found.cannot_link) == {(3, 5), (1, 6), (2, 6)}
    assert [int.from_bytes(one, "big") for one in found.left_out.tolist()] == [7]
    assert found.names == {face(1): "Anna", face(2): "Anna"}


def test_faces_that_are_the_same_stay_so_when_the_first_of_them_is_left_out() -> None:
    found = people(said("same", 1, 2, 3), said("ignore", 1), rows=[row(number) for number in range(1, 4)])

    assert pairs(found.constraints().must_link) == {(2, 3)}


def pairs(ids: np.ndarray[Any, Any]) -> set[tuple[int, ...]]:
    return {tuple(sorted(int.from_bytes(one, "big") for one in pair)) for pair in ids.tolist()}


def test_people_of_asks_the_ledger_of_now() -> None:
    catalog = make_catalog("memory://people-of")
    served = catalog.current()
    assert served is not None
    ids = LiveRows.open(catalog.files, served).ids(np.arange(3))

    assert people_of(catalog, served, ids) == [None, None, None]
    assert people_of(catalog, served, []) == []


def test_faces_are_meant_by_name_cluster_photo_or_the_beginning_of_their_id() -> None:
    rows = [row(0xABCDEF << 104, 1), row(2, 2), row(3, 3, HALF), row(4, 3)]
    views = [seen(1, b"/a/x.jpg"), seen(2, b"/b/x.jpg"), seen(3, b"/b/y#1.jpg")]
    found = people(said("name", 2, person="x.jpg"), said("name", 3, person="12"), rows=rows, views=views)
    place = {number: found.rows.find(ids_array([face(number)]))[0] for number in (0xABCDEF << 104, 2, 3, 4)}

    def meant(text: str) -> tuple[str, list[int]]:
        chosen = select(text, found, {12: [0], 7: [1, 2]})
        return chosen.kind, [number for number, at in place.items() if at in chosen.places]

    assert meant("x.jpg") == ("person", [2])
    assert meant("12") == ("person", [3])
    assert meant("cluster:12")[0] == meant("7")[0] == "cluster"
    assert meant("/a/x.jpg") == meant("photo:a/x.jpg") == ("photo", [0xABCDEF << 104])
    assert meant("y#1.jpg#1") == ("photo", [4])
    assert meant("y#1.jpg#2") == ("photo", [3])
    assert meant("ABCDEF") == ("face", [0xABCDEF << 104])


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("photo:x.jpg", ConfigError, "2 photos have paths that end in x.jpg; give more of the path"),
        ("y.jpg", ConfigError, "y.jpg has 2 faces; say which, the most prominent first: y.jpg#1 to y.jpg#2"),
        ("y.jpg#3", NothingFoundError, "the photo has 2 faces"),
        ("000000", ConfigError, "4 faces have ids that begin with 000000; give more digits"),
        ("abcdef", NothingFoundError, "no face of the catalog has an id that begins with abcdef"),
        ("abcde", NothingFoundError, "is not a person, a cluster, a photo of the catalog or a face id"),
        ("person:Anna", NothingFoundError, "'person:Anna' is not a person"),
        ("\x1b[31m", NothingFoundError, r"\\x1b\[31m"),
    ],
)
def test_what_means_nothing_or_too_much_is_told(text: str, error: type[FaceIndexError], message: str) -> None:
    views = [seen(1, b"/a/x.jpg"), seen(2, b"/b/x.jpg"), seen(3, b"/b/y.jpg")]
    found = people(rows=[row(1, 1), row(2, 2), row(3, 3), row(4, 3)], views=views)

    with pytest.raises(error, match=message):
        select(text, found, {})


@pytest.fixture
def opened(tmp_path: Any) -> tuple[PeopleOf, Labelling]:
    catalog = make_catalog(str(tmp_path / "catalog"), 1)
    assert isinstance(catalog, Catalog)
    served = catalog.current()
    assert served is not None
    found = PeopleOf(catalog, served)
    return found, Labelling(found, "tester")


def chosen(*places: int, kind: Any = "face", text: str = "some") -> Selection:
    return Selection(kind, text, places)


def test_naming_a_cluster_leaves_those_who_were_said_to_be_others(opened: tuple[PeopleOf, Labelling]) -> None:
    found, labelling = opened
    labelling.name(chosen(0), "Bea")
    labelling.leave_out([1])
    labelling.name(chosen(2), "Anna")
    labelling.reject("Anna", [3])

    labelling.name(chosen(0, 1, 2, 3, 4, kind="cluster"), "Anna")

    assert found.now().names == {0: "Bea", 2: "Anna", 4: "Anna"}
    with pytest.raises(NothingFoundError, match="no face of cluster some is without a name"):
        labelling.name(chosen(0, 1, 2, 3, 4, kind="cluster"), "Anna")


def test_merges_of_all_kinds(opened: tuple[PeopleOf, Labelling]) -> None:
    found, labelling = opened
    labelling.name(chosen(0), "Ann")
    labelling.name(chosen(1), "Anna")
    person = {name: chosen(kind="person", text=name) for name in ("Ann", "Anna")}

    labelling.merge(person["Ann"], person["Anna"])
    labelling.merge(person["Anna"], chosen(2))
    labelling.merge(chosen(3), chosen(4))
    labelling.merge(chosen(4), chosen(0))

    assert found.now().names == dict.fromkeys(range(5), "Anna")
    with pytest.raises(NothingFoundError, match="nobody is called Ann"):
        labelling.merge(person["Ann"], person["Anna"])


def test_what_makes_no_sense_is_refused_and_not_written(opened: tuple[PeopleOf, Labelling]) -> None:
    found, labelling = opened
    labelling.name(chosen(0, 1), "Anna")
    labelling.name(chosen(2), "Bea")
    anna = chosen(0, 1, kind="person", text="Anna")
    refused = [
        (lambda: labelling.name(anna, "Cleo"), "use `faceindex people rename`"),
        (lambda: labelling.rename("Anna", "Bea"), "somebody is called Bea already"),
        (lambda: labelling.rename("Nobody", "Cleo"), "nobody is called Nobody"),
        (lambda: labelling.merge(anna, anna), "two people are needed"),
        (lambda: labelling.same([0, 2]), "these faces are Anna and Bea"),
        (lambda: labelling.same([3, 3]), "two faces are needed"),
        (lambda: labelling.not_same([3], [3, 4]), "two groups of different faces"),
        (lambda: labelling.not_same([0], [1, 3]), "faces on both sides are Anna"),
        (lambda: labelling.split(anna, [2]), "1 of the faces are not in person Anna"),
        (lambda: labelling.split(anna, [0, 1]), "some but not all of the 2 faces"),
        (lambda: labelling.split(anna, [0], "Anna"), "need another name"),
        (lambda: labelling.split(chosen(3), [3]), "a person or a cluster is needed"),
        (lambda: labelling.reject("Anna", []), "no face was meant"),
        (labelling.redo, "there is nothing to redo"),
        (lambda: labelling.undo("ffff" * 8), "there is nothing to undo that begins with"),
    ]

    for act, message in refused:
        with pytest.raises(FaceIndexError, match=message):
            act()

    assert len(found.ledger.events()) == 2


def test_any_word_can_be_undone_and_redone_by_its_id(opened: tuple[PeopleOf, Labelling]) -> None:
    found, labelling = opened
    first = labelling.name(chosen(0), "Anna")
    labelling.name(chosen(1), "Bea")

    assert labelling.undo(first.event_id[:8]) == first
    labelling.name(chosen(2), "Cleo")
    assert found.now().names == {1: "Bea", 2: "Cleo"}
    assert labelling.redo(first.event_id) == first
    assert found.now().names == {0: "Anna", 1: "Bea", 2: "Cleo"}
