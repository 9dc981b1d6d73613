"""Area resampling on a GPU: `area.SumTable` in torch, with the same windows and the same integers.

Everything but the sizes of pictures and tiles stays on the device, and how many kernels are started does not depend
on how many tiles or crops there are.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from faceindex.faces.area import MIDDLE

GREY = float(MIDDLE)


class DeviceSumTable:
    """The running sums of several pictures on a device; see `area.SumTable`.

    Sums are kept modulo 2**32, as int32 because torch has few operations on unsigned integers: differences over
    windows of up to 8 megapixels are exact.

    Args:
        pictures: each uint8 (height, width, 3).
        device: where the sums are made and kept.
    """

    def __init__(self, pictures: Sequence[NDArray[np.uint8]], device: torch.device) -> None:
        self.device = device
        shapes = [picture.shape[:2] for picture in pictures]
        by_shape = sorted(range(len(pictures)), key=shapes.__getitem__)
        entries = np.array([(height + 1) * (width + 1) for height, width in shapes], np.int64)
        starts = np.empty(len(pictures), np.int64)
        starts[by_shape] = np.cumsum(entries[by_shape]) - entries[by_shape]
        self._sums = torch.zeros((int(entries.sum()), 3), dtype=torch.int32, device=device)
        pixels = on_device(np.concatenate([pictures[owner].reshape(-1) for owner in by_shape]), device)
        first = begun = 0
        while first < len(by_shape):
            (height, width), start = shapes[by_shape[first]], int(starts[by_shape[first]])
            last = first
            while last < len(by_shape) and shapes[by_shape[last]] == (height, width):
                last += 1
            count, size = last - first, (last - first) * height * width * 3
            # Planes of one channel, because running sums over rows are quick only where rows are contiguous.
            planes = pixels[begun : begun + size].view(count, height, width, 3).permute(0, 3, 1, 2)
            planes = planes.to(torch.int32, memory_format=torch.contiguous_format)
            sums = planes.cumsum(3, dtype=torch.int32).cumsum(2, dtype=torch.int32)
            table = self._sums[start : start + count * (height + 1) * (width + 1)]
            table.view(count, height + 1, width + 1, 3)[:, 1:, 1:] = sums.permute(0, 2, 3, 1)
            first, begun = last, begun + size
        facts = on_device(np.array([starts, *zip(*shapes, strict=True)], np.int64), device)
        self._starts, self.heights, self.widths = facts.unbind()

    def canvases(self, tiles: NDArray[Any], first: int, count: int, side: int) -> torch.Tensor:
        """Return canvases drawn as by `area.SumTable.draw`, float32 (count, side, side, 3) relative to middle grey.

        Args:
            tiles: those on the canvases.
            first: number of the first canvas.
            count: of canvases; those without a tile stay grey.
            side: of a canvas in pixels.
        """
        canvases = torch.zeros((count * side * side, 3), device=self.device)
        if len(tiles) == 0:
            return canvases.view(count, side, side, 3)
        # An odd width or height is followed by the last column or row once more.
        highs, wides = (tiles[name] + tiles[name] % 2 for name in ("height", "width"))
        fields = [tiles[name] for name in ("owner", "top", "left", "height", "width", "level_height", "level_width")]
        corners = ((tiles["canvas"] - first) * side + tiles["y"]) * side + tiles["x"]
        table = on_device(np.stack([*fields, corners, highs, wides]), self.device)
        owner, top, left, height, width, level_height, level_width, corner, high, wide = table.unbind()
        stride = self.widths[owner] + 1
        tile, y = runs(high, int(highs.sum()))
        upper, lower = windows(
            torch.minimum(y, height[tile] - 1) + top[tile], self.heights[owner][tile], level_height[tile]
        )
        origin = self._starts[owner][tile]
        above, below, tall = origin + upper * stride[tile], origin + lower * stride[tile], (lower - upper).float()
        targets = corner[tile] + y * side
        column_tile, x = runs(wide, int(wides.sum()))
        begin, end = windows(
            torch.minimum(x, width[column_tile] - 1) + left[column_tile],
            self.widths[owner][column_tile],
            level_width[column_tile],
        )
        span = (end - begin).float()
        row, x = runs(wide[tile], int((highs * wides).sum()))
        column = (wide.cumsum(0) - wide)[tile][row] + x
        totals = self._totals(above[row], below[row], begin[column], end[column])
        canvases[targets[row] + x] = totals.float() / (tall[row] * span[column])[:, None] - GREY
        return canvases.view(count, side, side, 3)

    def crops(self, owners: torch.Tensor, boxes: torch.Tensor, side: int) -> torch.Tensor:
        """Return crops resized to squares, float32 (n, side, side, 3) relative to middle grey.

        Args:
            owners: int64 (n,), position of the picture each crop is from.
            boxes: int64 (n, 4), x0, y0, x1, y1 in pixels, inside the picture and not empty; x1 and y1 are excluded.
            side: of the squares, in pixels.
        """
        index = torch.arange(side, device=self.device)
        left, top, right, bottom = (edge[:, None] for edge in boxes.unbind(1))
        x0, x1 = windows(index, right - left, side)
        y0, y1 = windows(index, bottom - top, side)
        stride = self.widths[owners][:, None] + 1
        origin = self._starts[owners][:, None] + top * stride + left
        above, below = (origin + y * stride for y in (y0, y1))
        totals = self._totals(above[:, :, None], below[:, :, None], x0[:, None], x1[:, None])
        counts = (y1 - y0).float()[:, :, None] * (x1 - x0).float()[:, None]
        return totals.float() / counts[..., None] - GREY

    def _totals(self, above: torch.Tensor, below: torch.Tensor, begin: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
        """Return sums over windows, int32 (..., 3), from where their rows and columns begin in the running sums."""
        sums = self._sums
        return sums[below + end] - sums[below + begin] - sums[above + end] + sums[above + begin]


def on_device(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """Return an array on a device, without waiting for the copy."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def runs(lengths: torch.Tensor, total: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return for the members of consecutive runs which run each is in, and its place there, int64 (total,).

    Args:
        lengths: int64 (n,), of the runs.
        total: their sum, which the device should not be asked for.
    """
    which = torch.repeat_interleave(lengths, output_size=total)
    starts = lengths.cumsum(0) - lengths
    return which, torch.arange(total, device=lengths.device) - starts[which]


def windows(index: torch.Tensor, size: torch.Tensor, count: torch.Tensor | int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where the windows of output pixels `index` of `count` begin and end among `size` input pixels."""
    return index * size // count, ((index + 1) * size + count - 1) // count
