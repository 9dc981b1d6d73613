"""MTCNN over many photos of different sizes at once, with the networks and weights of facenet-pytorch.

Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks", 2016
(arXiv:1604.02878): a fully convolutional P-Net over an image pyramid proposes boxes, R-Net and O-Net refine them.
facenet-pytorch runs each level of each photo and each crop by itself; here all levels of all photos are packed into
canvases of one size, and all crops of a call go through R-Net and O-Net together. The arithmetic is otherwise that of
facenet-pytorch 2.5.3, which the tests take as the oracle.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from faceindex.faces.area import SumTable, resize, running_sums
from faceindex.faces.networks import Network, load_network
from faceindex.faces.nms import nms
from faceindex.faces.weights import load_state_dict
from faceindex.types import Detections

if TYPE_CHECKING:
    import torch

FACTOR = 0.709
THRESHOLDS = (0.6, 0.7, 0.7)
"""Pyramid factor and score thresholds of P-, R- and O-Net, as facenet-pytorch and the paper's authors set them."""

CELL, STRIDE = 12, 2
"""P-Net's receptive field and the distance of its cells, in pixels."""

CANVAS = 512
CANVAS_CELLS = 251
"""P-Net's cells along a canvas: (512 - 2) / 2 after its pooling, less 4 for two 3x3 convolutions."""

CROP_BATCH = 512
GROUP_PIXELS = 12_000_000
"""Photos are taken together up to this many pixels; their running sums need 12 bytes a pixel."""

