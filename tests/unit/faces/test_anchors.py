"""Decoding against the published rules, written out anchor by anchor."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from faceindex.faces.anchors import BLAZEFACE, KINDS, SCRFD, ULTRALIGHT, YUNET, Candidates, Kind, kind_of

Floats = NDArray[np.float32]
Face = tuple[float, list[float], list[float]]

SIZES = [(64, 64), (128, 192), (192, 64), (320, 448)]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def cells(height: int, width: int, strides: tuple[int, ...]) -> Iterator[tuple[int, int, int, int]]:
    """Yield position of the stride, number of the cell in it, row and column."""
    for level, stride in enumerate(strides):
        columns = math.ceil(width / stride)
        for number in range(columns * math.ceil(height / stride)):
            yield level, number, number // columns, number % columns


def counts(height: int, width: int, strides: tuple[int, ...]) -> list[int]:
    return [math.ceil(height / stride) * math.ceil(width / stride) for stride in strides]


def yunet_outputs(rng: np.random.Generator, height: int, width: int) -> list[Floats]:
    sizes = counts(height, width, (8, 16, 32))
    scores = [rng.uniform(-0.1, 1.1, (1, size, 1)) for _ in range(2) for size in sizes]
    places = [rng.normal(0, 1, (1, size, count)) for count in (4, 10) for size in sizes]
    return [part.astype(np.float32) for part in scores + places]


def yunet_faces(outputs: list[Floats], height: int, width: int) -> Iterator[Face]:
    for level, cell, row, column in cells(height, width, (8, 16, 32)):
        stride = (8, 16, 32)[level]
        classes, objects, boxes, marks = (outputs[3 * part + level][0, cell] for part in range(4))
        score = math.sqrt(min(max(classes[0], 0), 1) * min(max(objects[0], 0), 1))
        x, y = (column + boxes[0]) * stride, (row + boxes[1]) * stride
        w, h = math.exp(boxes[2]) * stride, math.exp(boxes[3]) * stride
        points = [(marks[i] + (column, row)[i % 2]) * stride for i in range(10)]
        yield score, [x - w / 2, y - h / 2, x + w / 2, y + h / 2], points


def scrfd_outputs(rng: np.random.Generator, height: int, width: int) -> list[Floats]:
    sizes = [2 * count for count in counts(height, width, (8, 16, 32))]
    scores = [rng.uniform(0, 1, (size, 1)) for size in sizes]
    places = [rng.normal(0, 2, (size, count)) for count in (4, 10) for size in sizes]
    return [part.astype(np.float32) for part in scores + places]


def scrfd_faces(outputs: list[Floats], height: int, width: int) -> Iterator[Face]:
    for level, cell, row, column in cells(height, width, (8, 16, 32)):
        stride = (8, 16, 32)[level]
        for anchor in (2 * cell, 2 * cell + 1):
            [score], reach, marks = (outputs[3 * part + level][anchor] for part in range(3))
            x, y = column * stride, row * stride
            left, top, right, bottom = reach * stride
            points = [(x, y)[i % 2] + marks[i] * stride for i in range(10)]
            yield score, [x - left, y - top, x + right, y + bottom], points


ULTRALIGHT_ANCHORS = {8: (10, 16, 24), 16: (32, 48), 32: (64, 96), 64: (128, 192, 256)}


def ultralight_outputs(rng: np.random.Generator, height: int, width: int) -> list[Floats]:
    sizes = counts(height, width, tuple(ULTRALIGHT_ANCHORS))
    total = sum(size * len(sides) for size, sides in zip(sizes, ULTRALIGHT_ANCHORS.values(), strict=True))
    return [rng.normal(0, 2, (1, total, count)).astype(np.float32) for count in (2, 4)]


def ultralight_faces(outputs: list[Floats], height: int, width: int) -> Iterator[Face]:
    anchor = 0
    for level, _, row, column in cells(height, width, tuple(ULTRALIGHT_ANCHORS)):
        stride, sides = list(ULTRALIGHT_ANCHORS.items())[level]
        for side in sides:
            logits, place = outputs[0][0, anchor], outputs[1][0, anchor]
            anchor_w, anchor_h = min(side, width), min(side, height)
            x, y = (column + 0.5) * stride + place[0] * 0.1 * anchor_w, (row + 0.5) * stride + place[1] * 0.1 * anchor_h
            w, h = math.exp(place[2] * 0.2) * anchor_w, math.exp(place[3] * 0.2) * anchor_h
            chances = np.exp(logits - logits.max())
            yield chances[1] / chances.sum(), [x - w / 2, y - h / 2, x + w / 2, y + h / 2], []
            anchor += 1


def blazeface_outputs(strides: tuple[int, int]) -> Callable[[np.random.Generator, int, int], list[Floats]]:
    def outputs(rng: np.random.Generator, height: int, width: int) -> list[Floats]:
        fine, coarse = counts(height, width, strides)
        total = 2 * fine + 6 * coarse
        return [rng.normal(0, scale, (1, total, size)).astype(np.float32) for scale, size in ((30, 16), (3, 1))]

    return outputs


def blazeface_faces(strides: tuple[int, int]) -> Callable[[list[Floats], int, int], Iterator[Face]]:
    def faces(outputs: list[Floats], height: int, width: int) -> Iterator[Face]:
        anchor = 0
        for level, _, row, column in cells(height, width, strides):
            for _ in range((2, 6)[level]):
                place, [logit] = outputs[0][0, anchor], outputs[1][0, anchor]
                x, y = (column + 0.5) * strides[level] + place[0], (row + 0.5) * strides[level] + place[1]
                w, h = place[2], place[3]
                yield sigmoid(logit), [x - w / 2, y - h / 2, x + w / 2, y + h / 2], []
                anchor += 1

    return faces


CASES = {
    "YuNet": (YUNET, yunet_outputs, yunet_faces),
    "SCRFD": (SCRFD, scrfd_outputs, scrfd_faces),
    "Ultra-Light": (ULTRALIGHT, ultralight_outputs, ultralight_faces),
    "BlazeFace front": (BLAZEFACE, blazeface_outputs((8, 16)), blazeface_faces((8, 16))),
    "BlazeFace back": (BLAZEFACE, blazeface_outputs((16, 32)), blazeface_faces((16, 32))),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Kind, Callable[..., list[Floats]], Callable[..., Iterator[Face]]]:
    return CASES[request.param]


@pytest.mark.parametrize("size", SIZES)
def test_decoding_follows_the_published_rule(
    case: tuple[Kind, Callable[..., list[Floats]], Callable[..., Iterator[Face]]], size: tuple[int, int]
) -> None:
    kind, make, rule = case
    outputs = make(np.random.default_rng(0), *size)
    expected = [face for face in rule(outputs, *size) if face[0] >= 0.6]

    found = kind.decode(outputs, *size, 0.6)

    assert len(found.scores) == len(expected) > 0
    np.testing.assert_allclose(found.scores, [score for score, _, _ in expected], rtol=1e-5)
    np.testing.assert_allclose(found.boxes, [box for _, box, _ in expected], rtol=1e-4, atol=1e-3)
    if kind.has_landmarks:
        assert found.landmarks is not None
        marks = np.array([points for _, _, points in expected]).reshape(-1, 5, 2)
        np.testing.assert_allclose(found.landmarks, marks, rtol=1e-4, atol=1e-3)
    else:
        assert found.landmarks is None
    assert {found.scores.dtype, found.boxes.dtype} == {np.dtype(np.float32)}


def test_nothing_sure_enough_is_nothing(
    case: tuple[Kind, Callable[..., list[Floats]], Callable[..., Iterator[Face]]],
) -> None:
    kind, make, _ = case

    found: Candidates = kind.decode(make(np.random.default_rng(0), 64, 64), 64, 64, 2.0)

    assert (found.scores.shape, found.boxes.shape) == ((0,), (0, 4))
    assert (found.landmarks is not None) == kind.has_landmarks


def test_outputs_for_another_size_are_refused(
    case: tuple[Kind, Callable[..., list[Floats]], Callable[..., Iterator[Face]]],
) -> None:
    kind, make, _ = case
    outputs = make(np.random.default_rng(0), 128, 192)

    with pytest.raises(ValueError, match=r"reshape|anchors"):
        kind.decode(outputs, 128, 128, 0.5)


def test_scores_beyond_all_bounds_do_not_overflow() -> None:
    outputs = ultralight_outputs(np.random.default_rng(0), 64, 64)
    outputs[0] *= 1e4

    scores = ULTRALIGHT.decode(outputs, 64, 64, 0.0).scores

    assert scores.min() >= 0
    assert scores.max() <= 1


def test_a_kind_is_known_by_the_widths_of_its_outputs() -> None:
    assert [kind_of(kind.widths) for kind in KINDS] == list(KINDS)
    assert len({kind.widths for kind in KINDS}) == len(KINDS)
    assert kind_of((512,)) is None
    assert kind_of((4, 2)) is None


@pytest.mark.parametrize(("kind", "black", "white"), [(SCRFD, -127.5 / 128, 127.5 / 128), (BLAZEFACE, -1, 1)])
def test_pixels_become_what_the_network_was_trained_on(kind: Kind, black: float, white: float) -> None:
    frame = np.zeros((64, 128, 3), np.uint8)
    frame[5, 7] = (255, 0, 0)

    x = kind.inputs(frame)

    assert (x.shape, x.dtype) == ((1, 3, 64, 128), np.float32)
    np.testing.assert_allclose(x[0, :, 5, 7], [white, black, black], rtol=1e-6)


def test_yunet_sees_blue_first_and_plain_numbers() -> None:
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[5, 7] = (200, 100, 50)

    assert YUNET.inputs(frame)[0, :, 5, 7].tolist() == [50, 100, 200]


def test_blazeface_anchors_are_those_of_mediapipe(shared_data: Path) -> None:
    anchors = np.load(shared_data / "weights" / "blazeface" / "anchors.npy")
    for side in (128, 256):
        nothing = [np.zeros((1, 896, 16), np.float32), np.zeros((1, 896, 1), np.float32)]

        boxes = BLAZEFACE.decode(nothing, side, side, 0.0).boxes

        np.testing.assert_allclose(boxes, np.tile(anchors[:, :2] * side, 2), atol=1e-4)
