"""Non-maximum suppression within groups."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


def nms(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    groups: NDArray[np.int64],
    threshold: float,
    *,
    smaller: bool = False,
) -> NDArray[np.int64]:
    """Return the boxes that no better box of their group overlaps too much, best first within a group.

    Args:
        boxes: float32 (n, 4), x0, y0, x1, y1.
        scores: float32 (n,); of equal scores the first wins.
        groups: int64 (n,).
        threshold: largest share of overlap that is let stand.
        smaller: overlap as a share of the smaller box, with sides counted in whole pixels (x1 - x0 + 1), as MTCNN's
            last stage does; otherwise intersection over union.
    """
    order = np.lexsort((-scores, groups))
    one = np.float32(1 if smaller else 0)
    low, high = boxes[order, :2], boxes[order, 2:]
    areas = np.prod(high - low + one, axis=1)
    bounds = np.flatnonzero(np.diff(groups[order], prepend=-1, append=-2))
    kept = [
        start + _greedy(low[start:end], high[start:end], areas[start:end], threshold, one)
        for start, end in pairwise(bounds)
    ]
    return order[np.concatenate(kept)] if kept else np.empty(0, np.int64)


def _greedy(
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    areas: NDArray[np.float32],
    threshold: float,
    one: np.float32,
) -> NDArray[np.int64]:
    left = np.arange(len(low))
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        sides = np.minimum(high[best], high[left]) - np.maximum(low[best], low[left]) + one
        shared = np.prod(np.maximum(sides, 0), axis=1)
        whole = np.minimum(areas[best], areas[left]) if one else areas[best] + areas[left] - shared
        left = left[shared <= threshold * whole]
    return np.array(kept, dtype=np.int64)
