from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from faceindex.faces.chips import Aligned, Boxed
from faceindex.faces.dlib_resnet import FAMILY, TEMPLATE
from faceindex.faces.quality import quality
from faceindex.types import Detections
from tests.support.archives import portrait

BOX = (81.0, 62.0, 168.0, 172.0)
LANDMARKS = ((105.0, 101.7), (146.8, 103.7), (124.7, 129.0), (101.7, 139.2), (145.3, 141.9))
"""Where MTCNN sees the face of the portrait."""
CUTTER = FAMILY.cutter


def face(scale: float = 1.0, confidence: float = 1.0, nose_shift: float = 0.0) -> Detections:
    landmarks = np.array([LANDMARKS], np.float32)
    landmarks[0, 2, 0] += nose_shift
    found = Detections(np.array([BOX], np.float32), landmarks, np.array([confidence], np.float32))
    return found.scaled(scale, scale)


def judged(picture: Image.Image, detections: Detections | None = None) -> float:
    found = detections or face()
    [value] = quality(CUTTER.cut(np.asarray(picture), found), found)
    return float(value)


def pixels() -> NDArray[np.float64]:
    return np.asarray(portrait(), np.float64)


def picture(levels: NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def noisy(levels: NDArray[np.float64], deviation: float) -> Image.Image:
    return picture(levels + np.random.default_rng(0).normal(0, deviation, levels.shape))


def falls(values: list[float], to: float = 0.5) -> bool:
    return all(before > after for before, after in pairwise(values)) and values[-1] < to


def test_a_sharp_frontal_well_lit_face_is_nearly_perfect() -> None:
    assert 0.95 < judged(portrait()) <= 1


def test_blur_lowers_quality() -> None:
    assert falls([judged(portrait().filter(ImageFilter.GaussianBlur(radius))) for radius in (0, 1, 2, 4, 8)], 0.2)


@pytest.mark.parametrize("axis", [0, 1])
def test_motion_in_either_direction_lowers_quality(axis: int) -> None:
    moved = [np.mean([np.roll(pixels(), step, axis) for step in range(length)], axis=0) for length in (1, 8, 16, 32)]

    assert falls([judged(picture(levels)) for levels in moved], 0.85)


def test_fewer_pixels_lower_quality() -> None:
    side = portrait().width
    scales = [1, 0.6, 0.4, 0.25, 0.15]
    pictures = [portrait().resize((round(side * s), round(side * s)), Image.Resampling.BOX) for s in scales]

    assert falls([judged(small, face(s)) for small, s in zip(pictures, scales, strict=True)])


def test_a_small_box_lowers_quality_even_if_its_chip_looks_sharp() -> None:
    chips = CUTTER.cut(np.asarray(portrait()), face())

    assert falls([float(quality(chips, face(scale))[0]) for scale in (2, 0.8, 0.6, 0.4, 0.15)])


def test_noise_lowers_quality() -> None:
    assert falls([judged(noisy(pixels(), deviation)) for deviation in (0, 10, 20, 40, 80)], 0.1)


@pytest.mark.parametrize("deviation", [3, 10, 30])
def test_noise_does_not_pass_for_sharpness(deviation: float) -> None:
    blurred = portrait().filter(ImageFilter.GaussianBlur(4))

    assert judged(noisy(np.asarray(blurred, np.float64), deviation)) < judged(blurred) < 0.7


def test_a_face_drowns_in_noise_and_rounding_as_its_photo_darkens() -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 2, pixels().shape)

    assert falls([judged(picture(pixels() * share + noise)) for share in (1, 0.3, 0.1, 0.05, 0.02)], 0.1)
    assert judged(picture(pixels() * 0.01)) < 0.1


def test_brightness_as_such_does_not_count() -> None:
    assert judged(picture(pixels() * 0.4)) == pytest.approx(judged(portrait()), abs=0.02)


def test_what_is_burnt_out_or_covered_lowers_quality() -> None:
    assert falls([judged(picture(pixels() * gain)) for gain in (1, 2, 4, 8)])
    covered = []
    for rows in (0, 30, 50, 80):
        levels = pixels()
        levels[172 - rows : 172, 81:168] = 40
        covered.append(judged(picture(levels)))
    assert falls(covered)


def test_turning_away_lowers_quality() -> None:
    # The same chip each time: only where the nose stands between the eyes differs.
    chips = CUTTER.cut(np.asarray(portrait()), face())
    for side in (-1, 1):
        values = [float(quality(chips, face(nose_shift=side * shift))[0]) for shift in (5, 15, 20, 30, 60)]

        assert falls(values, 0.1)


def test_a_tilted_head_is_still_frontal() -> None:
    upright = face()
    turn = np.array([[np.cos(0.6), -np.sin(0.6)], [np.sin(0.6), np.cos(0.6)]])
    tilted = Detections(upright.boxes, (upright.landmarks @ turn).astype(np.float32), upright.confidences)
    chips = CUTTER.cut(np.asarray(portrait()), upright)

    np.testing.assert_allclose(quality(chips, tilted), quality(chips, upright), rtol=1e-4)


def test_a_doubtful_detection_counts_less_but_no_detectors_modesty_condemns_a_face() -> None:
    values = [judged(portrait(), face(confidence=confidence)) for confidence in (1, 0.999, 0.99, 0.98)]

    assert falls(values, 0.8)
    assert judged(portrait(), face(confidence=0.9)) == judged(portrait(), face(confidence=0.5)) > 0.6


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_face_without_any_detail_has_no_quality(value: int) -> None:
    assert quality(np.full((1, 150, 150, 3), value, np.uint8), face())[0] < 1e-6


@pytest.mark.parametrize("radius", [0, 3, 6])
def test_chips_of_all_models_are_judged_alike(radius: int) -> None:
    levels = np.asarray(portrait().filter(ImageFilter.GaussianBlur(radius)))
    cutters = [CUTTER, Aligned(112, TEMPLATE * 112 / 150), Aligned(128, TEMPLATE * 128 / 150), Boxed(160)]

    values = [float(quality(cutter.cut(levels, face()), face())[0]) for cutter in cutters]

    assert np.ptp(values) < 0.2


def test_any_chip_and_any_landmarks_give_a_number_from_0_to_1() -> None:
    generator = np.random.default_rng(0)
    chips = generator.integers(0, 256, (50, 150, 150, 3), np.uint8)
    boxes = generator.normal(0, 2000, (50, 4)).astype(np.float32)
    landmarks = generator.normal(0, 2000, (50, 5, 2)).astype(np.float32)
    landmarks[0] = 0
    landmarks[1, :2] = 7
    detections = Detections(boxes, landmarks, generator.random(50, np.float32) * np.float32(1.00001))

    values = quality(chips, detections)

    assert values.dtype == np.float32
    assert np.all((values >= 0) & (values <= 1))


def test_each_face_is_judged_by_itself_and_none_is_none() -> None:
    blurred = portrait().filter(ImageFilter.GaussianBlur(3))
    chips = np.concatenate([CUTTER.cut(np.asarray(each), face()) for each in (portrait(), blurred)])
    both = Detections(*(np.repeat(part, 2, axis=0) for part in (face().boxes, face().landmarks, face().confidences)))

    np.testing.assert_allclose(quality(chips, both), [judged(portrait()), judged(blurred)], rtol=1e-5)
    assert quality(np.empty((0, 150, 150, 3), np.uint8), Detections.none()).shape == (0,)