SHA256 = {
    "pnet": "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
    "rnet": "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
    "onet": "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
}

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A pyramid level, or a tile of one, and where it stands in the canvases."""

    owner: int
    level: int
    scale: float
    cell_x: int
    cell_y: int
    """Where the tile's first cell is among the level's cells."""
    pixels: Floats
    """float32 (height, width, 3)."""
    canvas: int = 0
    x: int = 0
    y: int = 0


class Mtcnn:
    """The detector; see `detect.Detector`. Used by one thread at a time."""

    id = "mtcnn-facenet-pytorch-2.5.3"

    def __init__(self, pnet: Network, rnet: Network, onet: Network, min_face_px: int) -> None:
        self._pnet, self._rnet, self._onet = pnet, rnet, onet
        self._min_face_px = min_face_px

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Return the faces of each picture, most confident first, in its own pixels.

        Args:
            images: uint8 (height, width, 3) RGB, of any sizes.

        Boxes are as the network gives them and may reach over the picture's edge.
        """
        found: list[Detections] = []
        for group in _groups(images):
            found += self._detect_group(group)
        return found

    def _detect_group(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        tables = [running_sums(image) for image in images]
        owners, boxes = self._propose(tables)
        crops = SumTable(tables)
        sizes = np.array([image.shape[1::-1] for image in images]).reshape(-1, 2)
        owners, boxes = self._refine(crops, sizes, owners, boxes)
        owners, boxes, scores, points = self._locate(crops, sizes, owners, boxes)
        order = np.lexsort((-scores, owners))
        ends = np.searchsorted(owners[order], np.arange(len(images) + 1))
        parts = [order[start:end] for start, end in pairwise(ends)]
        return [Detections(boxes[part], points[part], scores[part]) for part in parts]

    def _propose(self, tables: Sequence[NDArray[np.uint32]]) -> tuple[Ints, Floats]:
        """P-Net over all levels: which picture each proposal is in, and its square box."""
        pieces, canvas_count = _packed(self._pieces(tables))
        rows: list[Floats] = []
        keys: list[Ints] = []
        for canvas, members in _by_canvas(pieces, canvas_count):
            offsets, scores = self._pnet(canvas[None])
            for piece in members:
                cells_high, cells_wide = _cells(piece.pixels.shape[0]), _cells(piece.pixels.shape[1])
                top, left = piece.y // STRIDE, piece.x // STRIDE
                part = scores[0, 1, top : top + cells_high, left : left + cells_wide]
                ys, xs = np.nonzero(part >= THRESHOLDS[0])
                if len(ys):
                    scale = np.float32(piece.scale)
                    corner = np.stack([xs + piece.cell_x, ys + piece.cell_y], axis=1).astype(np.float32) * STRIDE
                    low = np.floor((corner + 1) / scale)
                    high = np.floor((corner + CELL) / scale)
                    shift = offsets[0, :, top + ys, left + xs]
                    rows.append(np.concatenate([low, high, part[ys, xs][:, None], shift], axis=1))
                    keys.append(np.full((len(ys), 2), (piece.owner, piece.level)))
        if not rows:
            return np.empty(0, np.int64), np.empty((0, 4), np.float32)
        found, key = np.concatenate(rows), np.concatenate(keys)
        kept = nms(found[:, :4], found[:, 4], key[:, 0] * 1000 + key[:, 1], 0.5)
        found, owners = found[kept], key[kept, 0]
        kept = nms(found[:, :4], found[:, 4], owners, 0.7)
        found, owners = found[kept], owners[kept]
        sides = found[:, 2:4] - found[:, :2]
        boxes = found[:, :4] + found[:, 5:9] * np.concatenate([sides, sides], axis=1)
        return owners, _square(boxes)

    def _refine(self, crops: SumTable, sizes: Ints, owners: Ints, boxes: Floats) -> tuple[Ints, Floats]:
        """R-Net: better boxes for the proposals it accepts."""
        owners, boxes, pixels = _inside(sizes, owners, boxes)
        offsets, scores = _run(self._rnet, crops, owners, pixels, 24)
        passed = scores[:, 1] > THRESHOLDS[1]
        owners, boxes, offsets, score = owners[passed], boxes[passed], offsets[passed], scores[passed, 1]
        kept = nms(boxes, score, owners, 0.7)
        return owners[kept], _square(_shifted(boxes[kept], offsets[kept]))

    def _locate(self, crops: SumTable, sizes: Ints, owners: Ints, boxes: Floats) -> tuple[Ints, Floats, Floats, Floats]:
        """O-Net: final boxes, scores and landmarks."""
        owners, boxes, pixels = _inside(sizes, owners, boxes)
        offsets, marks, scores = _run(self._onet, crops, owners, pixels, 48)
        passed = scores[:, 1] > THRESHOLDS[2]
        owners, boxes, offsets, marks = owners[passed], boxes[passed], offsets[passed], marks[passed]
        score = scores[passed, 1]
        sides = boxes[:, 2:] - boxes[:, :2] + 1
        points = marks.reshape(-1, 2, 5).transpose(0, 2, 1) * sides[:, None] + boxes[:, None, :2] - 1
        boxes = _shifted(boxes, offsets)
        kept = nms(boxes, score, owners, 0.7, smaller=True)
        return owners[kept], boxes[kept], score[kept], points[kept].astype(np.float32)

    def _pieces(self, tables: Sequence[NDArray[np.uint32]]) -> Iterator[_Piece]:
        """Yield the levels of each picture's pyramid, cut into tiles where they are larger than a canvas."""
        for owner, table in enumerate(tables):
            height, width = table.shape[0] - 1, table.shape[1] - 1
            scale = 12.0 / self._min_face_px
            shorter = min(height, width) * scale
            level = 0
            while shorter >= CELL:
                pixels = resize(table, int(height * scale + 1), int(width * scale + 1))
                for y in range(0, _cells(len(pixels)), CANVAS_CELLS):
                    for x in range(0, _cells(pixels.shape[1]), CANVAS_CELLS):
                        top, left = y * STRIDE, x * STRIDE
                        tile = pixels[top : top + CANVAS, left : left + CANVAS]
                        yield _Piece(owner, level, scale, x, y, tile)
                scale, shorter, level = scale * FACTOR, shorter * FACTOR, level + 1


def build_mtcnn(min_face_px: int, device: str) -> Mtcnn:
    """Load the detector.

    Args:
        min_face_px: smallest face looked for, in pixels of the picture given to `detect`.
        device: auto, cpu or cuda.
    """
    shapes = {"pnet": (1, 3, CANVAS, CANVAS), "rnet": (-1, 3, 24, 24), "onet": (-1, 3, 48, 48)}
    pnet, rnet, onet = (
        load_network(name, SHA256[name], partial(_module, name), shape, device) for name, shape in shapes.items()
    )
    return Mtcnn(pnet, rnet, onet, min_face_px)


def _module(name: str) -> "torch.nn.Module":
    from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

    module = {"pnet": PNet, "rnet": RNet, "onet": ONet}[name](pretrained=False)
    module.load_state_dict(load_state_dict(weights_file(name), SHA256[name]))
    return module  # type: ignore[no-any-return]


def weights_file(name: str) -> Path:
    """Return where facenet-pytorch's wheel has the weights of pnet, rnet or onet, without importing it."""
    spec = find_spec("facenet_pytorch")
    assert spec is not None
    assert spec.submodule_search_locations
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


def _cells(side: int) -> int:
    """Return how many cells P-Net has along `side` pixels."""
    return max(0, -(-(side - 2) // 2) - 4)


def _packed(pieces: Iterator[_Piece]) -> tuple[list[_Piece], int]:
    """Place the pieces on shelves, tallest first, at even coordinates, so that pooling falls as in a run of its own.

    Cells whose receptive field touches two pieces are never read, so pieces need no gap between them. An odd side
    is followed by one empty pixel.
    """
    placed: list[_Piece] = []
    canvas = x = y = shelf = 0
    for piece in sorted(pieces, key=lambda piece: -piece.pixels.shape[0]):
        height, width = (side + side % 2 for side in piece.pixels.shape[:2])
        if x + width > CANVAS:
            x, y, shelf = 0, y + shelf, 0
        if y + height > CANVAS:
            canvas, x, y, shelf = canvas + 1, 0, 0, 0
        placed.append(replace(piece, canvas=canvas, x=x, y=y))
        x, shelf = x + width, max(shelf, height)
    return placed, canvas + 1 if placed else 0


def _by_canvas(pieces: Sequence[_Piece], count: int) -> Iterator[tuple[Floats, list[_Piece]]]:
    """Yield each canvas, float32 (3, CANVAS, CANVAS) scaled as P-Net takes it, and the pieces on it."""
    members: list[list[_Piece]] = [[] for _ in range(count)]
    for piece in pieces:
        members[piece.canvas].append(piece)
    for on_canvas in members:
        canvas = np.zeros((3, CANVAS, CANVAS), np.float32)
        for piece in on_canvas:
            height, width = piece.pixels.shape[:2]
            canvas[:, piece.y : piece.y + height, piece.x : piece.x + width] = _scaled(piece.pixels).transpose(2, 0, 1)
        yield canvas, on_canvas


def _scaled(pixels: Floats) -> Floats:
    return (pixels - np.float32(127.5)) * np.float32(0.0078125)


def _run(network: Network, crops: SumTable, owners: Ints, boxes: Ints, side: int) -> list[Floats]:
    """Return a network's outputs for all crops."""
    parts = []
    for start in range(0, max(1, len(boxes)), CROP_BATCH):
        some = slice(start, start + CROP_BATCH)
        cut = crops.crops(owners[some], boxes[some], side) if len(boxes) else np.zeros((1, side, side, 3), np.float32)
        parts.append(network(np.ascontiguousarray(_scaled(cut).transpose(0, 3, 1, 2))))
    return [np.concatenate(output)[: len(boxes)] for output in zip(*parts, strict=True)]


def _inside(sizes: Ints, owners: Ints, boxes: Floats) -> tuple[Ints, Floats, Ints]:
    """Return the boxes that touch their picture, and the pixels x0, y0, x1, y1 of each inside it."""
    whole = np.trunc(boxes).astype(np.int64)
    low = np.maximum(whole[:, :2], 1) - 1
    high = np.minimum(whole[:, 2:], sizes[owners])
    touching = np.all(high > low, axis=1)
    return owners[touching], boxes[touching], np.concatenate([low, high], axis=1)[touching]


def _square(boxes: Floats) -> Floats:
    """Return squares with the boxes' centres and longer sides."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = sides.max(axis=1, keepdims=True, initial=0)
    low = boxes[:, :2] + sides * np.float32(0.5) - longer * np.float32(0.5)
    return np.concatenate([low, low + longer], axis=1)


def _shifted(boxes: Floats, offsets: Floats) -> Floats:
    """Return the boxes moved by offsets in shares of their sides."""
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    return np.asarray(boxes + offsets * np.concatenate([sides, sides], axis=1), dtype=np.float32)
