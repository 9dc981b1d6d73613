import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from faceindex.faces.area import MIDDLE, SumTable
from faceindex.faces.pyramid import TILE


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def by_torch(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    """The oracle: torch's area interpolation of the whole picture, relative to middle grey."""
    planes = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32))
    resized = torch.nn.functional.interpolate(planes, size=(height, width), mode="area")
    return np.asarray(resized[0].permute(1, 2, 0).numpy()) - MIDDLE


def tiles(*rows: tuple[int, tuple[int, int], tuple[int, int, int, int], tuple[int, int]]) -> NDArray[np.void]:
    """Return tile records of owner, size of the level, part (top, left, height, width) and place (y, x)."""
    return np.array([(owner, 0, 1.0, *level, *part, 0, *place) for owner, level, part, place in rows], TILE)


def resized(table: SumTable, owner: int, height: int, width: int) -> NDArray[np.float32]:
    """Return a whole picture at another size."""
    canvas = np.full((height + height % 2, width + width % 2, 3), np.nan, np.float32)
    table.draw(canvas, tiles((owner, (height, width), (0, 0, height, width), (0, 0))))
    return canvas[:height, :width]


@pytest.mark.parametrize("size", [(37, 53), (12, 12), (24, 24), (1, 1), (100, 9), (74, 53), (38, 54), (1, 200)])
def test_pictures_are_resized_as_torch_does_it(size: tuple[int, int]) -> None:
    pixels = noise(37, 53)

    np.testing.assert_allclose(resized(SumTable([pixels]), 0, *size), by_torch(pixels, *size), rtol=0, atol=1e-4)


def test_each_picture_of_a_table_is_resized_by_itself() -> None:
    pictures = [noise(20, 31, 1), noise(1, 1, 2), noise(44, 13, 3)]

    table = SumTable(pictures)

    assert table.heights.tolist() == [20, 1, 44]
    assert table.widths.tolist() == [31, 1, 13]
    for owner, picture in enumerate(pictures):
        np.testing.assert_array_equal(resized(table, owner, 9, 7), resized(SumTable([picture]), 0, 9, 7))


def test_parts_go_to_their_places_and_the_rest_of_the_canvas_stays() -> None:
    pictures = [noise(90, 70, 1), noise(33, 41, 2)]
    records = tiles(
        (0, (60, 51), (10, 4, 20, 30), (2, 4)),
        (1, (33, 41), (0, 0, 8, 41), (24, 0)),  # followed by its last column
        (0, (60, 51), (47, 22, 13, 10), (40, 44)),  # followed by its last row
        (1, (120, 7), (0, 0, 5, 7), (0, 60)),  # followed by both
    )
    canvas = np.full((70, 80, 3), np.nan, np.float32)

    SumTable(pictures).draw(canvas, records)

    expected = np.full_like(canvas, np.nan)
    for tile in records:
        level = by_torch(pictures[tile["owner"]], tile["level_height"], tile["level_width"])
        part = level[tile["top"] :, tile["left"] :][: tile["height"], : tile["width"]]
        part = np.pad(part, [(0, tile["height"] % 2), (0, tile["width"] % 2), (0, 0)], mode="edge")
        expected[tile["y"] :, tile["x"] :][: part.shape[0], : part.shape[1]] = part
    np.testing.assert_allclose(canvas, expected, rtol=0, atol=1e-4)


def test_no_tiles_leave_the_canvas_as_it_is() -> None:
    canvas = np.full((6, 8, 3), 7, np.float32)

    SumTable([noise(5, 5)]).draw(canvas, np.empty(0, TILE))

    assert np.all(canvas == 7)


def test_tiles_that_cannot_be_written_are_as_good() -> None:
    records = tiles((0, (8, 8), (0, 0, 8, 8), (0, 0)))
    records.flags.writeable = False
    canvas = np.zeros((8, 8, 3), np.float32)
    pixels = noise(8, 8)

    SumTable([pixels]).draw(canvas, records)

    np.testing.assert_array_equal(canvas, pixels - MIDDLE)


def test_crops_are_what_resizing_the_part_alone_gives() -> None:
    pictures = [noise(30, 40, 1), noise(50, 20, 2)]
    owners = np.array([0, 1, 1, 0, 1])
    boxes = np.array([[0, 0, 40, 30], [3, 7, 20, 50], [19, 49, 20, 50], [5, 6, 29, 30], [0, 0, 7, 3]])

    crops = SumTable(pictures).crops(owners, boxes, 24)

    for crop, owner, (x0, y0, x1, y1) in zip(crops, owners, boxes, strict=True):
        np.testing.assert_allclose(crop, by_torch(pictures[owner][y0:y1, x0:x1], 24, 24), rtol=0, atol=1e-4)


def test_no_boxes_give_no_crops() -> None:
    crops = SumTable([noise(5, 5)]).crops(np.empty(0, np.int64), np.empty((0, 4), np.int64), 24)

    assert crops.shape == (0, 24, 24, 3)


def test_sums_past_32_bits_are_exact() -> None:
    """A white picture of 17 megapixels adds up to more than 2**32 in every channel."""
    white = np.full((4200, 4100, 3), 255, np.uint8)
    assert white[..., 0].size * 255 > 2**32

    table = SumTable([white])

    assert np.all(resized(table, 0, 10, 10) == 255 - MIDDLE)
    np.testing.assert_allclose(resized(table, 0, 1, 10), 255 - MIDDLE, rtol=0, atol=1e-4)
    corner = np.array([[4000, 4100, 4100, 4200]])
    assert np.all(table.crops(np.array([0]), corner, 48) == 255 - MIDDLE)


@pytest.mark.parametrize("read_only", [False, True])
def test_pictures_may_be_views_in_any_memory_order(read_only: bool) -> None:
    mirrored = noise(16, 18)[:, ::-1].transpose(1, 0, 2)
    mirrored.flags.writeable = not read_only

    found = resized(SumTable([mirrored]), 0, 5, 6)

    np.testing.assert_array_equal(found, resized(SumTable([mirrored.copy()]), 0, 5, 6))
