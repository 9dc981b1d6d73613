from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from faceindex.arrays import l2_normalize
from faceindex.errors import ItemError
from faceindex.faces.chips import Aligned, Boxed, Cutter
from faceindex.faces.recogniser import Recogniser, chips_of
from faceindex.types import Detections, Image, ModelId, PhotoState, Whole

Pixels = NDArray[np.uint8]


class SquareDetector:
    """Sees as many faces in a picture as the value of its first pixel says, side by side."""

    id = "squares"

    def detect(self, pictures: Sequence[Pixels], smallest: Sequence[float]) -> list[Detections]:
        return [self.faces(int(picture[0, 0, 0])) for picture in pictures]

    def faces(self, count: int) -> Detections:
        left = 10 * np.arange(count, dtype=np.float32)
        boxes = np.stack([left, np.zeros(count), left + 10, np.full(count, 10)], axis=1).astype(np.float32)
        return Detections(boxes, np.repeat(boxes[:, None, :2], 5, axis=1), np.full(count, 0.9, np.float32))


@dataclass(frozen=True)
class PlaceCutter:
    """A chip tells where the face is and how tall its picture is."""

    size: int = 20

    def cut(self, pixels: Pixels, detections: Detections) -> Pixels:
        chips = np.zeros((len(detections), 20, 20, 3), np.uint8)
        chips[:, 0, 0, 0] = detections.boxes[:, 0] + 1
        chips[:, 0, 0, 1] = len(pixels)
        return chips

    def magnification(self, detections: Detections) -> NDArray[np.float64]:
        return np.ones(len(detections))


class PlaceEmbedder:
    """The embedding of a face is where it is and how tall its picture is; counts its calls."""

    model = ModelId("place@0")
    dimension = 2
    cutter: Cutter = PlaceCutter()

    def __init__(self) -> None:
        self.call_count = 0

    def embed(self, chips: Pixels) -> NDArray[np.float32]:
        self.call_count += 1
        return l2_normalize(chips[:, 0, 0, :2].astype(np.float32)) if len(chips) else np.empty((0, 2), np.float32)


def photo(face_count: int, height: int) -> Image:
    pixels = np.full((height, 50, 3), face_count, np.uint8)
    return Image(bytes(16), b"/photo.jpg", pixels, "PNG")


@pytest.fixture
def recogniser() -> Recogniser:
    return Recogniser(SquareDetector(), PlaceEmbedder())


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
        Recogniser(SquareDetector(), PlaceEmbedder()).clock is not Recogniser(SquareDetector(), PlaceEmbedder()).clock
    )


TEMPLATE = np.array([[15.0, 17.0], [33.0, 17.0], [24.0, 27.0], [17.0, 36.0], [31.0, 36.0]])
CUTTERS: list[Cutter] = [Aligned(48, TEMPLATE), Boxed(48)]


class Decoder:
    """Gives the photo in full, or fails, and remembers what scales it was asked for."""

    def __init__(self, pixels: Pixels | ItemError) -> None:
        self.pixels = pixels
        self.scales: list[float] = []

    def __call__(self, scale: float) -> Pixels:
        self.scales.append(scale)
        if isinstance(self.pixels, ItemError):
            raise self.pixels
        return self.pixels


FULL = np.random.default_rng(0).integers(0, 256, (600, 900, 3), np.uint8)
COPY = np.random.default_rng(1).integers(0, 256, (200, 300, 3), np.uint8)
LARGER = np.random.default_rng(2).integers(0, 256, (400, 600, 3), np.uint8)
"""A third and two thirds of the size, and of other colours, so that chips tell what they were cut from."""


def faces_of_sides(*sides: float) -> Detections:
    """Return upright faces of these box sides, in pixels of the photo in full."""
    corners = np.stack([100 + 7 * np.arange(len(sides)), 50 + 5 * np.arange(len(sides))], axis=1)
    boxes = np.concatenate([corners, corners + np.array(sides)[:, None]], axis=1)
    landmarks = boxes[:, None, :2] + TEMPLATE * (np.array(sides) / 48)[:, None, None]
    return Detections(boxes.astype(np.float32), landmarks.astype(np.float32), np.full(len(sides), 0.9, np.float32))


