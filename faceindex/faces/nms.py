"""Non-maximum suppression within groups."""

import numpy as np
from numpy.typing import NDArray

TINY = np.float32(1e-9)
"""Instead of an area of zero, so that boxes without any overlap nothing."""


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
    position = np.arange(len(scores))
    order = np.lexsort((-position if smaller else position, -scores, groups))
    left, group = order, groups[order]
    low, high = boxes[order, :2], boxes[order, 2:] + extra
    area = (high[:, 0] - low[:, 0]) * (high[:, 1] - low[:, 1])
    kept = []
    while len(left):
        is_best = np.concatenate([[True], group[1:] != group[:-1]])
        best = np.flatnonzero(is_best)
        kept.append(left[best])
        rival = best[np.cumsum(is_best) - 1]
        sides = np.maximum(np.minimum(high, high[rival]) - np.maximum(low, low[rival]), 0)
        shared = sides[:, 0] * sides[:, 1]
        whole = np.minimum(area, area[rival]) if smaller else area + area[rival] - shared
        stands = shared / np.maximum(whole, TINY) <= threshold
        stands[best] = False
        left, group, low, high, area = left[stands], group[stands], low[stands], high[stands], area[stands]
    found = np.concatenate(kept) if kept else order
    return found[np.lexsort((-scores[found], groups[found]))]
