"""Embedding on a GPU: chips go there as bytes; scaling, mirroring and the network are one piece of work."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from faceindex.arrays import l2_normalize, require
from faceindex.faces.chips import Chips, Cutter
from faceindex.faces.embed import Family
from faceindex.faces.networks import Device
from faceindex.faces.torch_network import TorchNetwork
from faceindex.types import ModelId

EXAMPLE_CHIPS = 16


class ChipNetwork(nn.Module):
    """A network for chips as they are cut: uint8 (n, size, size, 3) in, vectors (n, d) out.

    Args:
        network: of a family's `build`.
        family: whose `scale` must be a multiplication and an addition for each channel.
        mirror: add the vector of the mirrored chip.
    """

    def __init__(self, network: nn.Module, family: Family, *, mirror: bool) -> None:
        super().__init__()
        self.network, self.mirror = network, mirror
        black, white = (family.scale(np.full((1, 3, 1, 1), value, np.float32)) for value in (0, 255))
        self.gain: torch.Tensor
        self.offset: torch.Tensor
        self.register_buffer("gain", torch.from_numpy((white - black) / np.float32(255)))
        self.register_buffer("offset", torch.from_numpy(black))

    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        x = chips.permute(0, 3, 1, 2).float() * self.gain + self.offset
        vectors: torch.Tensor = self.network(x)
        return vectors + self.network(x.flip(3)) if self.mirror else vectors


@dataclass(frozen=True, slots=True)
class DeviceEmbedder:
    """An embedder on a GPU; see `embed.Embedder`. Used by one thread at a time."""

    model: ModelId
    family: Family
    network: TorchNetwork
    """Of a `ChipNetwork`."""

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
        [vectors] = self.network(chips)
        return l2_normalize(vectors)


def build_device_embedder(
    model: ModelId, family: Family, module: nn.Module, *, mirror: bool, device: Device = "cuda"
) -> DeviceEmbedder:
    """Return an embedder that runs a family's module on a device, in bfloat16 if that changes no vector's direction."""
    network = ChipNetwork(module, family, mirror=mirror)
    return DeviceEmbedder(model, family, TorchNetwork(network, device, example=example_chips(family.cutter.size)))


def example_chips(size: int) -> Chips:
    """Return pseudo-random chips, always the same, smooth and rough in parts as photos are."""
    random = np.random.default_rng(0)
    coarse = torch.from_numpy(random.random((EXAMPLE_CHIPS, 3, 9, 9), np.float32))
    smooth = nn.functional.interpolate(coarse, (size, size), mode="bilinear", align_corners=False)
    rough = random.normal(0, 0.04, smooth.shape).astype(np.float32)
    pixels = (smooth.numpy() + rough).clip(0, 1) * 255
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)).astype(np.uint8)
