"""The quick lane for JPEG: libjpeg-turbo without Pillow, at the scale that is needed; knows nothing of metadata."""

from collections.abc import Callable

import numpy as np
import simplejpeg  # type: ignore[import-untyped]
from numpy.typing import NDArray

from faceindex.types import working_side

_LEAST_REDUCTION = 1.3
"""The scale of 7/8 is left out.

libjpeg-turbo has vector code for 1/8, 2/8, 4/8 and the whole only, so that 7/8 takes 1.4 times as long as the whole,
which shows more. 5/8 and 6/8 take about as long as the whole, and leave whoever reads the pixels half the work.
"""
BYTES = 6
"""For each pixel: 3 as it is decoded, 3 when it is turned upright."""
_COLOURS = frozenset({"YCbCr", "Gray", "RGB"})
"""What libjpeg-turbo turns into RGB exactly as Pillow does; CMYK and YCCK need colour profiles."""


def quick_pixels(
    payload: bytes, width: int, height: int, side: int | None, hold: Callable[[int], object]
) -> NDArray[np.uint8] | None:
    """Return the pixels of a JPEG as they are stored, not turned; None where anything about the file is unusual.

    A reduced picture is made of the coarse ones of the coefficients that the file stores for every 8 x 8 pixels: no
    fine detail is left to alias, and there is less to compute. The GIL is released.

    Args:
        payload: all bytes of the file.
        width: of the picture by another reading of its header; a file that is read in two ways is unusual.
        height: likewise.
        side: the picture is decoded at the smallest scale of n/8 that leaves its `working_side` this many pixels (see
            `_LEAST_REDUCTION`); None decodes the whole.
        hold: told before how many bytes of memory it takes.

    Returns:
        uint8 (height, width, 3), RGB, perhaps reduced; None for files that libjpeg-turbo warns of or refuses, which
        may be broken, or colours that it does not convert.
    """
    least = {} if side is None else {"min_width": least_width(width, height, side)}
    try:
        *shape, colours, _ = simplejpeg.decode_jpeg_header(payload, strict=True)
        if shape != [height, width] or colours not in _COLOURS:
            return None
        *shape, _, _ = simplejpeg.decode_jpeg_header(payload, **least, min_factor=_LEAST_REDUCTION, strict=True)
    except Exception:  # noqa: BLE001 - whatever it is, Pillow has the last word on what is wrong with a file
        return None
    hold(BYTES * shape[0] * shape[1])
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            payload, "RGB", **least, min_factor=_LEAST_REDUCTION, strict=True
        )
    except Exception:  # noqa: BLE001 - whatever it is, Pillow has the last word on what is wrong with a file
        return None
    return pixels


def least_width(width: int, height: int, side: int) -> int:
    """Return the width at which a picture's `working_side` is `side` pixels."""
    return -(-side * width // max(1, working_side(height, width)))


def salvage_jpeg(payload: bytes, side: int) -> NDArray[np.uint8]:
    """Return what can be seen of a broken JPEG, for people to look at; what is missing stays grey.

    Args:
        payload: all bytes that there are.
        side: width and height that are enough.

    Returns:
        uint8 (height, width, 3), RGB, reduced.

    Raises:
        ValueError: nothing can be seen.
    """
    pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(payload, "RGB", min_height=side, min_width=side, strict=False)
    return pixels
