import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from faceindex.faces.align import align
from faceindex.faces.chips import Aligned, Boxed
from faceindex.types import Detections
from tests.support.archives import portrait

TEMPLATE = np.array([[10.0, 11.0], [30.0, 11.5], [20.0, 22.0], [12.0, 31.0], [29.0, 30.0]])
SIZE = 160


def boxed(*boxes: tuple[float, float, float, float]) -> Detections:
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.zeros((count, 5, 2), np.float32), np.ones(count, np.float32)
    )


def marked(*landmarks: NDArray[np.float64]) -> Detections:
    count = len(landmarks)
    return Detections(
        np.zeros((count, 4), np.float32), np.array(landmarks, np.float32).reshape(-1, 5, 2), np.ones(count, np.float32)
    )


def test_aligned_chips_are_those_of_align() -> None:
    pixels = np.asarray(portrait())
    faces = marked(2 * TEMPLATE + 60, 1.2 * TEMPLATE[:, ::-1] + 100)

    chips = Aligned(41, TEMPLATE).cut(pixels, faces)

    assert chips.shape == (2, 41, 41, 3)
    assert np.array_equal(chips, align(pixels, faces.landmarks, TEMPLATE, 41))


@pytest.mark.parametrize(("scale", "degrees"), [(1.0, 0), (3.7, 25), (0.31, -140)])
def test_an_aligned_chip_enlarges_by_what_its_landmarks_grow(scale: float, degrees: float) -> None:
    a, b = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    faces = marked(TEMPLATE @ np.array([[a, b], [-b, a]]) + 50)

    assert Aligned(41, TEMPLATE).magnification(faces) == pytest.approx([1 / scale], rel=1e-5)


def test_boxed_chips_are_cut_as_facenet_pytorch_cuts_them() -> None:
    from facenet_pytorch import extract_face

    picture = portrait()
    boxes = [(81.3, 62.8, 168.2, 172.9), (-20.5, -11.0, 90.7, 95.2), (250.1, 260.0, 320.0, 333.3), (5.2, 6.9, 25.1, 30)]

    chips = Boxed(SIZE).cut(np.asarray(picture), boxed(*boxes))

    for chip, box in zip(chips, boxes, strict=True):
        expected = extract_face(picture, np.array(box, np.float32), image_size=SIZE, margin=0)
        assert np.array_equal(chip, expected.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("box", [(-50, 10, -5, 40), (310, 10, 350, 40), (20, 20, 20.5, 20.5), (30, 30, 10, 10)])
def test_a_box_without_pixels_gives_a_black_chip(box: tuple[float, float, float, float]) -> None:
    chips = Boxed(SIZE).cut(np.asarray(portrait()), boxed(box))

    assert chips.shape == (1, SIZE, SIZE, 3)
    assert not chips.any()


def test_views_of_a_photo_are_as_good_as_copies() -> None:
    pixels, face = np.asarray(portrait())[:, ::-1], boxed((40.0, 60.0, 150.0, 170.0))

    assert np.array_equal(Boxed(SIZE).cut(pixels, face), Boxed(SIZE).cut(pixels.copy(), face))


def test_a_boxed_chip_enlarges_by_the_longer_side_of_its_box() -> None:
    assert Boxed(SIZE).magnification(boxed((10, 20, 50, 100), (0, 0, 320, 160))) == pytest.approx([2, 0.5])


def test_a_face_without_extent_is_enlarged_beyond_measure_but_not_infinitely() -> None:
    assert 1e3 < Boxed(SIZE).magnification(boxed((5, 5, 5, 5)))[0] < np.inf
    assert 1e3 < Aligned(41, TEMPLATE).magnification(marked(np.full((5, 2), 7.0)))[0] < np.inf


@pytest.mark.parametrize("cutter", [Boxed(SIZE), Aligned(SIZE, TEMPLATE)])
def test_no_faces_give_no_chips(cutter: Boxed | Aligned) -> None:
    nobody = boxed()

    assert cutter.cut(np.asarray(portrait()), nobody).shape == (0, SIZE, SIZE, 3)
    assert cutter.magnification(nobody).shape == (0,)


def test_portraits_stay_pictures() -> None:
    """Guards the oracles: a chip that is black or noise would pass the comparisons above."""
    [chip] = Boxed(SIZE).cut(np.asarray(portrait()), boxed((81.3, 62.8, 168.2, 172.9)))
    expected = portrait().crop((81, 62, 168, 172)).resize((SIZE, SIZE), Image.Resampling.BICUBIC)

    assert np.abs(chip.astype(int) - np.asarray(expected)).mean() < 5
