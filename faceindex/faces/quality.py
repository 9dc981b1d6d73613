"""One number for how much of a person a picture of a face shows; knows no model, so it means the same for all."""

import numpy as np
from numpy.typing import NDArray

from faceindex.types import Detections

FULL_SIZE_PX = 80.0
"""Side of a box (root of its area) from which more pixels add little; about half the side of a chip."""

SHARP = 0.2
"""Ratio of Laplacian to contrast from which a face counts as sharp: the median over faces of LFW. Portraits of several
megapixels have 0.35; faces of LFW blurred by a Gaussian of 1 and 2 pixels have 0.12 and 0.07."""


def quality(chips: NDArray[np.uint8], detections: Detections) -> NDArray[np.float32]:
    """Return the quality of each face, float32 (n,) in [0, 1].

    The product of five factors, each in [0, 1] and each monotone: resolution (side of the box against 80 px),
    sharpness (standard deviation of the Laplacian against that of the grey levels), exposure (contrast and distance
    from black and white), pose (how centred the nose is between the eyes) and the detector's confidence. A ranking
    of faces, not a probability; noise passes for sharpness, and nothing here sees masks or sunglasses.

    Args:
        chips: uint8 (n, size, size, 3), the faces as they are embedded.
        detections: the same faces.
    """
    if not len(detections):
        return np.empty(0, np.float32)
    # The middle of a chip, so that hair and background do not count.
    edge = chips.shape[1] // 5
    grey = chips[:, edge:-edge, edge:-edge].mean(axis=3, dtype=np.float32)
    factors = [_resolution(detections), _sharpness(grey), _exposure(grey), _pose(detections)]
    product = np.prod(factors, axis=0) * np.clip(detections.confidences, 0, 1)
    return np.asarray(product, dtype=np.float32)


def _resolution(detections: Detections) -> NDArray[np.float32]:
    sides = np.sqrt(np.prod(np.maximum(detections.boxes[:, 2:] - detections.boxes[:, :2], 0), axis=1))
    return np.asarray(np.minimum(sides / FULL_SIZE_PX, 1), dtype=np.float32)


def _sharpness(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    inner = grey[:, 1:-1, 1:-1]
    laplacian = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:] - 4 * inner
    ratio = laplacian.std(axis=(1, 2)) / np.maximum(grey.std(axis=(1, 2)), 1)
    return np.asarray(np.minimum(ratio / SHARP, 1), dtype=np.float32)


def _exposure(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    brightness, contrast = grey.mean(axis=(1, 2)), grey.std(axis=(1, 2))
    from_the_ends = np.minimum(brightness, 255 - brightness) / 50
    return np.asarray(np.minimum(from_the_ends, 1) * np.minimum(contrast / 30, 1), dtype=np.float32)


def _pose(detections: Detections) -> NDArray[np.float32]:
    """1 when the nose lies midway between the eyes, 0 when it lies beyond one of them."""
    left, right, nose = (detections.landmarks[:, index] for index in range(3))
    axis = right - left
    length = np.maximum((axis**2).sum(axis=1), 1e-6)
    offset = ((nose - (left + right) / 2) * axis).sum(axis=1) / length
    return np.asarray(1 - np.minimum(np.abs(offset) / 0.5, 1) ** 2, dtype=np.float32)
