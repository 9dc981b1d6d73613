import numpy as np
import PIL.Image
import pytest
from PIL import ImageColor

from faceindex.sheet.strips import EMPTY, TILE_PX, cut, heading, strips_of
from faceindex.types import Image
from tests.support.answers import Photos, candidate, document, face


def picture_of(pixels: np.ndarray, box: tuple[float, ...]) -> np.ndarray:
    """Return the tile that is cut for a face at a box."""
    [strip] = strips_of(document(face(box=list(box)), image="it"))
    [picture] = cut([strip], lambda _: Image(b"", b"", pixels, "JPEG")).values()
    assert isinstance(picture, PIL.Image.Image)
    assert picture.size == (TILE_PX, TILE_PX)
    return np.asarray(picture)


def test_an_identified_face_and_what_reaches_its_threshold_are_green() -> None:
    [strip] = strips_of(document(face([0.95, 0.9, 0.89])))

    assert strip.verdict == "identified"
    assert strip.probe.green
    assert [tile.green for tile in strip.candidates] == [True, True, False]


def test_nothing_is_green_about_a_face_that_is_not_recognised() -> None:
    [strip] = strips_of(document(face([0.95, 0.5], identified=False)))

    assert strip.verdict == "not recognised"
    assert not any(tile.green for tile in (strip.probe, *strip.candidates))


def test_a_person_who_has_a_name_is_called_by_it() -> None:
    named = candidate(1, 0.95, person="Grace Hopper")

    [strip] = strips_of(document(face(person="Grace Hopper", candidates=[named])))

    assert strip.verdict == "Grace Hopper"
    assert "Grace Hopper" in strip.candidates[0].lines


def test_similarity_probability_rank_and_photo_stand_below_a_candidate() -> None:
    found = candidate(3, 0.95321, "/archive/2019/wedding.jpg", probability=0.9876)
    unsure = candidate(4, 0.5, probability=None)

    [strip] = strips_of(document(face(candidates=[found, unsure])))

    assert strip.candidates[0].lines[:2] == ("3.   0.953   98.8%", "2019/wedding.jpg")
    assert strip.candidates[0].title == "/archive/2019/wedding.jpg"
    assert strip.candidates[1].lines[0] == "4.   0.500   -"


def test_every_face_of_a_picture_has_a_strip_and_a_picture_without_one_too() -> None:
    assert len(list(strips_of(document(face(), face())))) == 2

    [strip] = strips_of(document())

    assert strip.verdict == "no face"
    assert strip.probe.place == ("/queries/query.jpg", None)


def test_a_search_by_vectors_is_named_by_its_row() -> None:
    searched = document(face([0.95], box=None, confidence=None, quality=None))
    searched["query"] = {"vectors": "probes.npy", "row": 17}

    [strip] = strips_of(searched)

    assert strip.probe.title == "row 17 of probes.npy"


def test_a_threshold_of_ones_own_is_told_from_an_error_rate() -> None:
    [asked] = strips_of(document(face()))
    [own] = strips_of(document(face(fpir=None)))

    assert asked.probe.lines[1:] == ("threshold 0.900", "for fpir 0.01")
    assert own.probe.lines[1:] == ("threshold 0.900", "set by hand")


def test_each_catalog_state_is_named_once() -> None:
    later = {**document(), "generation": 8}

    told = heading([document(), document(), later])

    assert told.split("; ") == [
        "/catalog, generation 7, 13,233 faces, demo@0123456789ab",
        "/catalog, generation 8, 13,233 faces, demo@0123456789ab",
    ]


def test_a_photo_is_loaded_once_however_often_it_is_shown() -> None:
    photos = Photos()
    same = [candidate(rank, 0.95, "/photos/group.jpg", box=[rank, rank, 40 + rank, 40 + rank]) for rank in (1, 2, 3)]
    strips = [*strips_of(document(face(candidates=same), face(candidates=same)))]

    pictures = cut(strips, photos)

    assert sorted(photos.loaded) == ["/photos/group.jpg", "/queries/query.jpg"]
    assert len(pictures) == 4


def test_a_photo_that_cannot_be_read_gives_the_reason_in_place_of_the_picture() -> None:
    strips = [*strips_of(document(face([0.95, 0.94])))]

    pictures = cut(strips, Photos("/photos/1.jpg"))

    first, second = (pictures[tile.place] for tile in strips[0].candidates)
    assert first == "vanished: no such file"
    assert isinstance(second, PIL.Image.Image)


def test_a_face_stands_in_the_middle_with_a_margin_of_a_third() -> None:
    photo = np.zeros((1000, 1000, 3), np.uint8)
    photo[300:500, 400:500] = 255

    tile = picture_of(photo, (400, 300, 500, 500))[..., 0]

    rows, columns = np.nonzero(tile > 128)
    # 200 pixels and 0.35 of them on each side make 340, shown on TILE_PX.
    assert rows.max() - rows.min() + 1 == pytest.approx(TILE_PX * 200 / 340, abs=1.5)
    assert columns.max() - columns.min() + 1 == pytest.approx(TILE_PX * 100 / 340, abs=1.5)
    assert (rows.min() + rows.max()) / 2 == pytest.approx(TILE_PX / 2, abs=1.5)
    assert (columns.min() + columns.max()) / 2 == pytest.approx(TILE_PX / 2, abs=1.5)


@pytest.mark.parametrize("box", [(0, 0, 40, 50), (150, 60, 200, 100), (-10, 20, 30, 60), (100, 50, 140, 110)])
def test_a_face_at_the_edge_fills_its_tile_with_photo(box: tuple[float, ...]) -> None:
    photo = np.full((100, 200, 3), (10, 200, 10), np.uint8)

    tile = picture_of(photo, box)

    assert np.all(tile == (10, 200, 10))


def test_paper_is_shown_where_a_face_is_larger_than_the_photo() -> None:
    photo = np.full((40, 40, 3), (10, 200, 10), np.uint8)

    tile = picture_of(photo, (-10, -10, 50, 50))

    paper = ImageColor.getrgb(EMPTY)
    assert all(np.all(edge == paper) for edge in (tile[2], tile[-3], tile[:, 2], tile[:, -3]))
    assert tuple(tile[TILE_PX // 2, TILE_PX // 2]) == (10, 200, 10)


@pytest.mark.parametrize("box", [(30, 30, 30, 30), (500, 500, 540, 540), (-900, 0, -800, 60)])
def test_a_box_that_is_no_longer_in_the_photo_still_gives_a_tile(box: tuple[float, ...]) -> None:
    picture_of(np.full((100, 200, 3), 7, np.uint8), box)
