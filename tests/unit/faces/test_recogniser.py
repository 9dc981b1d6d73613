from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from faceindex.arrays import l2_normalize
from faceindex.faces.recogniser import Recogniser
from faceindex.types import Detections, Image, ModelId


class SquareDetector:
    """Sees as many faces in a picture as the value of its first pixel says, side by side."""

    id = "squares"

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        return [self.faces(int(image[0, 0, 0])) for image in images]

    def faces(self, count: int) -> Detections:
        left = 10 * np.arange(count, dtype=np.float32)
        boxes = np.stack([left, np.zeros(count), left + 10, np.full(count, 10)], axis=1).astype(np.float32)
        return Detections(boxes, np.repeat(boxes[:, None, :2], 5, axis=1), np.full(count, 0.9, np.float32))


class PlaceEmbedder:
    """The embedding of a face is where it is and how tall its picture is; counts its calls."""

    model = ModelId("place@0")
    dimension = 2

    def __init__(self) -> None:
        self.call_count = 0

    def chips(self, pixels: NDArray[np.uint8], detections: Detections) -> NDArray[np.uint8]:
        chips = np.zeros((len(detections), 20, 20, 3), np.uint8)
        chips[:, 0, 0, 0] = detections.boxes[:, 0] + 1
        chips[:, 0, 0, 1] = len(pixels)
        return chips

    def embed(self, chips: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.call_count += 1
        return l2_normalize(chips[:, 0, 0, :2].astype(np.float32)) if len(chips) else np.empty((0, 2), np.float32)


def photo(face_count: int, height: int) -> Image:
    pixels = np.full((height, 50, 3), face_count, np.uint8)
    return Image(bytes(16), b"/photo.jpg", pixels, "PNG")


@pytest.fixture
def recogniser() -> Recogniser:
    return Recogniser(SquareDetector(), PlaceEmbedder(), 1280)


def test_every_photo_gets_its_own_faces(recogniser: Recogniser) -> None:
    photos = [photo(2, 30), photo(0, 40), photo(1, 50), photo(3, 60), photo(0, 70)]

    results = recogniser.faces(photos)

    assert [len(result.detections) for result in results] == [2, 0, 1, 3, 0]
    for image, result in zip(photos, results, strict=True):
        assert result.vectors.shape == (len(result.detections), 2)
        assert result.qualities.shape == (len(result.detections),)
        expected = np.stack([result.detections.boxes[:, 0] + 1, np.full(len(result.detections), image.height)], axis=1)
        np.testing.assert_allclose(
            result.vectors, expected / np.linalg.norm(expected, axis=1, keepdims=True), rtol=1e-6
        )


def test_the_faces_of_a_call_are_embedded_together(recogniser: Recogniser) -> None:
    recogniser.faces([photo(1, 30)] * 4)

    assert isinstance(recogniser.embedder, PlaceEmbedder)
    assert recogniser.embedder.call_count == 1


def test_photos_without_faces_have_empty_results(recogniser: Recogniser) -> None:
    [result] = recogniser.faces([photo(0, 30)])

    assert result.vectors.shape == (0, 2)
    assert result.qualities.shape == (0,)


def test_no_photos_have_no_results(recogniser: Recogniser) -> None:
    assert recogniser.faces([]) == []


def test_the_clock_is_given_the_stages(recogniser: Recogniser) -> None:
    recogniser.faces([photo(1, 30)])

    assert list(recogniser.clock.seconds) == ["detect", "align", "embed"]


def test_recognisers_do_not_share_a_clock() -> None:
    assert (
        Recogniser(SquareDetector(), PlaceEmbedder(), 1280).clock
        is not Recogniser(SquareDetector(), PlaceEmbedder(), 1280).clock
    )
