from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from faceindex.faces.detect import detect_in
from faceindex.types import Detections, Image


class MiddleOfPicture:
    """A detector that sees one face, in the middle half of every picture, and remembers what it was given."""

    id = "middle"

    def __init__(self) -> None:
        self.seen: list[NDArray[np.uint8]] = []

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        self.seen += images
        return [self.face(image.shape[1], image.shape[0]) for image in images]

    def face(self, width: int, height: int) -> Detections:
        box = np.array([[0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height]], np.float32)
        landmarks = np.array([[[0.4, 0.4], [0.6, 0.4], [0.5, 0.5], [0.4, 0.6], [0.6, 0.6]]], np.float32)
        return Detections(box, landmarks * np.array([width, height], np.float32), np.array([0.9], np.float32))


def photo(width: int, height: int) -> Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image(b"\0" * 16, b"/photo.jpg", pixels, "JPEG")


@pytest.mark.parametrize("size", [(3000, 2000), (1281, 1280), (900, 2600), (5000, 1)])
def test_faces_of_a_reduced_photo_come_back_in_its_own_pixels(size: tuple[int, int]) -> None:
    detector = MiddleOfPicture()

    [found] = detect_in([photo(*size)], detector, 1280)

    expected = detector.face(*size)
    assert max(detector.seen[0].shape[:2]) == 1280
    np.testing.assert_allclose(found.boxes, expected.boxes, rtol=1e-5)
    np.testing.assert_allclose(found.landmarks, expected.landmarks, rtol=1e-5)
    np.testing.assert_array_equal(found.confidences, expected.confidences)


@pytest.mark.parametrize("size", [(1280, 1280), (640, 480), (1, 1)])
def test_photos_within_the_side_are_given_as_they_are(size: tuple[int, int]) -> None:
    detector, image = MiddleOfPicture(), photo(*size)

    [found] = detect_in([image], detector, 1280)

    assert detector.seen[0] is image.pixels
    np.testing.assert_array_equal(found.boxes, detector.face(*size).boxes)


class OverTheEdges:
    """A detector that sees faces reaching over every edge, and three whose boxes hold nothing of the picture."""

    id = "over the edges"

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        boxes = [[-5, -7, 30, 31], [70, 80, 111, 120], [150, 10, 190, 50], [40, 40, 40, 60], [10, -30, 40, 0]]
        landmarks = np.arange(50, dtype=np.float32).reshape(5, 5, 2)
        return [Detections(np.array(boxes, np.float32), landmarks, np.linspace(1, 0.8, 5, dtype=np.float32))]


@pytest.mark.parametrize("factor", [1, 3])
def test_boxes_over_the_edge_stay_as_they_are_and_those_outside_the_photo_are_left_out(factor: int) -> None:
    detector = OverTheEdges()
    [raw] = detector.detect([])

    [found] = detect_in([photo(100 * factor, 90 * factor)], detector, 100)

    np.testing.assert_array_equal(found.boxes, raw.boxes[:2] * factor)
    np.testing.assert_array_equal(found.landmarks, raw.landmarks[:2] * factor)
    np.testing.assert_array_equal(found.confidences, raw.confidences[:2])


def test_large_and_small_photos_keep_their_order() -> None:
    detector = MiddleOfPicture()
    sizes = [(640, 480), (2000, 1000), (300, 200), (1000, 3000)]

    found = detect_in([photo(*size) for size in sizes], detector, 1280)

    for detections, size in zip(found, sizes, strict=True):
        np.testing.assert_allclose(detections.boxes, detector.face(*size).boxes, rtol=1e-5)


def test_a_reduced_photo_shows_the_mean_of_its_pixels() -> None:
    """Reduced without aliasing: a chessboard of single pixels becomes grey."""
    pixels = np.zeros((4096, 4096, 3), np.uint8)
    pixels[::2, ::2] = pixels[1::2, 1::2] = 255
    detector = MiddleOfPicture()

    detect_in([Image(b"\0" * 16, b"/photo.jpg", pixels, "PNG")], detector, 1024)

    assert np.abs(detector.seen[0].astype(int) - 127).max() <= 1


def test_no_photos_have_no_faces() -> None:
    assert detect_in([], MiddleOfPicture(), 1280) == []
