from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from faceindex.config import Settings
from faceindex.faces.detect import FaceSizes, detect_in
from faceindex.types import Detections, Image, Whole

Pixels = NDArray[np.uint8]


class MiddleOfPicture:
    """A detector that sees one face, in the middle half of every picture, and remembers what it was given."""

    id = "middle"

    def __init__(self) -> None:
        self.seen: list[Pixels] = []
        self.smallest: list[float] = []

    def detect(self, pictures: Sequence[Pixels], smallest: Sequence[float]) -> list[Detections]:
        self.seen += pictures
        self.smallest += smallest
        return [self.face(picture.shape[1], picture.shape[0]) for picture in pictures]

    def face(self, width: int, height: int) -> Detections:
        box = np.array([[0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height]], np.float32)
        landmarks = np.array([[[0.4, 0.4], [0.6, 0.4], [0.5, 0.5], [0.4, 0.6], [0.6, 0.6]]], np.float32)
        return Detections(box, landmarks * np.array([width, height], np.float32), np.array([0.9], np.float32))


def never() -> Pixels:
    raise AssertionError("detection never needs a photo in full")


def photo(width: int, height: int, whole: tuple[int, int] | None = None) -> Image:
    """Return a photo; with `whole` a reduced copy of one of that width and height."""
    pixels = np.zeros((height, width, 3), np.uint8)
    return Image(b"\0" * 16, b"/photo.jpg", pixels, "JPEG", whole=Whole(*whole, never) if whole else None)


@pytest.mark.parametrize(
    ("size", "longest"), [((3000, 2000), 1500), ((2560, 2560), 1280), ((1920, 3840), 1280), ((1300, 9000), 4500)]
)
def test_large_photos_are_reduced_by_a_whole_factor_and_their_faces_come_back_in_their_own_pixels(
    size: tuple[int, int], longest: int
) -> None:
    detector = MiddleOfPicture()

    [found] = detect_in([photo(*size)], detector, FaceSizes(side_px=1280))

    expected = detector.face(*size)
    assert max(detector.seen[0].shape[:2]) == longest
    np.testing.assert_allclose(found.boxes, expected.boxes, rtol=1e-5)
    np.testing.assert_allclose(found.landmarks, expected.landmarks, rtol=1e-5)
    np.testing.assert_array_equal(found.confidences, expected.confidences)


@pytest.mark.parametrize("size", [(2559, 2559), (1281, 700), (1280, 1280), (640, 480), (1, 1)])
def test_photos_of_less_than_twice_the_side_are_given_as_they_are(size: tuple[int, int]) -> None:
    detector, image = MiddleOfPicture(), photo(*size)

    [found] = detect_in([image], detector, FaceSizes(side_px=1280))

    assert detector.seen[0] is image.pixels
    np.testing.assert_array_equal(found.boxes, detector.face(*size).boxes)


@pytest.mark.parametrize("copy", [(1500, 1000), (900, 599), (4000, 2666)])
def test_faces_of_a_reduced_copy_come_back_in_pixels_of_the_photo_in_full(copy: tuple[int, int]) -> None:
    detector, whole = MiddleOfPicture(), (6001, 4000)

    [found] = detect_in([photo(*copy, whole)], detector, FaceSizes(side_px=1280))

    expected = detector.face(*whole)
    np.testing.assert_allclose(found.boxes, expected.boxes, rtol=1e-5)
    np.testing.assert_allclose(found.landmarks, expected.landmarks, rtol=1e-5)


class OverTheEdges:
    """A detector that sees faces reaching over every edge, and three whose boxes hold nothing of the picture."""

    id = "over the edges"

    def detect(self, pictures: Sequence[Pixels], smallest: Sequence[float]) -> list[Detections]:
        boxes = [[-5, -7, 30, 31], [70, 80, 111, 120], [150, 10, 190, 50], [40, 40, 40, 60], [10, -30, 40, 0]]
        landmarks = np.arange(50, dtype=np.float32).reshape(5, 5, 2)
        return [Detections(np.array(boxes, np.float32), landmarks, np.linspace(1, 0.8, 5, dtype=np.float32))]


