"""From faces to unit vectors."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from faceindex.arrays import l2_normalize, require
from faceindex.faces.networks import Network
from faceindex.types import Detections, ModelId

if TYPE_CHECKING:
    import torch

BATCH = 32
"""Chips that go through the network together; more gains nothing on a CPU."""

Chips = NDArray[np.uint8]


class Embedder(Protocol):
    """Turns faces into unit vectors. Used by one thread at a time."""

    @property
    def model(self) -> ModelId:
        """Which embeddings these are; only equal ones may be compared."""

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""

    def chips(self, pixels: NDArray[np.uint8], detections: Detections) -> Chips:
        """Cut the faces of a photo as the network wants them, uint8 (n, size, size, 3)."""

    def embed(self, chips: Chips) -> NDArray[np.float32]:
        """Return a unit vector for each chip, float32 (n, dimension); chips of any photos may come together."""


@dataclass(frozen=True, slots=True)
class Family:
    """What embedders of one architecture have in common."""

    size: int
    """Side of a chip in pixels."""
    dimension: int
    cut: Callable[[NDArray[np.uint8], Detections], Chips]
    """Cuts the faces of a photo, uint8 (n, size, size, 3)."""
    scale: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    """Brings pixels of 0 to 255 to what the network takes."""
    build: Callable[[Path], "torch.nn.Module"]
    """Makes the network from a file of weights: float32 (n, 3, size, size) in, (n, dimension) out."""


@dataclass(frozen=True, slots=True)
class NetworkEmbedder:
    """An embedder made of a network and its family's way of cutting and scaling faces."""

    model: ModelId
    family: Family
    network: Network
    mirror: bool
    """Add the embedding of the mirrored face before normalising."""

    @property
    def dimension(self) -> int:
        return self.family.dimension

    def chips(self, pixels: NDArray[np.uint8], detections: Detections) -> Chips:
        """Cut the faces of a photo, uint8 (n, size, size, 3)."""
        return self.family.cut(pixels, detections)

    def embed(self, chips: Chips) -> NDArray[np.float32]:
        """Return a unit vector for each chip, float32 (n, dimension)."""
        require("chips", chips, np.uint8, (None, self.family.size, self.family.size, 3))
        vectors = [self._batch(chips[start : start + BATCH]) for start in range(0, len(chips), BATCH)]
        return l2_normalize(np.concatenate(vectors)) if vectors else np.empty((0, self.dimension), np.float32)

    def _batch(self, chips: Chips) -> NDArray[np.float32]:
        x = self.family.scale(np.ascontiguousarray(chips.transpose(0, 3, 1, 2), dtype=np.float32))
        [vectors] = self.network(x)
        if self.mirror:
            [mirrored] = self.network(np.ascontiguousarray(x[..., ::-1]))
            vectors = vectors + mirrored
        return vectors
