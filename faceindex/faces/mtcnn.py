"""MTCNN over many photos of different sizes at once, with the networks and weights of facenet-pytorch.

Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks", 2016
(arXiv:1604.02878): a fully convolutional P-Net over an image pyramid proposes boxes, R-Net and O-Net refine them.
facenet-pytorch runs each level of each photo by itself; here all levels of all photos are packed into canvases of one
size, and the crops of a call go through R-Net and O-Net together. The arithmetic is otherwise that of facenet-pytorch
2.5.3, which the tests take as the oracle.
"""

import math
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
from faceindex.faces.compiled import compiled
from faceindex.faces.networks import Network
from faceindex.faces.nms import nms
from faceindex.faces.openvino_network import load_network
from faceindex.faces.pyramid import CANVAS, CELL, STRIDE, cell_count, pyramid_tiles
from faceindex.faces.weights import load_state_dict
from faceindex.types import Detections

if TYPE_CHECKING:
    import torch

THRESHOLDS = (0.6, 0.7, 0.7)
"""Scores from which P-, R- and O-Net accept a box, as facenet-pytorch sets them."""

LOGIT = math.log(THRESHOLDS[0] / (1 - THRESHOLDS[0]))
"""P-Net's threshold as a logarithm of odds."""

MAX_LEVELS = 64
"""More than a pyramid ever has: the levels of a picture of 40 megapixels are 23."""

RNET_SIDE, ONET_SIDE = 24, 48
"""Sides of the crops R-Net and O-Net take, in pixels."""

CROP_BATCH = {RNET_SIDE: 512, ONET_SIDE: 128}
"""Crops that go through a network at once."""

SIZES = 16
"""Sizes of smaller batches, which are filled up to one of them: OpenVINO prepares itself anew for every other size."""

GROUP_PIXELS = 8_000_000
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
    """

    id = "mtcnn-facenet-pytorch-2.5.3"

    def __init__(self, pnet: Network, rnet: Network, onet: Network) -> None:
        self._pnet, self._rnet, self._onet = pnet, rnet, onet

    def detect(self, pictures: Sequence[NDArray[np.uint8]], smallest: Sequence[float]) -> list[Detections]:
        """Return the faces of each picture; see `detect.Detector`.

        Smallest faces of less than 12 pixels, the side of what P-Net sees, are taken as 12.
        """
        limits = [max(CELL, side) for side in smallest]
        return [found for part in _groups(pictures) for found in self._detect_group(pictures[part], limits[part])]

    def _detect_group(self, pictures: Sequence[NDArray[np.uint8]], smallest: Sequence[float]) -> list[Detections]:
        table = SumTable(pictures)
        owners, boxes = self._propose(table, tuple(smallest))
        owners, boxes = self._refine(table, owners, boxes)
        owners, boxes, scores, points = self._locate(table, owners, boxes)
        ends = np.searchsorted(owners, np.arange(len(pictures) + 1))
        return [Detections(boxes[a:b], points[a:b], scores[a:b]) for a, b in pairwise(ends)]

    def _propose(self, table: SumTable, smallest: tuple[float, ...]) -> tuple[Ints, Floats]:
        """P-Net over all levels: which picture each proposal is in, and its square box."""
        shapes = tuple(zip(table.heights.tolist(), table.widths.tolist(), strict=True))
        tiles = pyramid_tiles(shapes, smallest)
        canvas = np.zeros((CANVAS, CANVAS, 3), np.float32)
        ends = np.searchsorted(tiles["canvas"], np.arange(tiles["canvas"].max(initial=-1) + 2))
        parts = [(np.empty(0, np.int64), np.empty((0, 2), np.float32), np.empty((0, 5), np.float32))]
        for start, end in pairwise(ends):
            # What an earlier canvas left between the tiles is never read.
            table.draw(canvas, tiles[start:end])
            [[output]] = self._pnet(canvas[None])
            which, cells, outputs = _accepted(output, tiles[start:end], LOGIT)
            parts.append((which + start, cells, outputs))
        which, cells, outputs = (np.concatenate(column) for column in zip(*parts, strict=True))
        owners, levels = tiles["owner"][which], tiles["level"][which]
        seen, scores, offsets = _seen_by(cells, tiles["scale"][which]), outputs[:, 0], outputs[:, 1:]
        kept = nms(seen, scores, owners * MAX_LEVELS + levels, 0.5)
        kept = kept[nms(seen[kept], scores[kept], owners[kept], 0.7)]
        boxes = seen[kept]
        return owners[kept], _square(boxes + offsets[kept] * np.tile(boxes[:, 2:] - boxes[:, :2], 2))

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


def build_mtcnn() -> Mtcnn:
    """Load the detector, for the CPU.

    Raises:
        WeightsError: facenet-pytorch is not installed as it should be.
    """
    pnet = load_network("pnet", SHA256["pnet"], build_pnet, (1, CANVAS, CANVAS, 3))
    rnet, onet = (
        load_network(name, SHA256[name], partial(build_crop_network, name), (-1, side, side, 3))
        for name, side in (("rnet", RNET_SIDE), ("onet", ONET_SIDE))
    )
    return Mtcnn(pnet, rnet, onet)


def build_pnet() -> "torch.nn.Module":
    """Return P-Net for canvases: float32 (n, side, side, 3) of RGB relative to middle grey in.

    Out comes for each cell, (n, 5, cells, cells): the logarithm of the odds that it sees a face, and offsets of the
    box's edges in shares of its side.
    """
    import torch

    class PNet(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net = _original("pnet")
            # The logarithm of the odds is the difference of what the softmax over two classes would take.
            self.head = torch.nn.Conv2d(32, 5, kernel_size=1)
            state = {
                name: torch.cat([odds[1:] - odds[:1], offsets])
                for name, odds, offsets in (
                    ("weight", net.conv4_1.weight, net.conv4_2.weight),
                    ("bias", net.conv4_1.bias, net.conv4_2.bias),
                )
            }
            self.head.load_state_dict(state)

        def forward(self, canvas: torch.Tensor) -> torch.Tensor:
            net = self.net
            x = net.pool1(net.prelu1(net.conv1(canvas.permute(0, 3, 1, 2))))
            x = net.prelu3(net.conv3(net.prelu2(net.conv2(x))))
            scores: torch.Tensor = self.head(x)
            return scores

    return PNet()


def build_crop_network(name: str) -> "torch.nn.Module":
    """Return R-Net or O-Net for crops, float32 (n, side, side, 3) of RGB relative to middle grey.

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
    """Return facenet-pytorch's pnet, rnet or onet, changed to take pixels of -127.5 to 127.5 instead of -1 to 1."""
    import torch
    from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

    module = {"pnet": PNet, "rnet": RNet, "onet": ONet}[name](pretrained=False)
    module.load_state_dict(load_state_dict(weights_file(name), SHA256[name]))
    with torch.no_grad():
        module.conv1.weight /= 128
    return module.eval()


