import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from faceindex.faces.area import SumTable


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def by_torch(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    """The oracle: torch's area interpolation of the whole picture."""
    planes = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32))
    resized = torch.nn.functional.interpolate(planes, size=(height, width), mode="area")
    return np.asarray(resized[0].permute(1, 2, 0).numpy())


@pytest.mark.parametrize("size", [(37, 53), (12, 12), (24, 24), (1, 1), (100, 9), (74, 53), (38, 54), (1, 200)])
def test_pictures_are_resized_as_torch_does_it(size: tuple[int, int]) -> None:
    pixels = noise(37, 53)

    resized = SumTable([pixels]).resized(0, *size)

    np.testing.assert_allclose(resized, by_torch(pixels, *size), rtol=0, atol=1e-4)


def test_each_picture_of_a_table_is_resized_by_itself() -> None:
    pictures = [noise(20, 31, 1), noise(1, 1, 2), noise(44, 13, 3)]

    table = SumTable(pictures)

    for owner, picture in enumerate(pictures):
        np.testing.assert_array_equal(table.resized(owner, 9, 7), SumTable([picture]).resized(0, 9, 7))


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

    assert np.all(table.resized(0, 10, 10) == 255)
    corner = np.array([[4000, 4100, 4100, 4200]])
    assert np.all(table.crops(np.array([0]), corner, 48) == 255)


def test_pictures_may_be_views_in_any_memory_order() -> None:
    mirrored = noise(16, 18)[:, ::-1].transpose(1, 0, 2)

    resized = SumTable([mirrored]).resized(0, 5, 6)

    np.testing.assert_array_equal(resized, SumTable([mirrored.copy()]).resized(0, 5, 6))
