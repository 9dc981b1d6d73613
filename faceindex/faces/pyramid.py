"""MTCNN's image pyramids, packed: all levels of many pictures on canvases of one size.

A network that is run on a few large pictures of one size is far quicker than on many small ones, and P-Net sees only
12 x 12 pixels at a time, so pictures that stand side by side do not disturb one another.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from faceindex.faces.area import SumTable

FACTOR = 0.709
"""From one level to the next; the paper's authors' and facenet-pytorch's value."""

CELL, STRIDE = 12, 2
"""Side of what one cell of P-Net sees, and the distance of its cells, in pixels."""

CANVAS = 512
CANVAS_CELLS = 251
"""Side of a canvas, and P-Net's cells along it: `cell_count(CANVAS)`."""

BLANK = -1.0
"""Value of the pixels of a canvas where no level is."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A level of a picture's pyramid, or a part of one, and where it stands."""

    owner: int
    """Position of the picture."""
    level: int
    scale: float
    """Pixels of the level for each pixel of the picture."""
    cell_x: int
    cell_y: int
    """Where the tile's first cell is among the level's cells."""
    pixels: NDArray[np.float32]
    """float32 (height, width, 3), 0 to 255; no side is longer than a canvas."""
    canvas: int = 0
    x: int = 0
    y: int = 0

    @property
    def cells(self) -> tuple[slice, slice]:
        """Rows and columns of its cells on the canvas."""
        top, left = self.y // STRIDE, self.x // STRIDE
        height, width = self.pixels.shape[:2]
        return slice(top, top + cell_count(height)), slice(left, left + cell_count(width))


def cell_count(side: int) -> int:
    """Return how many cells P-Net has along `side` pixels: a pooling by 2 between convolutions that take 2 and 4."""
    return max(0, (side - 1) // 2 - 4)


def pyramid_tiles(table: SumTable, min_face_px: int) -> Iterator[Tile]:
    """Yield the levels of each picture, cut into tiles where they are larger than a canvas.

    Neighbouring tiles overlap by the 10 pixels that make their cells continue one another.
    """
    for owner, (height, width) in enumerate(zip(table.heights.tolist(), table.widths.tolist(), strict=True)):
        scale = CELL / min_face_px
        shorter = min(height, width) * scale
        level = 0
        while shorter >= CELL:
            pixels = table.resized(owner, int(height * scale + 1), int(width * scale + 1))
            for cell_y in range(0, cell_count(pixels.shape[0]), CANVAS_CELLS):
                for cell_x in range(0, cell_count(pixels.shape[1]), CANVAS_CELLS):
                    y, x = cell_y * STRIDE, cell_x * STRIDE
                    yield Tile(owner, level, scale, cell_x, cell_y, pixels[y : y + CANVAS, x : x + CANVAS])
            scale, shorter, level = scale * FACTOR, shorter * FACTOR, level + 1


def packed_canvases(tiles: Iterator[Tile]) -> Iterator[tuple[NDArray[np.float32], list[Tile]]]:
    """Yield canvases, float32 (CANVAS, CANVAS, 3) of RGB from 0 to 255 or `BLANK`, and the tiles on each."""
    canvases: list[list[Tile]] = []
    for tile in _placed(tiles):
        if tile.canvas == len(canvases):
            canvases.append([])
        canvases[tile.canvas].append(tile)
    for members in canvases:
        canvas = np.full((CANVAS, CANVAS, 3), BLANK, np.float32)
        for tile in members:
            height, width = tile.pixels.shape[:2]
            canvas[tile.y : tile.y + height, tile.x : tile.x + width] = tile.pixels
        yield canvas, members


def _placed(tiles: Iterator[Tile]) -> Iterator[Tile]:
    """Yield the tiles with their places, on shelves, tallest first.

    All stand at even coordinates, so that P-Net pools the same pixels together as in a run of their own. Cells that
    see two tiles are never read, so tiles need no gap, but an odd side is followed by a blank pixel: the last pooling
    window, which would be cut short at the edge of a picture, takes that in and passes over it.
    """
    canvas = x = y = shelf = 0
    for tile in sorted(tiles, key=lambda tile: tile.pixels.shape[0], reverse=True):
        height, width = (side + side % 2 for side in tile.pixels.shape[:2])
        if x + width > CANVAS:
            x, y, shelf = 0, y + shelf, 0
        if y + height > CANVAS:
            canvas, x, y, shelf = canvas + 1, 0, 0, 0
        yield replace(tile, canvas=canvas, x=x, y=y)
        x, shelf = x + width, max(shelf, height)