@pytest.mark.parametrize("factor", [1, 3])
@pytest.mark.parametrize("copied", [False, True])
def test_boxes_over_the_edge_stay_as_they_are_and_those_outside_the_photo_are_left_out(
    factor: int, copied: bool
) -> None:
    detector = OverTheEdges()
    [raw] = detector.detect([], [])
    size = 100 * factor, 90 * factor
    image = photo(100, 90, size) if copied else photo(*size)

    [found] = detect_in([image], detector, FaceSizes(side_px=100))

    np.testing.assert_array_equal(found.boxes, raw.boxes[:2] * factor)
    np.testing.assert_array_equal(found.landmarks, raw.landmarks[:2] * factor)
    np.testing.assert_array_equal(found.confidences, raw.confidences[:2])


def test_large_and_small_photos_keep_their_order() -> None:
    detector = MiddleOfPicture()
    sizes = [(640, 480), (3000, 1500), (300, 200), (1000, 3000)]

    found = detect_in([photo(*size) for size in sizes], detector, FaceSizes(side_px=1280))

    for detections, size in zip(found, sizes, strict=True):
        np.testing.assert_allclose(detections.boxes, detector.face(*size).boxes, rtol=1e-5)


def test_a_reduced_photo_shows_the_mean_of_its_pixels() -> None:
    """Reduced without aliasing: a chessboard of single pixels becomes grey."""
    pixels = np.zeros((4096, 4096, 3), np.uint8)
    pixels[::2, ::2] = pixels[1::2, 1::2] = 255
    detector = MiddleOfPicture()

    detect_in([Image(b"\0" * 16, b"/photo.jpg", pixels, "PNG")], detector, FaceSizes(side_px=1024))

    assert np.abs(detector.seen[0].astype(int) - 127).max() <= 1


def test_no_photos_have_no_faces() -> None:
    assert detect_in([], MiddleOfPicture(), FaceSizes()) == []


@pytest.mark.parametrize(
    ("height", "width", "smallest"),
    [
        (480, 640, 20),
        (1280, 900, 20),
        (1920, 1080, 30),  # one and a half times the side
        (1280, 12_800, 40),  # a panorama goes by twice its short side
        (10, 12_800, 20),
        (1, 1, 20),
    ],
)
def test_the_smallest_face_grows_with_the_photo_beyond_the_side(height: int, width: int, smallest: float) -> None:
    assert FaceSizes(min_px=20, side_px=1280).smallest(height, width) == pytest.approx(smallest)


@pytest.mark.parametrize(
    ("height", "width", "smallest"), [(1000, 700, 35), (700, 1000, 35), (300, 300, 20), (2560, 2000, 100)]
)
def test_the_larger_of_pixels_and_share_counts(height: int, width: int, smallest: float) -> None:
    assert FaceSizes(min_px=20, min_share=0.05).smallest(height, width) == pytest.approx(smallest)


@pytest.mark.parametrize("sizes", [FaceSizes(), FaceSizes(min_share=0.1), FaceSizes(40, 0.02, 2560)])
@pytest.mark.parametrize("whole", [(12_000, 9000), (4000, 6000), (5300, 2600)])
def test_the_same_faces_are_looked_for_in_a_photo_and_in_its_reduced_copy(
    sizes: FaceSizes, whole: tuple[int, int]
) -> None:
    width, height = whole
    copied, detector = (width // 2, height // 2), MiddleOfPicture()

    detect_in([photo(*copied, whole)], detector, sizes)

    [picture], [smallest] = detector.seen, detector.smallest
    in_full = sizes.smallest(height, width)
    assert smallest * width / picture.shape[1] == pytest.approx(in_full, rel=1e-3)


def test_each_photo_is_searched_for_its_own_smallest_face() -> None:
    detector = MiddleOfPicture()

    detect_in([photo(640, 480), photo(1920, 1080), photo(3840, 100)], detector, FaceSizes(20, 0.0, 1280))

    assert detector.smallest == pytest.approx([20, 30, 20])


def test_the_settings_say_how_small() -> None:
    settings = replace(Settings(), min_face_px=31, min_face_share=0.25, detect_side_px=777)

    assert FaceSizes.of(settings) == FaceSizes(31, 0.25, 777)
    assert FaceSizes.of(Settings()) == FaceSizes(20, 0.04, 960)
