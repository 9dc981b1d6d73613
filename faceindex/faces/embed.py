"""From faces to unit vectors."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from faceindex.arrays import l2_normalize, require
from faceindex.faces.chips import Chips, Cutter
from faceindex.faces.networks import Network
from faceindex.types import ModelId

if TYPE_CHECKING:
    import torch

BATCH = 16
"""Chips that go through the network together; more gains nothing on a CPU. Whatever their number, a chip's vector has
the same bytes; OpenVINO prepares itself once for each number, which takes a few milliseconds, so no batch is filled up.
"""


class Embedder(Protocol):
    """Turns faces into unit vectors. Used by one thread at a time."""

    @property
    def model(self) -> ModelId:
        """Which embeddings these are; only equal ones may be compared."""

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""

    @property
    def cutter(self) -> Cutter:
        """Cuts faces out of photos as the network wants them."""

    def embed(self, chips: Chips) -> NDArray[np.float32]:
        """Return a unit vector for each chip, float32 (n, dimension); chips of any photos may come together."""


@dataclass(frozen=True, slots=True)
class Family:
    """What embedders of one architecture have in common."""

    dimension: int
    cutter: Cutter
    scale: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    """Brings pixels of 0 to 255 to what the network takes."""
    build: Callable[[Path], "torch.nn.Module"] | None = None
    """Makes the network from a file of weights: float32 (n, 3, size, size) in, (n, dimension) out. None when the file
    is an ONNX network itself."""


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

    @property
    def cutter(self) -> Cutter:
        return self.family.cutter

    def embed(self, chips: Chips) -> NDArray[np.float32]:
        """Return a unit vector for each chip, float32 (n, dimension)."""
        size = self.cutter.size
        require("chips", chips, np.uint8, (None, size, size, 3))
        vectors = [self._batch(chips[start : start + BATCH]) for start in range(0, len(chips), BATCH)]
        return l2_normalize(np.concatenate(vectors)) if vectors else np.empty((0, self.dimension), np.float32)

    def _batch(self, chips: Chips) -> NDArray[np.float32]:
        x = self.family.scale(np.ascontiguousarray(chips.transpose(0, 3, 1, 2), dtype=np.float32))
        [vectors] = self.network(x)
        if self.mirror:
            [mirrored] = self.network(np.ascontiguousarray(x[..., ::-1]))
            vectors = vectors + mirrored
        return vectors
