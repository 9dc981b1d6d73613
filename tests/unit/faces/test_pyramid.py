import numpy as np
import pytest
import torch

from faceindex.faces.area import SumTable
from faceindex.faces.pyramid import BLANK, CANVAS, CANVAS_CELLS, cell_count, packed_canvases, pyramid_tiles
from tests.unit.faces.test_area import noise


def level_sizes(height: int, width: int, min_face_px: int) -> list[tuple[int, int]]:
    """Return height and width of each level of a picture as facenet-pytorch's `detect_face` counts them."""
    scale = 12.0 / min_face_px
    shorter = min(height, width) * scale
    sizes = []
    while shorter >= 12:
        sizes.append((int(height * scale + 1), int(width * scale + 1)))
        scale, shorter = scale * 0.709, shorter * 0.709
    return sizes


def test_the_cells_are_as_many_as_the_network_has() -> None:
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(1, 1, 3),
        torch.nn.MaxPool2d(2, 2, ceil_mode=True),
        torch.nn.Conv2d(1, 1, 3),
        torch.nn.Conv2d(1, 1, 3),
    )

    for side in range(11, 80):
        assert layers(torch.zeros(1, 1, side, side)).shape[-1] == cell_count(side)
    assert cell_count(CANVAS) == CANVAS_CELLS
    assert [cell_count(side) for side in (0, 1, 9, 10, 11, 12, 13)] == [0, 0, 0, 0, 1, 1, 2]


@pytest.mark.parametrize("shape", [(250, 250), (301, 97), (20, 20), (21, 3000), (1300, 800)])
def test_levels_have_the_sizes_and_pixels_of_facenet_pytorch(shape: tuple[int, int]) -> None:
    table = SumTable([noise(*shape)])

    tiles = list(pyramid_tiles(table, 20))

    for level, (height, width) in enumerate(level_sizes(*shape, 20)):
        pixels = table.resized(0, height, width)
        for tile in (tile for tile in tiles if tile.level == level):
            y, x = 2 * tile.cell_y, 2 * tile.cell_x
            np.testing.assert_array_equal(tile.pixels, pixels[y : y + CANVAS, x : x + CANVAS])
    assert {tile.level for tile in tiles} == set(range(len(level_sizes(*shape, 20))))


@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (19, 19), (19, 3000)])
def test_a_picture_smaller_than_the_smallest_face_has_no_level(shape: tuple[int, int]) -> None:
    assert list(pyramid_tiles(SumTable([noise(*shape)]), 20)) == []


def test_canvases_hold_the_tiles_at_even_places_and_are_blank_elsewhere() -> None:
    table = SumTable([noise(201, 333, 1), noise(97, 98, 2), noise(1100, 40, 3)])

    for canvas, tiles in packed_canvases(pyramid_tiles(table, 13)):
        blank = np.ones((CANVAS, CANVAS), bool)
        for tile in tiles:
            assert (tile.x % 2, tile.y % 2) == (0, 0)
            height, width = tile.pixels.shape[:2]
            place = slice(tile.y, tile.y + height), slice(tile.x, tile.x + width)
            np.testing.assert_array_equal(canvas[place], tile.pixels)
            blank[place] = False
            assert np.all(blank[tile.y : tile.y + height, tile.x + width : tile.x + width + width % 2])
        assert np.all(canvas[blank] == BLANK)
        assert canvas.dtype == np.float32


def test_nothing_needs_no_canvas() -> None:
    assert list(packed_canvases(iter(()))) == []
