from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from faceindex.faces.dlib_resnet import cut
from faceindex.faces.quality import quality
from faceindex.types import Detections
from tests.support.archives import portrait

BOX = (81.0, 62.0, 168.0, 172.0)
LANDMARKS = ((105.0, 101.7), (146.8, 103.7), (124.7, 129.0), (101.7, 139.2), (145.3, 141.9))
"""Where MTCNN sees the face of the portrait."""


def face(scale: float = 1.0, confidence: float = 1.0, nose_shift: float = 0.0) -> Detections:
    landmarks = np.array([LANDMARKS], np.float32)
    landmarks[0, 2, 0] += nose_shift
    found = Detections(np.array([BOX], np.float32), landmarks, np.array([confidence], np.float32))
    return found.scaled(scale, scale)


def judged(picture: Image.Image, detections: Detections) -> float:
    [value] = quality(cut(np.asarray(picture), detections), detections)
    return float(value)


def falls(values: list[float]) -> bool:
    return all(before > after for before, after in pairwise(values)) and values[-1] < 0.3 * values[0]


def test_a_sharp_frontal_well_lit_face_is_nearly_perfect() -> None:
    assert 0.9 < judged(portrait(), face()) <= 1


def test_blur_lowers_quality() -> None:
    assert falls([judged(portrait().filter(ImageFilter.GaussianBlur(radius)), face()) for radius in (0, 1, 1.5, 2, 4)])


def test_fewer_pixels_lower_quality() -> None:
    side = portrait().width
    scales = [1, 0.6, 0.4, 0.25, 0.15]
    pictures = [portrait().resize((round(side * s), round(side * s)), Image.Resampling.BOX) for s in scales]

    assert falls([judged(picture, face(s)) for picture, s in zip(pictures, scales, strict=True)])


def test_a_small_box_lowers_quality_even_if_its_chip_looks_sharp() -> None:
    chips = cut(np.asarray(portrait()), face())

    assert falls([float(quality(chips, face(scale))[0]) for scale in (0.8, 0.6, 0.4, 0.2)])
    assert quality(chips, face(3.0)) == quality(chips, face())


@pytest.mark.parametrize("changed", [lambda v, s: v * s, lambda v, s: 255 - (255 - v) * s])
def test_darkness_and_glare_lower_quality(changed: Callable[[NDArray[np.float32], float], NDArray[np.float32]]) -> None:
    pixels = np.asarray(portrait(), np.float32)
    pictures = [Image.fromarray(changed(pixels, share).astype(np.uint8)) for share in (1, 0.5, 0.3, 0.2, 0.1)]

    assert falls([judged(picture, face()) for picture in pictures])


def test_turning_away_lowers_quality() -> None:
    # The same chip each time: only where the nose stands between the eyes differs.
    chips = cut(np.asarray(portrait()), face())
    for side in (-1, 1):
        values = [float(quality(chips, face(nose_shift=side * shift))[0]) for shift in (2, 6, 12, 18, 30)]

        assert falls(values)
        assert values[-1] == 0


def test_a_tilted_head_is_still_frontal() -> None:
    upright = face()
    turn = np.array([[np.cos(0.6), -np.sin(0.6)], [np.sin(0.6), np.cos(0.6)]])
    tilted = Detections(upright.boxes, (upright.landmarks @ turn).astype(np.float32), upright.confidences)
    chips = cut(np.asarray(portrait()), upright)

    np.testing.assert_allclose(quality(chips, tilted), quality(chips, upright), rtol=1e-4)


def test_quality_is_proportional_to_the_detectors_confidence() -> None:
    whole, half = judged(portrait(), face()), judged(portrait(), face(confidence=0.5))

    assert half == pytest.approx(whole / 2)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_face_without_any_detail_has_no_quality(value: int) -> None:
    assert quality(np.full((1, 150, 150, 3), value, np.uint8), face()) == [0]


def test_any_chip_and_any_landmarks_give_a_number_from_0_to_1() -> None:
    generator = np.random.default_rng(0)
    chips = generator.integers(0, 256, (50, 150, 150, 3), np.uint8)
    boxes = generator.normal(0, 200, (50, 4)).astype(np.float32)
    landmarks = generator.normal(0, 200, (50, 5, 2)).astype(np.float32)
    landmarks[0] = 0
    detections = Detections(boxes, landmarks, generator.random(50, np.float32) * np.float32(1.00001))

    values = quality(chips, detections)

    assert values.dtype == np.float32
    assert np.all((values >= 0) & (values <= 1))


def test_each_face_is_judged_by_itself_and_none_is_none() -> None:
    blurred = portrait().filter(ImageFilter.GaussianBlur(1))
    chips = np.concatenate([cut(np.asarray(picture), face()) for picture in (portrait(), blurred)])
    both = Detections(*(np.repeat(part, 2, axis=0) for part in (face().boxes, face().landmarks, face().confidences)))

    np.testing.assert_allclose(quality(chips, both), [judged(portrait(), face()), judged(blurred, face())], rtol=1e-6)
    assert quality(np.empty((0, 150, 150, 3), np.uint8), Detections.none()).shape == (0,)
