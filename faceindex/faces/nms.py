"""Non-maximum suppression within groups."""

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
    """Return which boxes no better box of their group overlaps too much, in order of group, best first within each.

    Every pass takes the best box left in each group and drops what it overlaps, so there are as many passes as the
    fullest group keeps boxes.

    Args:
        boxes: float32 (n, 4), x0, y0, x1, y1.
        scores: float32 (n,); of equal scores the first wins, with `smaller` the last.
        groups: int64 (n,).
        threshold: largest overlap that is let stand.
        smaller: overlap as a share of the smaller box, with sides counted in whole pixels (x1 - x0 + 1), as MTCNN's
            last stage has it; otherwise intersection over union.

    Equal scores are common in the last stage: boxes less than a pixel apart are cut out as the same crop. Which of
    them wins is as in facenet-pytorch, so that its faces are found to the fraction of a pixel.
    """
    extra = np.float32(1 if smaller else 0)
    positions = np.arange(len(scores))
    left = np.lexsort((-positions if smaller else positions, -scores, groups))
    passes = []
    while len(left):
        starts = np.flatnonzero(np.diff(groups[left], prepend=groups[left[0]] - 1))
        best = left[starts]
        passes.append(best)
        others = np.delete(left, starts)
        rivals = np.repeat(best, np.diff(starts, append=len(left)) - 1)
        left = others[_overlap(boxes[rivals], boxes[others], extra, smaller=smaller) <= threshold]
    kept = np.concatenate(passes) if passes else left
    return kept[np.lexsort((-scores[kept], groups[kept]))]


def _overlap(
    a: NDArray[np.float32], b: NDArray[np.float32], extra: np.float32, *, smaller: bool
) -> NDArray[np.float32]:
    sides = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]) + extra, 0)
    shared = sides[:, 0] * sides[:, 1]
    a_area, b_area = ((box[:, 2] - box[:, 0] + extra) * (box[:, 3] - box[:, 1] + extra) for box in (a, b))
    whole = np.minimum(a_area, b_area) if smaller else a_area + b_area - shared
    # Boxes without any area overlap nothing.
    overlap: NDArray[np.float32] = np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
    return overlap