def weights_file(name: str) -> Path:
    """Return where facenet-pytorch's wheel has the weights of pnet, rnet or onet, without importing it."""
    spec = find_spec("facenet_pytorch")
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError("the weights of mtcnn are missing; run: pip install facenet-pytorch")
    return Path(spec.submodule_search_locations[0]) / "data" / f"{name}.pt"


def _groups(pictures: Sequence[NDArray[np.uint8]]) -> Iterator[slice]:
    start = pixels = 0
    for position, picture in enumerate(pictures):
        size = picture.shape[0] * picture.shape[1]
        if position > start and pixels + size > GROUP_PIXELS:
            yield slice(start, position)
            start, pixels = position, 0
        pixels += size
    if len(pictures) > start:
        yield slice(start, len(pictures))


@compiled
def _accepted(output: Floats, tiles: NDArray[Any], least: float) -> tuple[Ints, Floats, Floats]:
    """Return the cells of a canvas with a score of at least `least`.

    Args:
        output: of P-Net, (5, cells, cells).
        tiles: those on the canvas.
        least: logarithm of odds.

    Returns:
        For each its tile, its x and y among the cells of its level, (n, 2), and what P-Net says of it, (n, 5).
    """
    count = 0
    for fill in (False, True):  # counted first, then written
        which, cells, outputs = (
            np.empty(count, np.int64),
            np.empty((count, 2), np.float32),
            np.empty((count, 5), np.float32),
        )
        count = 0
        for index in range(len(tiles)):
            tile = tiles[index]
            top, left = tile.y // STRIDE, tile.x // STRIDE
            for y in range(_cells(tile.height)):
                for x in range(_cells(tile.width)):
                    if output[0, top + y, left + x] >= least:
                        if fill:
                            which[count] = index
                            cells[count, 0], cells[count, 1] = x + tile.left // STRIDE, y + tile.top // STRIDE
                            outputs[count] = output[:, top + y, left + x]
                        count += 1
    return which, cells, outputs


_cells = compiled(cell_count)


def _seen_by(cells: Floats, scales: NDArray[np.float64]) -> Floats:
    """Return what cells (n, 2) of x, y of levels see of their pictures, float32 (n, 4), in whole pixels."""
    corners, factors = cells * np.float32(STRIDE), scales.astype(np.float32)[:, None]
    return np.concatenate([np.floor((corners + np.float32(shift)) / factors) for shift in (1, CELL)], axis=1)


def _run(
    network: Network, table: SumTable, owners: Ints, boxes: Ints, side: int, widths: tuple[int, ...]
) -> list[Floats]:
    """Return a network's outputs for all crops, which are cut batch by batch; `widths` are those of the outputs."""
    step = CROP_BATCH[side]
    outputs = []
    for start in range(0, len(boxes), step):
        crops = table.crops(owners[start : start + step], boxes[start : start + step], side)
        outputs.append([output[: len(crops)] for output in network(_filled_up(crops, step // SIZES))])
    nothing = [np.empty((0, width), np.float32) for width in widths]
    return [np.concatenate(parts) for parts in zip(nothing, *outputs, strict=True)]


def _filled_up(crops: Floats, part: int) -> Floats:
    """Return crops followed by empty ones up to a multiple of `part`."""
    lacking = -len(crops) % part
    return np.concatenate([crops, np.zeros((lacking, *crops.shape[1:]), np.float32)]) if lacking else crops


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
