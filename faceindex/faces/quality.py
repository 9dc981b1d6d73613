"""One number for how much of a person a picture of a face shows; knows no model, so it means the same for all."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from faceindex.types import Detections

VERSION = 2
"""Raise it when `quality` gives other numbers: those of two versions must not stand in one catalog."""

MIDDLE = 0.6
"""Share of a chip's side that is looked at, so that hair and background do not count."""

GRID = 48
"""Side in pixels to which the middle of a chip is brought, so that chips of 112 to 160 pixels are judged alike."""

ROUNDING = 0.2
"""Least standard deviation of the noise in grey levels: that of pixels rounded to whole numbers and interpolated."""

BLANK = 0.02
"""Contrast of a cell, as a share of the whole face's, below which it shows nothing; smooth skin has more."""

CELL = 4
"""Side of a cell in pixels of the grid."""


def quality(chips: NDArray[np.uint8], detections: Detections) -> NDArray[np.float32]:
    """Return the quality of each face, float32 (n,) in [0, 1].

    It estimates how often a comparison with a good photo of the same person succeeds, at a threshold that one
    comparison of a thousand strangers reaches. Each thing that can spoil a face adds to the odds of failure
    (x / half) ^ power: nothing while it is small, and at `half` it alone spoils every second comparison. So one fatal
    fault is not made up for by other virtues, and quality = 1 / (1 + odds). What is measured:

    - size: 1 / side of the box, in pixels of the photo;
    - blur: contrast of the face against its fine detail, less noise;
    - noise: against the fine detail. Rounding to whole grey levels counts as noise, so darkness and haze count here;
    - blankness: share of the face that shows nothing, being burnt out, in black shadow, or covered;
    - pose: how far the nose stands beside the middle of the eyes, in distances between them;
    - doubt of the detector, which adds a half at most, as detectors are sure of themselves to different degrees.

    Brightness as such does not count, as skin differs in it; nor does a tilted head, as alignment undoes the tilt.

    Halves and powers were fitted once, by maximum likelihood, and rounded, on 311 people of LFW (those whose name has
    an even CRC-32): their photos and 13 kinds of degraded copies, each compared with other photos of the same person
    by dlib's network. Power laws whose odds add up were better than a logistic regression, in which odds multiply, and
    as good as a small neural network fed with 26 measurements. `benchmarks/quality.py` judges them on other people.

    Args:
        chips: uint8 (n, size, size, 3), the faces as they are embedded.
        detections: the same faces, in pixels of the photo in full.
    """
    if not len(detections):
        return np.empty(0, np.float32)
    grey = _middle(chips)
    contrast = grey.std(axis=(1, 2))
    noise, fine = _detail(grey)
    odds = (
        (17 * _inverse(_side(detections))) ** 3
        + (contrast / (6.4 * fine)) ** 6
        + (noise / (0.62 * fine)) ** 6
        + (_blank(grey, contrast) / 0.32) ** 2
        + (_turn(detections) / 0.7) ** 6
        + np.clip((1 - detections.confidences) / 0.06, 0, 0.5)
    )
    return np.asarray(1 / (1 + odds), dtype=np.float32)


def _middle(chips: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the grey levels of the middle of each chip, float32 (n, GRID, GRID)."""
    count, size = chips.shape[:2]
    edge = round(size * (1 - MIDDLE) / 2)
    side = size - 2 * edge
    pixels = chips[:, edge:-edge, edge:-edge].reshape(count, side, 3 * side).astype(np.float32)
    rows = _means(side)
    # A pixel's three colours stand side by side: they are averaged with its neighbours in the row.
    columns = np.repeat(rows, 3, axis=1).T / 3
    return np.asarray(rows @ (pixels @ columns))


@cache
def _means(side: int) -> NDArray[np.float32]:
    """Return the matrix that brings `side` pixels to GRID, each the mean of those it covers, float32 (GRID, side)."""
    edges = np.linspace(0, side, GRID + 1)
    pixels = np.arange(side)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(np.maximum(covered, 0) * GRID / side, dtype=np.float32)


def _detail(grey: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the noise and the fine detail of each face, float32 (n,) in grey levels, both positive.

    By the finest step of an orthonormal Haar transform. The noise is the median of the diagonal coefficients, where
    faces have least (Donoho and Johnstone, Biometrika 81(3), 1994). The detail is the geometric mean of the power
    across and along, as motion wipes out one of them.
    """
    upper, lower = grey[:, ::2], grey[:, 1::2]
    sums, differences = upper + lower, upper - lower
    across = (sums[:, :, ::2] - sums[:, :, 1::2]) / 2
    along = (differences[:, :, ::2] + differences[:, :, 1::2]) / 2
    diagonal = (differences[:, :, ::2] - differences[:, :, 1::2]) / 2
    noise = np.maximum(np.median(np.abs(diagonal), axis=(1, 2)) / np.float32(0.6745), np.float32(ROUNDING))
    power = np.sqrt((across**2).mean(axis=(1, 2)) * (along**2).mean(axis=(1, 2)))
    # A tenth of the noise stands for detail that drowns in it.
    return noise, np.sqrt(np.maximum(power - noise**2, (0.1 * noise) ** 2))


def _blank(grey: NDArray[np.float32], contrast: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the share of each face's cells that show nothing, float32 (n,)."""
    cells = grey.reshape(len(grey), GRID // CELL, CELL, GRID // CELL, CELL).std(axis=(2, 4))
    least = BLANK * np.maximum(contrast, 1)
    return np.asarray((cells < least[:, None, None]).mean(axis=(1, 2)), dtype=np.float32)


def _side(detections: Detections) -> NDArray[np.float32]:
    """Return the side of each box, root of its area, in pixels."""
    sides = np.maximum(detections.boxes[:, 2:] - detections.boxes[:, :2], 0)
    return np.asarray(np.sqrt(sides.prod(axis=1)))


def _turn(detections: Detections) -> NDArray[np.float32]:
    """Return how far each nose stands beside the middle of the eyes, in distances between them; 10 at most."""
    left, right, nose = (detections.landmarks[:, index] for index in range(3))
    axis = right - left
    beside = np.abs(((nose - (left + right) / 2) * axis).sum(axis=1))
    return np.asarray(np.minimum(beside * _inverse((axis**2).sum(axis=1)), 10))


def _inverse(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / np.maximum(values, 1e-3), dtype=np.float32)
