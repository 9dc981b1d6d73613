"""Five-landmark alignment: a similarity transform brings every face to the same place in a small square."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow


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
            chip[...] = _sampled(region, transform, size)
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


def _sampled(region: NDArray[np.uint8], transform: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    index = np.arange(size)
    x = transform[0, 0] * index + transform[0, 1] * index[:, None] + transform[0, 2]
    y = transform[1, 0] * index + transform[1, 1] * index[:, None] + transform[1, 2]
    left, top = np.floor(x), np.floor(y)
    x_share = (x - left).astype(np.float32).reshape(-1, 1)
    y_share = (y - top).astype(np.float32).reshape(-1, 1)
    # Two black pixels all round stand for everything outside, so that no neighbour needs a check of its own.
    height, width = region.shape[:2]
    framed = np.zeros((height + 4, width + 4, 3), np.float32)
    framed[2:-2, 2:-2] = region
    pixels, stride = framed.reshape(-1, 3), width + 4
    columns, rows = np.clip(left, -2, width).astype(np.intp) + 2, np.clip(top, -2, height).astype(np.intp) + 2
    first = (rows * stride + columns).reshape(-1)
    upper = _between(pixels.take(first, axis=0), pixels.take(first + 1, axis=0), x_share)
    lower = _between(pixels.take(first + stride, axis=0), pixels.take(first + stride + 1, axis=0), x_share)
    # Fractions are cut off, as in the chips of dlib that its network was trained on.
    return _between(upper, lower, y_share).astype(np.uint8).reshape(size, size, 3)


def _between(start: NDArray[np.float32], end: NDArray[np.float32], share: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return start + share * (end - start), which is exact where both are equal; overwrites `end`."""
    end -= start
    end *= share
    end += start
    return end
