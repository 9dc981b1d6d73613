from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from faceindex.faces.turned import OVERLAP, SURE, AllTurns, turned_back
from faceindex.types import Detections

Pixels = NDArray[np.uint8]


def faces(*rows: tuple[tuple[float, float, float, float], float]) -> Detections:
    """Return faces of boxes and scores, their landmarks in the corners and the middle."""
    boxes = np.array([box for box, _ in rows], np.float32).reshape(-1, 4)
    x0, y0, x1, y1 = boxes.T
    middle = [(x0 + x1) / 2, (y0 + y1) / 2]
    points = np.stack([np.stack(p, axis=1) for p in ((x0, y0), (x1, y0), middle, (x0, y1), (x1, y1))], axis=1)
    return Detections(boxes, points.astype(np.float32), np.array([score for _, score in rows], np.float32))


class Scripted:
    """A detector that sees in its n-th call what it was told, and remembers the pictures."""

    id = "scripted"

    def __init__(self, *looks: Detections) -> None:
        self.looks = looks
        self.seen: list[tuple[list[Pixels], list[float]]] = []

    def detect(self, pictures: Sequence[Pixels], smallest: Sequence[float]) -> list[Detections]:
        self.seen.append((list(pictures), list(smallest)))
        return [self.looks[len(self.seen) - 1]] * len(pictures)


NOTHING: Any = Detections.none()


def test_every_picture_is_seen_in_four_positions_with_the_same_smallest_face() -> None:
    pictures = [np.random.default_rng(0).integers(0, 256, shape, np.uint8) for shape in ((4, 7, 3), (5, 5, 3))]
    detector = Scripted(*[NOTHING] * 4)

    assert [len(found) for found in AllTurns(detector).detect(pictures, [20, 30])] == [0, 0]

    for turns, (seen, smallest) in enumerate(detector.seen):
        assert smallest == [20, 30]
        for ours, picture in zip(seen, pictures, strict=True):
            np.testing.assert_array_equal(ours, np.rot90(picture, turns))
            assert ours.flags.c_contiguous


def test_a_face_seen_in_two_positions_is_one_with_the_better_score() -> None:
    height, width = 100, 200
    upright = faces(((10, 20, 50, 70), 0.8))
    again = faces(((12, 22, 52, 72), 0.99), ((120, 10, 150, 50), 0.97))
    turned = [turned_back(again, (4 - turns) % 4, *turned_shape(turns, height, width)) for turns in (1, 2, 3)]

    [found] = AllTurns(Scripted(upright, turned[0], NOTHING, turned[2])).detect(
        [np.zeros((height, width, 3), np.uint8)], [20]
    )

    np.testing.assert_allclose(found.boxes, again.boxes)
    np.testing.assert_allclose(found.landmarks, again.landmarks, atol=1)
    np.testing.assert_allclose(found.confidences, again.confidences)


def turned_shape(turns: int, height: int, width: int) -> tuple[int, int]:
    return (width, height) if turns % 2 else (height, width)


def test_only_sure_faces_of_turned_pictures_count() -> None:
    doubtful = faces(((0, 0, 10, 10), SURE - 0.01))

    [found] = AllTurns(Scripted(doubtful, doubtful, doubtful, doubtful)).detect([np.zeros((40, 40, 3), np.uint8)], [20])

    np.testing.assert_array_equal(found.boxes, doubtful.boxes)


def test_faces_that_touch_are_two_and_the_most_confident_comes_first() -> None:
    width = 10
    shift = width * (1 - OVERLAP) / (1 + OVERLAP) + 0.1  # just less than the overlap of one
    upright, on_its_head = faces(((0, 0, 10, 10), 0.96)), faces(((40 - 10 - shift, 30, 40 - shift, 40), 0.97))

    [found] = AllTurns(Scripted(upright, NOTHING, on_its_head, NOTHING)).detect([np.zeros((40, 40, 3), np.uint8)], [20])

    np.testing.assert_allclose(found.boxes, [[shift, 0, shift + 10, 10], [0, 0, 10, 10]], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.confidences, [0.97, 0.96])


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_no_faces_turn_into_no_faces(turns: int) -> None:
    assert len(turned_back(Detections.none(), turns, 30, 40)) == 0


def test_the_id_tells_that_pictures_are_turned() -> None:
    assert AllTurns(Scripted()).id == "scripted-turned"


def test_no_pictures_have_no_faces() -> None:
    class Nothing(Scripted):
        def detect(self, pictures: Sequence[Pixels], smallest: Sequence[float]) -> list[Detections]:
            return []

    assert AllTurns(Nothing()).detect([], []) == []
