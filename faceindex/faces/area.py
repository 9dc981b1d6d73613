"""Area resampling, as MTCNN was trained with: every output pixel is the mean of the input pixels its window touches.

The windows are those of adaptive average pooling (torch's `interpolate(mode="area")`): from floor(i * n / m) to
ceil((i + 1) * n / m). A table of running sums makes each window four look-ups, whatever its size, and integers make
it exact; so the levels of a pyramid and thousands of crops come from one table a picture.
"""

import numpy as np
from numpy.typing import NDArray


def running_sums(pixels: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return uint32 (height + 1, width + 1, 3): the sum of all pixels above and to the left of each corner.

    Sums are kept modulo 2**32; differences over windows up to 16 megapixels are exact all the same.
    """
    height, width = pixels.shape[:2]
    sums = np.zeros((height + 1, width + 1, 3), np.uint32)
    np.cumsum(pixels, axis=0, dtype=np.uint32, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    return sums


def windows(size: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the windows of `count` output pixels over each `size` input pixels begin and end, (n, count)."""
    index = np.arange(count)
    starts = index * size[:, None] // count
    ends = -(-(index + 1) * size[:, None] // count)
    return starts, ends


def resize(sums: NDArray[np.uint32], height: int, width: int) -> NDArray[np.float32]:
    """Return the whole picture at another size, float32 (height, width, 3), from its running sums."""
    rows, columns = sums.shape[0] - 1, sums.shape[1] - 1
    (y0,), (y1,) = windows(np.array([rows]), height)
    (x0,), (x1,) = windows(np.array([columns]), width)
    bands = sums[y1] - sums[y0]
    totals = bands.take(x1, axis=1) - bands.take(x0, axis=1)
    counts = ((y1 - y0)[:, None] * (x1 - x0)).astype(np.float32)
    return np.asarray(totals / counts[..., None], dtype=np.float32)


class SumTable:
    """The running sums of many pictures in one flat array, so that crops of all of them are cut in one go."""

    def __init__(self, tables: list[NDArray[np.uint32]]) -> None:
        self._flat = np.concatenate([table.reshape(-1, 3) for table in tables])
        self._starts = np.cumsum([0, *(table.shape[0] * table.shape[1] for table in tables)])[:-1]
        self._widths = np.array([table.shape[1] for table in tables])

    def crops(self, owners: NDArray[np.int64], boxes: NDArray[np.int64], side: int) -> NDArray[np.float32]:
        """Return crops resized to squares, float32 (n, side, side, 3).

        Args:
            owners: int64 (n,), which picture each box is in.
            boxes: int64 (n, 4), x0, y0, x1, y1 inside the picture, not empty.
            side: of the squares, in pixels.
        """
        x_starts, x_ends = windows(boxes[:, 2] - boxes[:, 0], side)
        y_starts, y_ends = windows(boxes[:, 3] - boxes[:, 1], side)
        stride = self._widths[owners][:, None]
        origin = self._starts[owners][:, None] + boxes[:, 1:2] * stride + boxes[:, 0:1]
        top, bottom = origin + y_starts * stride, origin + y_ends * stride
        totals = self._corner(bottom, x_ends)
        totals -= self._corner(bottom, x_starts)
        totals -= self._corner(top, x_ends)
        totals += self._corner(top, x_starts)
        counts = (y_ends - y_starts)[:, :, None] * (x_ends - x_starts)[:, None, :]
        return np.asarray(totals / counts.astype(np.float32)[..., None], dtype=np.float32)

    def _corner(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.uint32]:
        return self._flat.take(rows[:, :, None] + columns[:, None, :], axis=0)
