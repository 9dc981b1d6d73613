"""Pictures as one-stage detectors look at them: at a few scales, in frames of a few shapes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

FRAME_STEP = 64
"""Sides of frames are multiples of this: of all strides of the networks, and few, because OpenVINO prepares itself
anew for each shape of frame (10 to 100 ms) and archives hold pictures of few shapes."""

LEVEL_FACTOR = 2
"""From one scale to the next, each of which costs a quarter of the one before. With 4 instead, BlazeFace finds 6 and
Ultra-Light 2 in 100 faces of 40 pixels fewer; YuNet is the same."""


@dataclass(frozen=True, slots=True)
class View:
    """A picture at one scale, in the upper left corner of a black frame."""

    pixels: NDArray[np.uint8]
    """uint8 (height, width, 3) RGB, the sides multiples of `FRAME_STEP`."""
    x_scale: float
    y_scale: float
    """Pixels of the view for one pixel of the picture; they differ by the rounding of its sides."""


def views(picture: NDArray[np.uint8], scale: float, largest: float) -> Iterator[View]:
    """Yield a picture at `scale`, and at smaller scales as long as a face as large as it would be too large.

    Args:
        picture: uint8 (height, width, 3).
        scale: of the first view, which shows the smallest faces.
        largest: side of the largest face that the network finds, in pixels of a view.
    """
    while True:
        yield _view(picture, scale)
        if min(picture.shape[:2]) * scale <= largest:
            return
        scale /= LEVEL_FACTOR


def _view(picture: NDArray[np.uint8], scale: float) -> View:
    height, width = picture.shape[:2]
    rows, columns = (max(1, round(side * scale)) for side in (height, width))
    frame = np.zeros((_frame_side(rows), _frame_side(columns), 3), np.uint8)
    if (rows, columns) == (height, width):
        frame[:rows, :columns] = picture
    else:
        # Halved and quartered with a box filter first where that leaves enough: quicker, and still without aliasing.
        resized = Pillow.fromarray(picture).resize((columns, rows), Pillow.Resampling.BILINEAR, reducing_gap=2.0)
        frame[:rows, :columns] = np.asarray(resized)
    return View(frame, columns / width, rows / height)


def _frame_side(side: int) -> int:
    return -(-side // FRAME_STEP) * FRAME_STEP
