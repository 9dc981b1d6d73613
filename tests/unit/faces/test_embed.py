import numpy as np
import pytest
from numpy.typing import NDArray

from faceindex.errors import ShapeError
from faceindex.faces.chips import Boxed
from faceindex.faces.embed import BATCH, Family, NetworkEmbedder
from faceindex.types import ModelId

SIZE, DIMENSION = 6, 4
PROJECTION = np.random.default_rng(3).normal(size=(3 * SIZE * SIZE, DIMENSION)).astype(np.float32)


class Projection:
    """A network of one matrix, small enough to do by hand; notes how many chips come at a time."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def __call__(self, x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        assert x.dtype == np.float32
        assert x.shape[1:] == (3, SIZE, SIZE)
        assert x.flags.c_contiguous
        self.counts.append(len(x))
        return [x.reshape(len(x), -1) @ PROJECTION]


def halve(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    return pixels / np.float32(2)


def make_embedder(*, mirror: bool = False) -> NetworkEmbedder:
    family = Family(DIMENSION, Boxed(SIZE), halve)
    return NetworkEmbedder(ModelId("projection@0"), family, Projection(), mirror)


def make_chips(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def by_hand(chip: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Red first, then green, then blue, each row by row, halved, times the matrix."""
    planes = np.concatenate([chip[:, :, channel].reshape(-1) for channel in range(3)]) / 2
    return planes @ PROJECTION.astype(np.float64)


def unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("count", [1, 7, BATCH, BATCH + 1, 2 * BATCH + 5])
def test_each_chip_gives_its_own_unit_vector_in_order(count: int) -> None:
    chips = make_chips(count)

    vectors = make_embedder().embed(chips)

    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, [unit(by_hand(chip)) for chip in chips], atol=1e-5)


def test_the_mirrored_average_adds_before_it_normalises() -> None:
    chips = make_chips(9)

    vectors = make_embedder(mirror=True).embed(chips)

    expected = [unit(by_hand(chip) + by_hand(chip[:, ::-1])) for chip in chips]
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    np.testing.assert_allclose(vectors, make_embedder(mirror=True).embed(chips[:, :, ::-1]), atol=1e-6)


def test_chips_go_through_the_network_in_bounded_batches() -> None:
    embedder = make_embedder(mirror=True)

    embedder.embed(make_chips(2 * BATCH + 5))

    assert isinstance(embedder.network, Projection)
    assert embedder.network.counts == [BATCH, BATCH, BATCH, BATCH, 5, 5]


def test_no_chips_give_no_vectors() -> None:
    assert make_embedder().embed(make_chips(0)).shape == (0, DIMENSION)
    assert make_embedder().embed(make_chips(0)).dtype == np.float32


@pytest.mark.parametrize(
    "chips",
    [
        np.zeros((2, SIZE, SIZE + 1, 3), np.uint8),
        np.zeros((2, 3, SIZE, SIZE), np.uint8),
        np.zeros((SIZE, SIZE, 3), np.uint8),
        np.zeros((2, SIZE, SIZE, 3), np.float32),
    ],
)
def test_chips_of_another_shape_are_refused(chips: NDArray[np.uint8]) -> None:
    with pytest.raises(ShapeError, match="chips must be uint8"):
        make_embedder().embed(chips)


def test_an_embedder_cuts_and_counts_as_its_family_does() -> None:
    embedder = make_embedder()

    assert embedder.cutter == Boxed(SIZE)
    assert embedder.dimension == DIMENSION
