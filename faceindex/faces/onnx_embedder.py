"""Embedders from ONNX files: how they want faces cut and scaled, and their networks in OpenVINO, on the CPU.

A file does not say how its pictures are to be made, so it is held against what is known: the networks in
`faces/models.py` by their digest, Open Model Zoo's by its shape, and all others are taken to follow ArcFace.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceindex.errors import WeightsError
from faceindex.faces.chips import Aligned
from faceindex.faces.embed import Family
from faceindex.faces.openvino_network import OpenVinoNetwork, read_onnx

ARCFACE_SIZE = 112
ARCFACE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
"""Where ArcFace's authors put the five landmarks in a square of 112 pixels (InsightFace, `face_align.py`); nearly all
later networks were trained on faces cut so."""

RETAIL_SIZE, RETAIL_DIMENSION = 128, 256
RETAIL = RETAIL_SIZE * np.array(
    [
        [0.31556875000000000, 0.4615741071428571],
        [0.68262291666666670, 0.4615741071428571],
        [0.50026249999999990, 0.6405053571428571],
        [0.34947187500000004, 0.8246919642857142],
        [0.65343645833333330, 0.8246919642857142],
    ]
)
"""The same for Open Model Zoo's face-reidentification-retail-0095, from its documentation."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Makes of pixels what a network takes: less the mean, over the spread, each channel by itself."""

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    spread: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Both of 0 to 255, red, green, blue."""
    bgr: bool = False
    """Whether the network takes blue first."""

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return RGB pixels float32 (n, 3, height, width) of 0 to 255 as the network takes them."""
        mean, spread = (np.array(values, np.float32)[:, None, None] for values in (self.mean, self.spread))
        scaled = (pixels - mean) / spread
        return np.ascontiguousarray(scaled[:, ::-1] if self.bgr else scaled, dtype=np.float32)


RAW = Scale()
CENTRED = Scale((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
"""-1 to 1, as ArcFace takes it."""
IMAGENET = Scale((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""By mean and standard deviation of ImageNet's pixels, as torchvision's classifiers take it."""


def arcface_family(dimension: int, scale: Scale = CENTRED, size: int = ARCFACE_SIZE) -> Family:
    """Return the family of networks that take faces cut like ArcFace's, enlarged or reduced to `size`."""
    return Family(dimension, Aligned(size, ARCFACE * (size / ARCFACE_SIZE)), scale)


RETAIL_FAMILY = Family(RETAIL_DIMENSION, Aligned(RETAIL_SIZE, RETAIL), Scale(bgr=True))
"""Networks of the shape of face-reidentification-retail-0095, which scale pixels themselves."""


def family_of(path: Path) -> Family:
    """Return how the network of an ONNX file wants its faces, as far as the file shows it.

    One that takes 128 x 128 pixels, scales them itself and gives 256 numbers is Open Model Zoo's. Any other follows
    ArcFace: RGB, its template enlarged or reduced to the input's size, 112 where the file leaves it open; pixels from
    -1 to 1, or as they are when the network begins by scaling them.

    Raises:
        WeightsError: no ONNX network, or not one from (n, 3, s, s) to (n, d).
    """
    model = read_onnx(path)
    size = _input_size(model)
    raw = _scales_itself(model)
    dimension = _dimension(model, size) if size else 0
    if not size or not dimension:
        raise WeightsError(
            f"{path} must take faces (n, 3, s, s) and give vectors (n, d); it takes {_shapes(model.inputs)} and gives "
            f"{_shapes(model.outputs)}"
        )
    if (size, dimension, raw) == (RETAIL_SIZE, RETAIL_DIMENSION, True):
        return RETAIL_FAMILY
    return arcface_family(dimension, RAW if raw else CENTRED, size)


class OnnxNetwork:
    """The network of an ONNX file as an embedder's: faces (n, 3, size, size) to vectors (n, d).

    In batches where the file allows them, one by one where a batch of 1 is written into it. Always in float32: in
    bfloat16 small networks, which most of these are, turn a face's vector to a cosine of 0.994 in the worst case.

    Args:
        path: of the file.
        family: how its faces are cut and scaled.

    Raises:
        WeightsError: no ONNX network, or one that does not give vectors of the family's dimension.
    """

    def __init__(self, path: Path, family: Family) -> None:
        size = family.cutter.size
        self.in_batches = True
        try:
            # Where the number of faces is written into an operator, only fixed shapes show it: OpenVINO would write
            # past the end of memory with free ones.
            model = read_onnx(path, (2, 3, size, size))
            model.reshape([-1, 3, size, size])
            self._network = OpenVinoNetwork(model, "f32")
            self._require_batches(family)
        except (WeightsError, RuntimeError, ValueError):
            self._network = OpenVinoNetwork(read_onnx(path, (1, 3, size, size)), "f32")
            self.in_batches = False
        found = self(np.zeros((1, 3, size, size), np.float32))[0].shape[1]
        if found != family.dimension:
            raise WeightsError(
                f"{path} gives vectors of {found} numbers, {family.dimension} wanted; it is another network"
            )

    def __call__(self, x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return the vectors, float32 (n, d), in a list as `Network` does."""
        step = len(x) if self.in_batches else 1
        parts = [self._network(x[start : start + step])[0] for start in range(0, len(x), step)]
        return [np.concatenate(parts).reshape(len(x), -1)]

    def _require_batches(self, family: Family) -> None:
        """Raise `ValueError` unless faces that go through together get the vectors that they get alone."""
        size = family.cutter.size
        x = family.scale(np.random.default_rng(0).integers(0, 256, (2, 3, size, size)).astype(np.float32))
        together = self._network(x)[0].reshape(2, -1)  # some end by writing all vectors in one row
        alone = np.stack([self._network(face[None])[0].ravel() for face in x])
        if together.shape != alone.shape or not np.allclose(together, alone, atol=0.01 * float(np.abs(alone).max())):
            raise ValueError("the network mixes the faces of a batch")


def _input_size(model: Any) -> int:
    """Return the side of the square RGB pictures a network takes, 112 when it is left open; 0 when it takes others."""
    if len(model.inputs) != 1:
        return 0
    shape = model.inputs[0].get_partial_shape()
    if shape.rank.is_dynamic or len(shape) != 4:
        return 0
    _, channels, height, width = (size.get_length() if size.is_static else -1 for size in shape)
    if channels not in (3, -1) or height != width:
        return 0
    return ARCFACE_SIZE if height == -1 else int(height)


def _dimension(model: Any, size: int) -> int:
    """Return how many numbers a network gives for a face; 0 when it gives something else."""
    try:
        model.reshape([1, 3, size, size])
    except RuntimeError:
        return 0
    shape = model.outputs[0].get_partial_shape()
    if len(model.outputs) != 1 or shape.is_dynamic or len(shape) < 2:
        return 0
    count, dimension, *rest = (int(length.get_length()) for length in shape)
    return dimension if count == 1 and all(length == 1 for length in rest) else 0


def _scales_itself(model: Any) -> bool:
    """Tell whether a network begins by adding to its input or multiplying it, as those exported from MXNet do."""
    if len(model.inputs) != 1:
        return False
    users = [target.get_node().get_type_name() for target in model.inputs[0].get_node().output(0).get_target_inputs()]
    return users != [] and all(name in ("Add", "Subtract", "Multiply", "Divide") for name in users)


def _shapes(ports: Any) -> str:
    return ", ".join(str(port.get_partial_shape()) for port in ports)
