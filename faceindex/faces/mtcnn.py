"""MTCNN over many photos of different sizes at once, with the networks and weights of facenet-pytorch.

Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks", 2016
(arXiv:1604.02878): a fully convolutional P-Net over an image pyramid proposes boxes, R-Net and O-Net refine them.
facenet-pytorch runs each level of each photo by itself; here all levels of all photos are packed into canvases of one
size, and the crops of a call go through R-Net and O-Net together. The arithmetic is otherwise that of facenet-pytorch
2.5.3, which the tests take as the oracle.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from faceindex.errors import WeightsError
from faceindex.faces.area import SumTable
from faceindex.faces.networks import Network, load_network
from faceindex.faces.nms import nms
from faceindex.faces.pyramid import CANVAS, CELL, STRIDE, packed_canvases, pyramid_tiles
from faceindex.faces.weights import load_state_dict
from faceindex.types import Detections

if TYPE_CHECKING:
    import torch

THRESHOLDS = (0.6, 0.7, 0.7)
"""Scores from which P-, R- and O-Net accept a box, as facenet-pytorch sets them."""

RNET_SIDE, ONET_SIDE = 24, 48
"""Sides of the crops R-Net and O-Net take, in pixels."""

CROP_BATCH = 128
GROUP_PIXELS = 6_000_000
"""Photos are taken together up to this many pixels; their running sums and levels need 20 bytes a pixel."""

SHA256 = {
    "pnet": "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
    "rnet": "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
    "onet": "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
}

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Mtcnn:
    """The detector; see `detect.Detector`. Used by one thread at a time.

    Args:
        pnet: of `build_pnet`.
        rnet: R-Net, of `build_crop_network`.
        onet: O-Net, of `build_crop_network`.
        min_face_px: smallest face looked for, in pixels of the picture given to `detect`.
    """

    id = "mtcnn-facenet-pytorch-2.5.3"

    def __init__(self, pnet: Network, rnet: Network, onet: Network, min_face_px: int) -> None:
        self._pnet, self._rnet, self._onet = pnet, rnet, onet
        self._min_face_px = min_face_px

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Return the faces of each picture, most confident first, in its own pixels.

        Args:
            images: uint8 (height, width, 3) RGB, of any sizes.

        Boxes are as the networks give them and may reach over the picture's edge.
        """
        return [detections for group in _groups(images) for detections in self._detect_group(group)]

    def _detect_group(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        table = SumTable(images)
        owners, boxes = self._propose(table)
        owners, boxes = self._refine(table, owners, boxes)
        owners, boxes, scores, points = self._locate(table, owners, boxes)
        ends = np.searchsorted(owners, np.arange(len(images) + 1))
        parts = [slice(start, end) for start, end in pairwise(ends)]
        return [Detections(boxes[part], points[part], scores[part]) for part in parts]

    def _propose(self, table: SumTable) -> tuple[Ints, Floats]:
        """P-Net over all levels: which picture each proposal is in, and its square box."""
        rows = [np.empty((0, 9), np.float32)]
        keys = [np.empty((0, 2), np.int64)]
        for canvas, tiles in packed_canvases(pyramid_tiles(table, self._min_face_px)):
            [offsets], [scores] = self._pnet(canvas[None])
            for tile in tiles:
                part = scores[1][tile.cells]
                ys, xs = np.nonzero(part >= THRESHOLDS[0])
                if len(ys):
                    cells = np.stack([xs + tile.cell_x, ys + tile.cell_y], axis=1)
                    score, offset = part[ys, xs, None], offsets[:, *tile.cells][:, ys, xs].T
                    rows.append(np.concatenate([_seen_by(cells, tile.scale), score, offset], axis=1))
                    keys.append(np.full((len(ys), 2), (tile.owner, tile.level)))
        found, key = np.concatenate(rows), np.concatenate(keys)
        _, levels = np.unique(key, axis=0, return_inverse=True)
        kept = nms(found[:, :4], found[:, 4], levels, 0.5)
        found, owners = found[kept], key[kept, 0]
        kept = nms(found[:, :4], found[:, 4], owners, 0.7)
        boxes, offsets = found[kept, :4], found[kept, 5:]
        return owners[kept], _square(boxes + offsets * np.tile(boxes[:, 2:] - boxes[:, :2], 2))

    def _refine(self, table: SumTable, owners: Ints, boxes: Floats) -> tuple[Ints, Floats]:
        """R-Net: better boxes for the proposals it accepts."""
        owners, boxes, pixels = _inside(table, owners, boxes)
        offsets, scores = _run(self._rnet, table, owners, pixels, RNET_SIDE, (4, 2))
        passed = scores[:, 1] > THRESHOLDS[1]
        owners, boxes, offsets, score = owners[passed], boxes[passed], offsets[passed], scores[passed, 1]
        kept = nms(boxes, score, owners, 0.7)
        return owners[kept], _square(_shifted(boxes[kept], offsets[kept]))

    def _locate(self, table: SumTable, owners: Ints, boxes: Floats) -> tuple[Ints, Floats, Floats, Floats]:
        """O-Net: final boxes, scores and landmarks, in order of picture, best first in each."""
        owners, boxes, pixels = _inside(table, owners, boxes)
        offsets, marks, scores = _run(self._onet, table, owners, pixels, ONET_SIDE, (4, 10, 2))
        passed = scores[:, 1] > THRESHOLDS[2]
        owners, boxes, offsets, marks = owners[passed], boxes[passed], offsets[passed], marks[passed]
        score = scores[passed, 1]
        # Ten shares of the box's sides: x of the five landmarks, then y.
        sides = boxes[:, None, 2:] - boxes[:, None, :2] + 1
        points = marks.reshape(-1, 2, 5).transpose(0, 2, 1) * sides + boxes[:, None, :2] - 1
        boxes = _shifted(boxes, offsets)
        kept = nms(boxes, score, owners, 0.7, smaller=True)
        return owners[kept], boxes[kept], score[kept], points[kept]


def build_mtcnn(min_face_px: int, device: str) -> Mtcnn:
    """Load the detector.

    Args:
        min_face_px: smallest face looked for, in pixels of the picture given to `detect`.
        device: auto, cpu or cuda.

    Raises:
        ConfigError: there is no such device.
        WeightsError: facenet-pytorch is not installed as it should be.
    """
    pnet = load_network("pnet", SHA256["pnet"], build_pnet, (1, CANVAS, CANVAS, 3), device)
    rnet, onet = (
        load_network(name, SHA256[name], partial(build_crop_network, name), (-1, side, side, 3), device)
        for name, side in (("rnet", RNET_SIDE), ("onet", ONET_SIDE))
    )
    return Mtcnn(pnet, rnet, onet, min_face_px)


def build_pnet() -> "torch.nn.Module":
    """Return P-Net for canvases: float32 (n, side, side, 3) of RGB from 0 to 255 or `pyramid.BLANK` in.

    Out come for each cell (n, 4, cells, cells) offsets of the box's edges in shares of its side and (n, 2, cells,
    cells) probabilities of no face and a face.
    """
    import torch

    class PNet(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = _original("pnet")

        def forward(self, canvas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            net, pixels = self.net, canvas.permute(0, 3, 1, 2)
            # A 3 x 3 convolution that reaches over a level's edge has a blank pixel at its lower right. Made very
            # small, its value never is the largest of a pooling window.
            outside = 1e6 * pixels[:, :1, 2:, 2:].clamp(max=0)
            x = net.prelu1(net.conv1(pixels)) + outside
            x = net.prelu2(net.conv2(net.pool1(x)))
            x = net.prelu3(net.conv3(x))
            return net.conv4_2(x), net.softmax4_1(net.conv4_1(x))

    return PNet()


def build_crop_network(name: str) -> "torch.nn.Module":
    """Return R-Net or O-Net for crops, float32 (n, side, side, 3) of 0 to 255.

    Out come offsets of the box's edges (n, 4), of O-Net landmarks (n, 10), and probabilities of no face and a face
    (n, 2); offsets and landmarks in shares of the box's sides.
    """
    import torch

    class CropNet(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = _original(name)

        def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, ...]:
            outputs: tuple[torch.Tensor, ...] = self.net(crops.permute(0, 3, 1, 2))
            return outputs

    return CropNet()


def _original(name: str) -> Any:
    """Return facenet-pytorch's pnet, rnet or onet, changed to take pixels of 0 to 255 instead of -1 to 1."""
    import torch
    from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

    module = {"pnet": PNet, "rnet": RNet, "onet": ONet}[name](pretrained=False)
    module.load_state_dict(load_state_dict(weights_file(name), SHA256[name]))
    # (x - 127.5) / 128 becomes part of the first convolution, which has no padding.
    convolution = module.conv1
    with torch.no_grad():
        convolution.weight /= 128
        convolution.bias -= 127.5 * convolution.weight.sum((1, 2, 3))
    return module.eval()


def weights_file(name: str) -> Path:
    """Return where facenet-pytorch's wheel has the weights of pnet, rnet or onet, without importing it."""
    spec = find_spec("facenet_pytorch")
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError("the weights of mtcnn are missing; run: pip install facenet-pytorch")
    return Path(spec.submodule_search_locations[0]) / "data" / f"{name}.pt"


def _groups(images: Sequence[NDArray[np.uint8]]) -> Iterator[Sequence[NDArray[np.uint8]]]:
    group: list[NDArray[np.uint8]] = []
    pixels = 0
    for image in images:
        size = image.shape[0] * image.shape[1]
        if group and pixels + size > GROUP_PIXELS:
            yield group
            group, pixels = [], 0
        group.append(image)
        pixels += size
    if group:
        yield group


def _seen_by(cells: Ints, scale: float) -> Floats:
    """Return what cells (n, 2) of x, y of a level see of the picture, float32 (n, 4), in whole pixels."""
    corners = (cells * STRIDE).astype(np.float32)
    return np.concatenate([np.floor((corners + shift) / np.float32(scale)) for shift in (1, CELL)], axis=1)


def _run(
    network: Network, table: SumTable, owners: Ints, boxes: Ints, side: int, widths: tuple[int, ...]
) -> list[Floats]:
    """Return a network's outputs for all crops, which are cut batch by batch; `widths` are those of the outputs."""
    batches = [slice(start, start + CROP_BATCH) for start in range(0, len(boxes), CROP_BATCH)]
    outputs = [network(table.crops(owners[batch], boxes[batch], side)) for batch in batches]
    nothing = [np.empty((0, width), np.float32) for width in widths]
    return [np.concatenate(parts) for parts in zip(nothing, *outputs, strict=True)]


def _inside(table: SumTable, owners: Ints, boxes: Floats) -> tuple[Ints, Floats, Ints]:
    """Return the boxes that touch their picture, and the pixels x0, y0, x1, y1 of each inside it."""
    whole = np.trunc(boxes).astype(np.int64)
    low = np.maximum(whole[:, :2], 1) - 1
    high = np.minimum(whole[:, 2:], np.stack([table.widths[owners], table.heights[owners]], axis=1))
    touching = np.all(high > low, axis=1)
    return owners[touching], boxes[touching], np.concatenate([low, high], axis=1)[touching]


def _square(boxes: Floats) -> Floats:
    """Return squares with the boxes' centres and longer sides."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = sides.max(axis=1, keepdims=True, initial=0)
    low = boxes[:, :2] + sides * np.float32(0.5) - longer * np.float32(0.5)
    return np.concatenate([low, low + longer], axis=1)


def _shifted(boxes: Floats, offsets: Floats) -> Floats:
    """Return the boxes moved by offsets in shares of their sides, counted in whole pixels."""
    return boxes + offsets * np.tile(boxes[:, 2:] - boxes[:, :2] + 1, 2)
