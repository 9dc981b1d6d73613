import numpy as np
import pytest
import torch

from faceindex.faces.pyramid import CANVAS, CANVAS_CELLS, TILE, cell_count, pyramid_tiles


def level_sizes(height: int, width: int, smallest: float) -> list[tuple[int, int]]:
    """Return height and width of each level of a picture as facenet-pytorch's `detect_face` counts them."""
    scale = 12.0 / smallest
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
@pytest.mark.parametrize("smallest", [20, 12, 17.5])
def test_levels_have_the_sizes_of_facenet_pytorch(shape: tuple[int, int], smallest: float) -> None:
    expected = level_sizes(*shape, smallest)

    tiles = pyramid_tiles((shape,), (smallest,))

    assert set(tiles["level"].tolist()) == set(range(len(expected)))
    for tile in tiles:
        assert (tile["level_height"], tile["level_width"]) == expected[tile["level"]]
        assert tile["scale"] == pytest.approx(12 / smallest * 0.709 ** tile["level"], rel=1e-12)


def test_every_picture_has_its_own_smallest_face() -> None:
    tiles = pyramid_tiles(((300, 200), (300, 200)), (20, 100))

    for owner, smallest in enumerate((20, 100)):
        sizes = {(tile["level_height"], tile["level_width"]) for tile in tiles if tile["owner"] == owner}
        assert sizes == set(level_sizes(300, 200, smallest))


@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (19, 19), (19, 3000)])
def test_a_picture_smaller_than_the_smallest_face_has_no_level(shape: tuple[int, int]) -> None:
    tiles = pyramid_tiles((shape,), (20,))

    assert len(tiles) == 0
    assert tiles.dtype == TILE


def test_no_pictures_have_no_tiles() -> None:
    assert len(pyramid_tiles((), ())) == 0


def test_tiles_come_in_order_of_canvas_and_leave_no_canvas_out() -> None:
    canvases = pyramid_tiles(((1300, 1100), (900, 700), (64, 64)), (20, 20, 20))["canvas"]

    assert np.all(np.diff(canvases) >= 0)
    assert set(canvases.tolist()) == set(range(canvases.max() + 1))


def test_tiles_are_shared_by_all_callers_and_cannot_be_changed() -> None:
    tiles = pyramid_tiles(((250, 250),), (20,))

    assert pyramid_tiles(((250, 250),), (20,)) is tiles
    with pytest.raises(ValueError, match="read-only"):
        tiles["x"] = 0


def test_small_levels_share_canvases() -> None:
    """By their area the levels of these photos fill 5.6 canvases."""
    tiles = pyramid_tiles(((250, 250),) * 32, (20,) * 32)

    area = sum(height * width for height, width in level_sizes(250, 250, 20)) * 32
    assert len(tiles) == 32 * len(level_sizes(250, 250, 20))
    assert tiles["canvas"].max() + 1 <= 1.3 * area / CANVAS**2