def reduced(decoder: Decoder) -> Image:
    return Image(bytes(16), b"/photo.jpg", COPY, "JPEG", whole=Whole(900, 600, decoder))


@pytest.mark.parametrize("cutter", CUTTERS)
def test_only_faces_that_the_copy_would_enlarge_by_a_quarter_are_cut_from_the_photo_in_full(cutter: Cutter) -> None:
    # Chips are 48 pixels, so a face may have 38.4 or more; in the copy these have 39, 15, 38, 90 and 7.
    faces, decoder = faces_of_sides(117, 45, 114, 270, 21), Decoder(FULL)
    from_copy, from_full = cutter.cut(COPY, faces.scaled(1 / 3, 1 / 3)), cutter.cut(FULL, faces)

    chips = chips_of(reduced(decoder), faces, cutter)

    for position, expected in enumerate([from_copy, from_full, from_full, from_copy, from_full]):
        np.testing.assert_array_equal(chips[position], expected[position])
    assert decoder.scales == [1]


@pytest.mark.parametrize("cutter", CUTTERS)
def test_a_photo_is_decoded_again_no_larger_than_its_smallest_face_needs(cutter: Cutter) -> None:
    # The smallest face has 20 pixels in the copy and needs 38.4.
    faces, decoder = faces_of_sides(60, 90, 300), Decoder(LARGER)

    chips = chips_of(reduced(decoder), faces, cutter)

    assert decoder.scales == [pytest.approx(38.4 / 60)]
    from_larger = cutter.cut(LARGER, faces.scaled(2 / 3, 2 / 3))
    for position, expected in enumerate([from_larger, from_larger, cutter.cut(COPY, faces.scaled(1 / 3, 1 / 3))]):
        np.testing.assert_array_equal(chips[position], expected[position])


@pytest.mark.parametrize("cutter", CUTTERS)
@pytest.mark.parametrize("sides", [(), (150,), (150, 300, 180)])
def test_a_photo_whose_copy_shows_all_faces_well_is_not_decoded_again(cutter: Cutter, sides: tuple[float, ...]) -> None:
    faces, decoder = faces_of_sides(*sides), Decoder(FULL)

    chips = chips_of(reduced(decoder), faces, cutter)

    np.testing.assert_array_equal(chips, cutter.cut(COPY, faces.scaled(1 / 3, 1 / 3)))
    assert decoder.scales == []


@pytest.mark.parametrize("cutter", CUTTERS)
def test_a_photo_that_is_broken_behind_its_copy_shows_the_faces_of_the_copy(cutter: Cutter) -> None:
    faces, decoder = faces_of_sides(45, 200), Decoder(ItemError(PhotoState.TRUNCATED, "cut short"))

    chips = chips_of(reduced(decoder), faces, cutter)

    np.testing.assert_array_equal(chips, cutter.cut(COPY, faces.scaled(1 / 3, 1 / 3)))
    assert len(decoder.scales) == 1


@pytest.mark.parametrize("cutter", CUTTERS)
def test_a_photo_without_a_copy_is_cut_as_it_is(cutter: Cutter) -> None:
    faces = faces_of_sides(20, 50, 300)

    chips = chips_of(Image(bytes(16), b"/photo.jpg", FULL, "JPEG"), faces, cutter)

    np.testing.assert_array_equal(chips, cutter.cut(FULL, faces))


def test_other_errors_of_decoding_are_not_hidden() -> None:
    def fail(scale: float) -> Pixels:
        raise KeyError("a defect")

    image = Image(bytes(16), b"/photo.jpg", COPY, "JPEG", whole=Whole(900, 600, fail))

    with pytest.raises(KeyError, match="a defect"):
        chips_of(image, faces_of_sides(30), CUTTERS[0])
