"""Non-maximum suppression within groups."""

import numpy as np
from numpy.typing import NDArray

from faceindex.faces.compiled import compiled

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
    position = np.arange(len(scores))
    order = np.lexsort((-position if smaller else position, -scores, groups))
    stands = _greedy(boxes[order], groups[order], np.float32(threshold), np.float32(1 if smaller else 0))
    return order[stands]


@compiled
def _greedy(
    boxes: NDArray[np.float32], groups: NDArray[np.int64], threshold: np.float32, extra: np.float32
) -> NDArray[np.bool_]:
    """Return which boxes stand; they come in order of group, best first. `extra` is added to sides."""
    stands = np.ones(len(boxes), np.bool_)
    for best in range(len(boxes)):
        if not stands[best]:
            continue
        left, top, right, bottom = boxes[best, 0], boxes[best, 1], boxes[best, 2] + extra, boxes[best, 3] + extra
        area = (right - left) * (bottom - top)
        for other in range(best + 1, len(boxes)):
            if groups[other] != groups[best]:
                break
            if not stands[other]:
                continue
            x0, y0, x1, y1 = boxes[other, 0], boxes[other, 1], boxes[other, 2] + extra, boxes[other, 3] + extra
            shared_width = min(right, x1) - max(left, x0)
            shared_height = min(bottom, y1) - max(top, y0)
            if shared_width <= 0 or shared_height <= 0:
                continue
            shared = shared_width * shared_height
            own = (x1 - x0) * (y1 - y0)
            whole = min(area, own) if extra > 0 else area + own - shared
            if shared / max(whole, TINY) > threshold:
                stands[other] = False
    return stands
