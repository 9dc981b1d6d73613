"""Five-landmark alignment: a similarity transform brings every face to the same place in a small square."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from faceindex.faces.compiled import compiled

FRAME = 2
"""Black pixels around a picture that is sampled: one for the right and lower neighbour of one outside."""


def similarity(landmarks: NDArray[np.float32], template: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the transforms that take a template to each face, float64 (n, 2, 3).

    Least squares over rotation, uniform scale and translation (Umeyama, PAMI 13(4), 1991, in two dimensions, where
    the solution has a closed form).

    Args:
        landmarks: float32 (n, 5, 2), in pixels of the photo.
        template: float64 (5, 2), in pixels of the chip.
    """
    source = template - template.mean(axis=0)
    centres = landmarks.mean(axis=1, dtype=np.float64)
    target = landmarks - centres[:, None]
    power = (source**2).sum()
    a = (target * source).sum(axis=(1, 2)) / power
    b = (source[:, 0] * target[:, :, 1] - source[:, 1] * target[:, :, 0]).sum(axis=1) / power
    turned = np.stack([np.stack([a, -b], axis=1), np.stack([b, a], axis=1)], axis=1)
    return np.concatenate([turned, (centres - turned @ template.mean(axis=0))[:, :, None]], axis=2)


def align(
    pixels: NDArray[np.uint8], landmarks: NDArray[np.float32], template: NDArray[np.float64], size: int
) -> NDArray[np.uint8]:
    """Return the aligned faces of a photo, uint8 (n, size, size, 3), black where the photo ends.

    Pixels are interpolated bilinearly. A face much larger than the chip is first reduced by a whole factor with a
    box filter, so that no detail of the photo is skipped (aliasing).

    Args:
        pixels: uint8 (height, width, 3).
        landmarks: float32 (n, 5, 2), in pixels of the photo.
        template: float64 (5, 2), where the landmarks go, in pixels of the chip.
        size: side of the chips in pixels.
    """
    chips = np.zeros((len(landmarks), size, size, 3), np.uint8)
    for chip, whole in zip(chips, similarity(landmarks, template), strict=True):
        region, transform = _reduced(pixels, whole, size)
        if region is not None:
            height, width = region.shape[:2]
            framed = np.zeros((height + 2 * FRAME, width + 2 * FRAME, 3), np.uint8)
            framed[FRAME:-FRAME, FRAME:-FRAME] = region
            _sample(chip, framed, transform)
    return chips


def _reduced(
    pixels: NDArray[np.uint8], transform: NDArray[np.float64], size: int
) -> tuple[NDArray[np.uint8] | None, NDArray[np.float64]]:
    """Return the part of the photo a chip shows, reduced to no more than twice its scale, and the transform into it."""
    corners = np.array([[0, 0, 1], [size, 0, 1], [0, size, 1], [size, size, 1]]) @ transform.T
    factor = max(1, int(np.hypot(transform[0, 0], transform[1, 0])))
    height, width = pixels.shape[:2]
    x0, y0 = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 2 * factor, 0)
    x1, y1 = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 2 * factor + 1, (width, height))
    if x1 <= x0 or y1 <= y0:
        return None, transform
    moved = transform.copy()
    moved[:, 2] -= (x0, y0)
    region = pixels[y0:y1, x0:x1]
    if factor > 1:
        region = np.asarray(Pillow.fromarray(np.ascontiguousarray(region)).reduce(factor))
        # Pixel centres: centre i of the reduced region lies at factor * i + (factor - 1) / 2 of the region.
        moved[:, 2] -= (factor - 1) / 2
        moved /= factor
    return region, moved


@compiled
def _sample(chip: NDArray[np.uint8], framed: NDArray[np.uint8], transform: NDArray[np.float64]) -> None:
    """Fill a chip from a picture with a black frame, which stands for everything outside of it."""
    size = len(chip)
    height, width = framed.shape[0] - 2 * FRAME, framed.shape[1] - 2 * FRAME
    places = np.empty(size, np.uint32)
    x_shares, y_shares = np.empty(size, np.float32), np.empty(size, np.float32)
    for row in range(size):
        # Two passes, because the first runs many columns at a time.
        for column in range(size):
            x = transform[0, 0] * column + transform[0, 1] * row + transform[0, 2]
            y = transform[1, 0] * column + transform[1, 1] * row + transform[1, 2]
            left, top = np.floor(x), np.floor(y)
            x_shares[column], y_shares[column] = x - left, y - top
            in_column = FRAME + min(max(np.int64(left), -FRAME), width)
            in_row = FRAME + min(max(np.int64(top), -FRAME), height)
            places[column] = 3 * (in_row * framed.shape[1] + in_column)
        _interpolate(chip[row].reshape(-1), framed.reshape(-1), framed.shape[1], places, x_shares, y_shares)


@compiled
def _interpolate(
    line: NDArray[np.uint8],
    values: NDArray[np.uint8],
    width: int,
    places: NDArray[np.uint32],
    x_shares: NDArray[np.float32],
    y_shares: NDArray[np.float32],
) -> None:
    # Unsigned, because signed positions might count from the end, which is checked at each one.
    right, below = np.uint32(3), np.uint32(3 * width)
    for column in range(len(places)):
        for channel in range(3):
            at = places[column] + np.uint32(channel)
            upper = _between(values[at], values[at + right], x_shares[column])
            lower = _between(values[at + below], values[at + below + right], x_shares[column])
            # Fractions are cut off, as in the chips of dlib that its network was trained on.
            line[3 * column + channel] = np.uint8(np.int32(_between(upper, lower, y_shares[column])))


@compiled
def _between(start: Any, end: Any, share: np.float32) -> np.float32:
    return np.float32(start) + share * (np.float32(end) - np.float32(start))
