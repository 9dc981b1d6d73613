"""Area resampling, as MTCNN was trained with: every output pixel is the mean of the input pixels its window touches.

The windows are those of adaptive average pooling (torch's `interpolate(mode="area")`): output pixel i of m covers the
input pixels from floor(i n / m) to ceil((i + 1) n / m). A table of running sums (Crow, "Summed-area tables for texture
mapping", SIGGRAPH 1984) makes the sum of each window four look-ups, whatever its size, and integers make it exact.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

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
        ends = np.cumsum((self.heights + 1) * (self.widths + 1))
        self._starts = np.concatenate([[0], ends[:-1]])
        self._flat = np.empty((ends[-1], 3), np.uint32)
        for owner, picture in enumerate(pictures):
            _fill(self._table(owner), picture)

    def resized(self, owner: int, height: int, width: int) -> NDArray[np.float32]:
        """Return one whole picture at another size, float32 (height, width, 3)."""
        table = self._table(owner)
        (y0,), (y1,) = _windows(self.heights[owner : owner + 1], height)
        (x0,), (x1,) = _windows(self.widths[owner : owner + 1], width)
        bands = table.take(y1, axis=0)
        bands -= table.take(y0, axis=0)
        totals = bands.take(x1, axis=1)
        totals -= bands.take(x0, axis=1)
        return _means(totals, y1 - y0, x1 - x0)

    def crops(self, owners: Ints, boxes: Ints, side: int) -> NDArray[np.float32]:
        """Return crops resized to squares, float32 (n, side, side, 3).

        Args:
            owners: int64 (n,), which picture each box is in.
            boxes: int64 (n, 4), x0, y0, x1, y1 in pixels, inside the picture and not empty; x1 and y1 are excluded.
            side: of the squares, in pixels.
        """
        x0, x1 = _windows(boxes[:, 2] - boxes[:, 0], side)
        y0, y1 = _windows(boxes[:, 3] - boxes[:, 1], side)
        stride = self.widths[owners, None] + 1
        origins = self._starts[owners, None] + boxes[:, 1:2] * stride + boxes[:, 0:1]
        top, bottom = origins + y0 * stride, origins + y1 * stride
        totals = self._corners(bottom, x1)
        totals -= self._corners(bottom, x0)
        totals -= self._corners(top, x1)
        totals += self._corners(top, x0)
        return _means(totals, y1 - y0, x1 - x0)

    def _table(self, owner: int) -> NDArray[np.uint32]:
        """Return the table of one picture, a view (height + 1, width + 1, 3)."""
        height, width = self.heights[owner] + 1, self.widths[owner] + 1
        start = self._starts[owner]
        return self._flat[start : start + height * width].reshape(height, width, 3)

    def _corners(self, rows: Ints, columns: Ints) -> NDArray[np.uint32]:
        return self._flat.take(rows[:, :, None] + columns[:, None, :], axis=0)


def _fill(table: NDArray[np.uint32], picture: NDArray[np.uint8]) -> None:
    table[0] = 0
    table[:, 0] = 0
    np.cumsum(picture, axis=1, dtype=np.uint32, out=table[1:, 1:])
    # Row by row, because summing down the columns of a large array takes three times as long.
    rows = list(table.reshape(len(table), -1))
    for above, below in pairwise(rows):
        np.add(above, below, out=below)


def _windows(sizes: Ints, count: int) -> tuple[Ints, Ints]:
    """Return where the windows of `count` output pixels over each of `sizes` input pixels begin and end, (n, count)."""
    index = np.arange(count)
    starts = index * sizes[:, None] // count
    ends = -(-(index + 1) * sizes[:, None] // count)
    return starts, ends


def _means(totals: NDArray[np.uint32], heights: Ints, widths: Ints) -> NDArray[np.float32]:
    """Return totals (..., rows, columns, 3) divided by the sizes of their windows (..., rows) and (..., columns)."""
    counts = heights.astype(np.float32)[..., :, None] * widths.astype(np.float32)[..., None, :]
    means: NDArray[np.float32] = np.divide(totals, counts[..., None], dtype=np.float32, casting="same_kind")
    return means
