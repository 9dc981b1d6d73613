import numpy as np
import pytest
from numpy.typing import NDArray

from faceindex.faces.nms import nms


def overlap(a: NDArray[np.float32], b: NDArray[np.float32], *, smaller: bool) -> float:
    extra = 1 if smaller else 0
    width = min(a[2], b[2]) - max(a[0], b[0]) + extra
    height = min(a[3], b[3]) - max(a[1], b[1]) + extra
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0] + extra) * (box[3] - box[1] + extra) for box in (a, b)]
    whole = min(areas) if smaller else sum(areas) - shared
    return float(shared / whole) if whole > 0 else 0.0


def one_box_at_a_time(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], groups: NDArray[np.int64], threshold: float, smaller: bool
) -> list[int]:
    """The oracle: in each group, take boxes by falling score unless one that was taken overlaps them too much."""
    later = -1 if smaller else 1
    kept = []
    for group in sorted(set(groups.tolist())):
        members = sorted((i for i in range(len(boxes)) if groups[i] == group), key=lambda i: (-scores[i], later * i))
        taken: list[int] = []
        for i in members:
            if all(overlap(boxes[j], boxes[i], smaller=smaller) <= np.float32(threshold) for j in taken):
                taken.append(i)
        kept += taken
    return kept


def crowd(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    corners = generator.integers(0, 60, (count, 2))
    boxes = np.concatenate([corners, corners + generator.integers(1, 40, (count, 2))], axis=1)
    scores = np.round(generator.random(count), 1)  # with many ties
    return boxes.astype(np.float32), scores.astype(np.float32), generator.integers(0, 4, count) * 7


@pytest.mark.parametrize("smaller", [False, True])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("count", [1, 2, 17, 150])
def test_the_boxes_kept_are_those_of_a_slow_loop(count: int, threshold: float, smaller: bool) -> None:
    for seed in range(5):
        boxes, scores, groups = crowd(count, seed)

        kept = nms(boxes, scores, groups, threshold, smaller=smaller)

        assert kept.tolist() == one_box_at_a_time(boxes, scores, groups, threshold, smaller)


def test_of_equal_scores_the_first_wins_or_the_last_by_the_smaller_box() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [0, 0, 10, 10]], np.float32)
    scores, groups = np.full(3, 0.5, np.float32), np.zeros(3, np.int64)

    assert nms(boxes, scores, groups, 0.5).tolist() == [0]
    assert nms(boxes, scores, groups, 0.5, smaller=True).tolist() == [2]


def test_boxes_of_different_groups_never_suppress_each_other() -> None:
    boxes = np.array([[0, 0, 10, 10]] * 3, np.float32)

    assert nms(boxes, np.array([0.1, 0.9, 0.5], np.float32), np.array([5, -2, 0]), 0.5).tolist() == [1, 2, 0]


def test_an_overlap_equal_to_the_threshold_is_let_stand() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 5, 10], [0, 0, 10, 4.9]], np.float32)
    scores = np.array([0.9, 0.8, 0.7], np.float32)

    assert nms(boxes, scores, np.zeros(3, np.int64), 0.5).tolist() == [0, 1, 2]
    assert nms(boxes, scores, np.zeros(3, np.int64), 0.499).tolist() == [0, 2]


def test_a_small_box_inside_a_large_one_goes_only_by_its_own_share() -> None:
    boxes = np.array([[0, 0, 100, 100], [10, 10, 30, 30]], np.float32)
    scores = np.array([0.9, 0.8], np.float32)

    assert nms(boxes, scores, np.zeros(2, np.int64), 0.7).tolist() == [0, 1]
    assert nms(boxes, scores, np.zeros(2, np.int64), 0.7, smaller=True).tolist() == [0]


def test_boxes_without_area_are_kept() -> None:
    boxes = np.array([[3, 3, 3, 3], [3, 3, 3, 3]], np.float32)

    assert nms(boxes, np.array([0.5, 0.6], np.float32), np.zeros(2, np.int64), 0.5).tolist() == [1, 0]


def test_nothing_gives_nothing() -> None:
    nothing = nms(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64), 0.5)

    assert nothing.tolist() == []
    assert nothing.dtype == np.int64
