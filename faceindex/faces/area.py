"""Area resampling, as MTCNN was trained with: every output pixel is the mean of the input pixels its window touches.

The windows are those of adaptive average pooling (torch's `interpolate(mode="area")`): output pixel i of m covers the
input pixels from floor(i n / m) to ceil((i + 1) n / m). A table of running sums (Crow, "Summed-area tables for texture
mapping", SIGGRAPH 1984) makes the sum of each window four look-ups, whatever its size, and integers make it exact.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceindex.faces.compiled import compiled

MIDDLE = np.float32(127.5)
"""Grey that the networks take as 0; results are given relative to it."""

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class SumTable:
    """The running sums of several pictures, from which they and parts of them are resampled.

    Entry (y, x) of a picture's table is the sum of all pixels above y and to the left of x. Sums are kept modulo
    2**32, so differences over windows of up to 16 megapixels are exact however large the picture is. The tables of
    all pictures stand behind one another in one array, so that crops of all of them are cut in one go.

    Args:
        pictures: each uint8 (height, width, 3).
    """

    def __init__(self, pictures: Sequence[NDArray[np.uint8]]) -> None:
        self.heights = np.array([picture.shape[0] for picture in pictures], np.int64)
        self.widths = np.array([picture.shape[1] for picture in pictures], np.int64)
        ends = np.cumsum(3 * (self.heights + 1) * (self.widths + 1))
        self._starts = np.concatenate([[0], ends[:-1]])
        self._flat = np.empty(ends[-1], np.uint32)
        for start, end, picture in zip(self._starts, ends, pictures, strict=True):
            height, width = picture.shape[:2]
            _fill(self._flat[start:end].reshape(height + 1, width + 1, 3), picture)

    def draw(self, canvas: Floats, tiles: NDArray[Any]) -> None:
        """Draw parts of pictures at other sizes on a canvas, float32 (height, width, 3), relative to middle grey.

        A part of odd width is followed by its last column once more, one of odd height by its last row.

        Args:
            canvas: drawn on.
            tiles: records with `owner` (position of the picture), `level_height` and `level_width` (its size), the
                part `top`, `left`, `height`, `width` in pixels of that size, and where it goes, `y` and `x`.
        """
        _draw(canvas, self._flat, self._starts, self.heights, self.widths, tiles)

    def crops(self, owners: Ints, boxes: Ints, side: int) -> Floats:
        """Return crops resized to squares, float32 (n, side, side, 3), relative to middle grey.

        Args:
            owners: int64 (n,), position of the picture each crop is from.
            boxes: int64 (n, 4), x0, y0, x1, y1 in pixels, inside the picture and not empty; x1 and y1 are excluded.
            side: of the squares, in pixels.
        """
        crops = np.empty((len(boxes), side, side, 3), np.float32)
        _cut(crops, self._flat, self._starts, self.widths, owners, boxes)
        return crops


@compiled
def _fill(table: NDArray[np.uint32], picture: NDArray[np.uint8]) -> None:
    height, width = picture.shape[:2]
    table[0] = 0
    for y in range(height):
        red, green, blue = np.uint32(0), np.uint32(0), np.uint32(0)
        table[y + 1, 0] = 0
        for x in range(width):
            red += picture[y, x, 0]
            green += picture[y, x, 1]
            blue += picture[y, x, 2]
            table[y + 1, x + 1, 0] = table[y, x + 1, 0] + np.uint32(red)
            table[y + 1, x + 1, 1] = table[y, x + 1, 1] + np.uint32(green)
            table[y + 1, x + 1, 2] = table[y, x + 1, 2] + np.uint32(blue)


@compiled
def _draw(
    canvas: Floats, flat: NDArray[np.uint32], starts: Ints, heights: Ints, widths: Ints, tiles: NDArray[Any]
) -> None:
    for index in range(len(tiles)):
        tile = tiles[index]
        owner, wide = tile.owner, 3 * tile.width
        # Unsigned, because signed positions might count from the end, which is checked at each one.
        lows, highs = np.empty(wide, np.uint32), np.empty(wide, np.uint32)
        spans = np.empty(wide, np.float32)
        first = tile.left * widths[owner] // tile.level_width
        for x in range(tile.width):
            low, high = _window(tile.left + x, widths[owner], tile.level_width)
            for channel in range(3):
                lows[3 * x + channel] = 3 * (low - first) + channel
                highs[3 * x + channel] = 3 * (high - first) + channel
                spans[3 * x + channel] = high - low
        # Two passes, because the first runs over neighbouring numbers, many at a time.
        band = np.empty(highs[wide - 1] + 1, np.uint32)
        for y in range(tile.height):
            low, high = _window(tile.top + y, heights[owner], tile.level_height)
            above = starts[owner] + 3 * (low * (widths[owner] + 1) + first)
            below = starts[owner] + 3 * (high * (widths[owner] + 1) + first)
            _subtract(band, flat[below : below + len(band)], flat[above : above + len(band)])
            row = canvas[tile.y + y].reshape(-1)[3 * tile.x : 3 * tile.x + wide]
            _average(row, band, lows, highs, spans, np.float32(high - low))
        if tile.width % 2:
            right = tile.x + tile.width
            canvas[tile.y : tile.y + tile.height, right] = canvas[tile.y : tile.y + tile.height, right - 1]
        if tile.height % 2:
            bottom, even = tile.y + tile.height, tile.width + tile.width % 2
            canvas[bottom, tile.x : tile.x + even] = canvas[bottom - 1, tile.x : tile.x + even]


@compiled
def _subtract(band: NDArray[np.uint32], below: NDArray[np.uint32], above: NDArray[np.uint32]) -> None:
    for x in range(len(band)):
        band[x] = below[x] - above[x]


@compiled
def _average(
    row: Floats, band: NDArray[np.uint32], lows: NDArray[np.uint32], highs: NDArray[np.uint32], spans: Floats, span: Any
) -> None:
    for x in range(len(row)):
        total = np.uint32(band[highs[x]] - band[lows[x]])  # numba widens differences to 64 bits
        row[x] = np.float32(total) / (span * spans[x]) - MIDDLE


@compiled
def _cut(crops: Floats, flat: NDArray[np.uint32], starts: Ints, widths: Ints, owners: Ints, boxes: Ints) -> None:
    side = crops.shape[1]
    wide = 3 * side
    lows, highs = np.empty(wide, np.uint32), np.empty(wide, np.uint32)
    spans = np.empty(wide, np.float32)
    for index in range(len(crops)):
        left, top, right, bottom = boxes[index]
        stride = 3 * (widths[owners[index]] + 1)
        origin = starts[owners[index]] + top * stride + 3 * left
        for x in range(side):
            low, high = _window(x, right - left, side)
            for channel in range(3):
                lows[3 * x + channel] = 3 * low + channel
                highs[3 * x + channel] = 3 * high + channel
                spans[3 * x + channel] = high - low
        length = 3 * (right - left + 1)
        for y in range(side):
            low, high = _window(y, bottom - top, side)
            above, below = origin + low * stride, origin + high * stride
            _average_of_four(
                crops[index, y].reshape(-1),
                flat[below : below + length],
                flat[above : above + length],
                lows,
                highs,
                spans,
                np.float32(high - low),
            )


@compiled
def _average_of_four(
    row: Floats,
    below: NDArray[np.uint32],
    above: NDArray[np.uint32],
    lows: NDArray[np.uint32],
    highs: NDArray[np.uint32],
    spans: Floats,
    span: Any,
) -> None:
    for x in range(len(row)):
        low, high = lows[x], highs[x]
        total = np.uint32((below[high] - below[low]) - (above[high] - above[low]))
        row[x] = np.float32(total) / (span * spans[x]) - MIDDLE


@compiled
def _window(index: int, size: int, count: int) -> tuple[int, int]:
    """Return where the window of output pixel `index` of `count` begins and ends among `size` input pixels."""
    return index * size // count, ((index + 1) * size + count - 1) // count
