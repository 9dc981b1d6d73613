"""A small torch network for tests of the ways networks are run."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

SHAPE = (-1, 3, 10, 12)

Floats = NDArray[np.float32]


class Small(torch.nn.Module):
    """A network with two outputs."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.convolution = torch.nn.Conv2d(3, 5, 3)
        self.projection = torch.nn.Linear(5, 700)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = torch.relu(self.convolution(x))
        return maps, self.projection(maps.mean((2, 3)))


class Builder:
    """Makes the network and counts how often it was asked to."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.count = 0

    def __call__(self) -> torch.nn.Module:
        self.count += 1
        return Small(self.seed)


def batch(count: int = 4, seed: int = 0) -> Floats:
    """Return an input of `SHAPE`."""
    return np.random.default_rng(seed).random((count, *SHAPE[1:]), np.float32)


def by_torch(x: Floats, seed: int = 0) -> list[Floats]:
    """The oracle: what the torch module itself returns."""
    with torch.inference_mode():
        return [output.numpy() for output in Small(seed)(torch.from_numpy(x))]


def assert_close(found: Sequence[Floats], expected: Sequence[Floats], atol: float = 1e-5) -> None:
    """Assert equal outputs but for the order of float32 sums."""
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)
