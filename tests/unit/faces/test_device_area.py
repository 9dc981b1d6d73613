import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from faceindex.faces.device_area import DeviceSumTable, runs
from faceindex.faces.pyramid import CANVAS, pyramid_tiles

CPU = torch.device("cpu")
Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def pictures() -> list[Pixels]:
    """Of different sizes, two of them equal, not side by side."""
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (*size, 3), np.uint8) for size in [(97, 131), (60, 61), (97, 131), (900, 33)]]


def resized(picture: Pixels, height: int, width: int) -> NDArray[np.float32]:
    """Return what torch makes of a picture, relative to middle grey."""
    planes = torch.from_numpy(picture).permute(2, 0, 1)[None].double()
    area = torch.nn.functional.interpolate(planes, size=(height, width), mode="area")
    return np.asarray(area[0].permute(1, 2, 0).numpy() - 127.5, np.float32)


def test_levels_on_canvases_are_those_of_torch(pictures: list[Pixels]) -> None:
    tiles = pyramid_tiles(tuple((picture.shape[0], picture.shape[1]) for picture in pictures), (12, 20, 13.7, 12))
    count = int(tiles["canvas"].max()) + 1
    assert len({(tile["owner"], tile["level"]) for tile in tiles}) < len(tiles), "no level is cut into tiles"

    canvases = DeviceSumTable(pictures, CPU).canvases(tiles, 0, count, CANVAS).numpy()

    for tile in tiles:
        level = resized(pictures[tile["owner"]], tile["level_height"], tile["level_width"])
        part = level[tile["top"] : tile["top"] + tile["height"], tile["left"] : tile["left"] + tile["width"]]
        # An odd side is followed by its last column or row once more.
        part = np.pad(part, ((0, tile["height"] % 2), (0, tile["width"] % 2), (0, 0)), mode="edge")
        found = canvases[tile["canvas"], tile["y"] :, tile["x"] :][: part.shape[0], : part.shape[1]]
        np.testing.assert_allclose(found, part, rtol=0, atol=1e-4)


def test_canvases_may_be_drawn_in_parts(pictures: list[Pixels]) -> None:
    tiles = pyramid_tiles(tuple((picture.shape[0], picture.shape[1]) for picture in pictures), (12, 12, 12, 12))
    table = DeviceSumTable(pictures, CPU)
    count = int(tiles["canvas"].max()) + 2
    whole = table.canvases(tiles, 0, count, CANVAS)

    for number in range(count):
        part = table.canvases(tiles[tiles["canvas"] == number], number, 1, CANVAS)
        assert torch.equal(part[0], whole[number])
    assert not whole[-1].any(), "a canvas without tiles is not grey"


@pytest.mark.parametrize("side", [24, 48])
def test_crops_are_those_of_torch(pictures: list[Pixels], side: int) -> None:
    owners = np.array([0, 1, 2, 3, 3, 1, 0])
    boxes = np.array(
        [
            [0, 0, 131, 97],
            [3, 5, 4, 6],
            [90, 11, 131, 60],
            [0, 0, 33, 900],
            [7, 850, 33, 900],
            [0, 0, 61, 60],
            [5, 5, 53, 53],
        ]
    )

    crops = DeviceSumTable(pictures, CPU).crops(torch.from_numpy(owners), torch.from_numpy(boxes), side).numpy()

    for crop, owner, (x0, y0, x1, y1) in zip(crops, owners, boxes, strict=True):
        expected = resized(np.ascontiguousarray(pictures[owner][y0:y1, x0:x1]), side, side)
        np.testing.assert_allclose(crop, expected, rtol=0, atol=1e-4)


def test_sums_beyond_31_bits_are_right_all_the_same() -> None:
    """9 million white pixels: their sum is 2.3 thousand millions."""
    table = DeviceSumTable([np.full((3000, 3000, 3), 255, np.uint8)], CPU)

    crops = table.crops(torch.tensor([0]), torch.tensor([[900, 2800, 3000, 3000]]), 24)

    assert torch.equal(crops, torch.full((1, 24, 24, 3), 127.5))


def test_runs_are_counted_out() -> None:
    which, place = runs(torch.tensor([3, 0, 1, 2]), 6)

    assert which.tolist() == [0, 0, 0, 2, 3, 3]
    assert place.tolist() == [0, 1, 2, 0, 0, 1]
