"""Which face of a photo it is about."""

import numpy as np
from numpy.typing import NDArray


def by_prominence(boxes: NDArray[np.float32], width: int, height: int) -> NDArray[np.int64]:
    """Return the order of faces in which the one a picture is about comes first: large and in the middle.

    Area less twice the squared distance of the centre from the middle of the picture, a usual rule for portraits
    (facenet-pytorch calls it `center_weighted_size`).
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    off_centre = (boxes[:, :2] + boxes[:, 2:]) / 2 - np.array([width, height]) / 2
    return np.argsort(-(sides.prod(axis=1) - 2 * (off_centre**2).sum(axis=1)), kind="stable")
