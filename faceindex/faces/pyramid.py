"""MTCNN's image pyramids, packed: where all levels of many pictures stand on canvases of one size.

A network that is run on a few large pictures of one size is far quicker than on many small ones, and P-Net sees only
12 x 12 pixels at a time, so pictures that stand side by side do not disturb one another.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

FACTOR = 0.709
"""From one level to the next; the paper's authors' and facenet-pytorch's value."""

CELL, STRIDE = 12, 2
"""Side of what one cell of P-Net sees, and the distance of its cells, in pixels."""

CANVAS = 640
CANVAS_CELLS = 315
"""Side of a canvas, and P-Net's cells along it: `cell_count(CANVAS)`."""

TILE = np.dtype(
    [
        ("owner", np.int64),  # position of the picture
        ("level", np.int64),  # of its pyramid, 0 for the largest
        ("scale", np.float64),  # pixels of the level for each pixel of the picture
        ("level_height", np.int64),
        ("level_width", np.int64),
        ("top", np.int64),  # the part of the level that the tile shows, in its pixels
        ("left", np.int64),
        ("height", np.int64),
        ("width", np.int64),
        ("canvas", np.int64),  # where the tile stands
        ("y", np.int64),
        ("x", np.int64),
    ]
)
"""A level of a picture's pyramid, or a part of one that is larger than a canvas."""


def cell_count(side: int) -> int:
    """Return how many cells P-Net has along `side` pixels: a pooling by 2 between convolutions that take 2 and 4."""
    return max(0, (side - 1) // 2 - 4)


@lru_cache(maxsize=256)  # archives hold few sizes of photos
def pyramid_tiles(shapes: tuple[tuple[int, int], ...], smallest: tuple[float, ...]) -> NDArray[Any]:
    """Return all levels of all pictures as `TILE` records with their places, in order of canvas; not to be changed.

    All stand at even coordinates, so that P-Net pools the same pixels together as in a run of their own. Cells that
    see two tiles are never read, so tiles need no gap; an odd side is followed by one more column or row, for the last
    pooling window. Parts of one level overlap by the 10 pixels that make their cells continue one another.

    Args:
        shapes: height and width of each picture.
        smallest: side of the smallest face looked for in each picture, in its pixels.
    """
    rows = [
        (owner, level, scale, height, width, top, left, min(CANVAS, height - top), min(CANVAS, width - left), 0, 0, 0)
        for owner, (shape, face) in enumerate(zip(shapes, smallest, strict=True))
        for level, scale, height, width in _levels(*shape, face)
        for top in range(0, STRIDE * cell_count(height), STRIDE * CANVAS_CELLS)
        for left in range(0, STRIDE * cell_count(width), STRIDE * CANVAS_CELLS)
    ]
    tiles = np.array(rows, TILE)
    tiles = tiles[np.argsort(-tiles["height"], kind="stable")]
    _place(tiles)
    tiles = tiles[np.argsort(tiles["canvas"], kind="stable")]
    tiles.flags.writeable = False
    return tiles


def _levels(height: int, width: int, smallest: float) -> list[tuple[int, float, int, int]]:
    """Return the levels of a pyramid: number, scale, height and width."""
    levels: list[tuple[int, float, int, int]] = []
    scale = CELL / smallest
    shorter = min(height, width) * scale
    while shorter >= CELL:
        levels.append((len(levels), scale, int(height * scale + 1), int(width * scale + 1)))
        scale, shorter = scale * FACTOR, shorter * FACTOR
    return levels


def _place(tiles: NDArray[Any]) -> None:
    """Put tiles, tallest first, each on the first shelf with room, on a new shelf on the first canvas with room else.

    First fit by decreasing height (Coffman et al., SIAM J. Comput. 9(4), 1980).
    """
    shelves: list[tuple[int, int]] = []  # canvas and top
    shelf_ends: list[int] = []
    canvas_ends: list[int] = []
    for tile in tiles:
        height, width = (int(side + side % 2) for side in (tile["height"], tile["width"]))
        shelf = next((i for i, end in enumerate(shelf_ends) if end + width <= CANVAS), len(shelves))
        if shelf == len(shelves):
            canvas = next((i for i, end in enumerate(canvas_ends) if end + height <= CANVAS), len(canvas_ends))
            if canvas == len(canvas_ends):
                canvas_ends.append(0)
            shelves.append((canvas, canvas_ends[canvas]))
            shelf_ends.append(0)
            canvas_ends[canvas] += height
        tile["canvas"], tile["y"] = shelves[shelf]
        tile["x"] = shelf_ends[shelf]
        shelf_ends[shelf] += width
