import PIL.Image
import pytest
from PIL import ImageColor

from faceindex.errors import ConfigError
from faceindex.sheet.drawing import COLUMNS, MAX_HEIGHT_PX, drawing, require_fit
from faceindex.sheet.strips import GREEN, GREY, TILE_PX, cut, strips_of
from tests.support.answers import Photos, candidate, document, face

FRAME = TILE_PX**2 - (TILE_PX - 12) ** 2
"""Pixels of a frame that marks a face, six wide."""


def drawn(*documents: dict, photos: Photos | None = None) -> PIL.Image.Image:
    strips = [strip for one in documents for strip in strips_of(one)]
    return drawing(strips, cut(strips, photos or Photos()), "what was searched")


def area(picture: PIL.Image.Image, colour: str) -> int:
    """Return how many pixels are of a colour."""
    wanted = ImageColor.getrgb(colour)
    return sum(count for count, found in picture.getcolors(picture.width * picture.height) or () if found == wanted)


def test_only_accepted_faces_have_green_frames() -> None:
    none = drawn(document(face([0.95, 0.5], identified=False)))
    one = drawn(document(face([0.95, 0.5])))
    two = drawn(document(face([0.95, 0.93])))

    assert area(none, GREEN) == 0
    assert area(one, GREEN) > 2 * FRAME
    assert area(two, GREEN) - area(one, GREEN) == FRAME
    assert area(none, GREY) > area(two, GREY)


def test_more_candidates_than_fit_side_by_side_go_into_further_lines() -> None:
    one_line = drawn(document(face([0.95] * COLUMNS)))
    two_lines = drawn(document(face([0.95] * (COLUMNS + 1))))

    assert two_lines.width == one_line.width
    assert two_lines.height > one_line.height + TILE_PX
    assert area(two_lines, GREEN) - area(one_line, GREEN) == FRAME


def test_the_reason_is_written_where_a_photo_is_gone() -> None:
    there = drawn(document(face([0.5])))
    gone = drawn(document(face([0.5])), photos=Photos("/photos/1.jpg"))

    assert gone.size == there.size
    assert gone.tobytes() != there.tobytes()


def test_the_longest_names_change_nothing_but_their_own_line() -> None:
    short = candidate(1, 0.5, "/photos/a.jpg")
    long = candidate(1, 0.5, f"/photos/{'ab' * 500}.jpg", person="Ж" * 300)

    assert drawn(document(face(candidates=[short]))).size == drawn(document(face(candidates=[long]))).size


def test_no_answers_make_an_empty_sheet() -> None:
    assert drawn().height > 0


def test_a_picture_that_would_be_too_high_is_refused_with_the_way_out() -> None:
    [strip] = strips_of(document(face([0.5])))
    height = drawn(document(face([0.5])), document(face([0.5]))).height - drawn(document(face([0.5]))).height

    require_fit([strip] * (MAX_HEIGHT_PX // height - 1))
    with pytest.raises(ConfigError, match=r"pixels high; write an \.html page instead"):
        require_fit([strip] * (MAX_HEIGHT_PX // height + 1))
