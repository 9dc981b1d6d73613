"""MTCNN on a GPU: the cascade of `mtcnn`, in which the host waits for the device once for a whole group of photos.

facenet-pytorch asks the GPU how many boxes there are after every level of every photo, and cuts out crops one by one,
so the GPU mostly waits. Here all steps are started at once, in buffers of sizes chosen beforehand: some eight hundred
operations a group, however many photos it has. (Recorded as CUDA graphs they would start quicker, but those need a
group's photos to be of the same sizes as another's; larger groups serve as well.) Only with the results comes the
number of boxes there were at each step; should one have exceeded its buffer, the steps after P-Net are done again with
enough room, so results depend neither on the room nor on the other photos.

On a GPU P-, R- and O-Net run in bfloat16, their last layers, which make scores and offsets, in float32: bfloat16
has few numbers near 1, and confidences there would be equal.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from faceindex.faces.device_area import DeviceSumTable, on_device, runs
from faceindex.faces.device_nms import ROUNDS, packed, ranked, stand
from faceindex.faces.mtcnn import (
    LOGIT,
    MAX_LEVELS,
    ONET_SIDE,
    RNET_SIDE,
    THRESHOLDS,
    Mtcnn,
    build_crop_network,
    build_pnet,
)
from faceindex.faces.portions import Portions
from faceindex.faces.pyramid import CANVAS, CANVAS_CELLS, CELL, STRIDE, pyramid_tiles
from faceindex.faces.torch_network import be_exact
from faceindex.types import Detections

GROUP_PIXELS = 32_000_000
"""Photos are taken together up to this many pixels; their running sums and what makes them take 40 bytes a pixel."""

CANVASES = 32
"""Canvases that P-Net takes at once: 8 million pixels, for each of which it needs some 200 bytes."""

CROPS = 1 << 14
"""Crops that are cut and go through a network at once."""

NEAR = 2
"""Cells of one level overlap by more than half only when they are at most two cells apart.

They are 12 pixels wide and 2 apart: at three cells' distance 6 of 18 pixels are shared, and rounding to whole pixels of
the photo does not make that half.
"""

MOST = 4096
"""Boxes of one photo that take part in suppression: the best ones of more, which no photo of people has."""

HEADS = {"pnet": ("head",), "rnet": ("dense5_1", "dense5_2"), "onet": ("dense6_1", "dense6_2", "dense6_3")}
"""Last layers, which stay in float32."""


@dataclass(frozen=True, slots=True)
class Room:
    """Sizes of the buffers of a group of photos."""

    candidates: int
    """Cells to which P-Net gives a score above the threshold."""
    proposals: int
    """Boxes that go to R-Net."""
    refined: int
    """Boxes that go to O-Net."""
    each: int = 256
    """Boxes of one photo in suppression."""
    rounds: int = ROUNDS

    @classmethod
    def usual(cls, cells: int, photos: int) -> "Room":
        """Return room for what crowds need, which is most: of their cells 4 % are candidates and 2 % proposals."""
        return cls(_power(cells // 16), _power(cells // 64 + 64 * photos), _power(cells // 256 + 16 * photos))

    def enlarged(self, needed: "Room") -> "Room":
        """Return room for what turned out to be needed."""
        return Room(
            max(self.candidates, _power(needed.candidates)),
            max(self.proposals, _power(needed.proposals)),
            max(self.refined, _power(needed.refined)),
            max(self.each, min(_power(needed.each), MOST)),
            2 * self.rounds if needed.rounds else self.rounds,
        )


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes of all photos of a group in a buffer of fixed size; the rest of it means nothing."""

    owners: torch.Tensor
    """int64 (room,), position of the photo; 0 for what means nothing."""
    edges: torch.Tensor
    """float32 (room, 4), x0, y0, x1, y1."""
    real: torch.Tensor
    """bool (room,)."""

    def taken(self, order: torch.Tensor, real: torch.Tensor) -> "Boxes":
        """Return those at the positions `order`, of which `real` mean anything."""
        return Boxes(torch.where(real, self.owners[order], 0), self.edges[order], real)


class DeviceMtcnn:
    """The detector; see `detect.Detector`. Used by one thread at a time.

    Args:
        device: cuda; cpu is for tests.
        half: run the networks in bfloat16.
    """

    id = Mtcnn.id

    def __init__(self, device: torch.device, *, half: bool = False) -> None:
        be_exact()
        self._device = device
        pnet, rnet, onet = build_pnet(), build_crop_network("rnet"), build_crop_network("onet")
        for name, network in (("pnet", pnet), ("rnet", rnet), ("onet", onet)):
            network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            if half:
                _halve(network, HEADS[name])
        self._pnet, self._rnet, self._onet = pnet, rnet, onet
        self._portions = Portions(GROUP_PIXELS)

    def detect(self, pictures: Sequence[NDArray[np.uint8]], smallest: Sequence[float]) -> list[Detections]:
        """Return the faces of each picture; see `detect.Detector`.

        Smallest faces of less than 12 pixels, the side of what P-Net sees, are taken as 12.
        """
        limits = [max(CELL, side) for side in smallest]
        sizes = [picture.shape[0] * picture.shape[1] for picture in pictures]
        groups = self._portions.run(lambda part: self._detect_group(pictures[part], limits[part]), sizes)
        return [found for group in groups for found in group]

    @torch.inference_mode()
    def _detect_group(self, pictures: Sequence[NDArray[np.uint8]], smallest: Sequence[float]) -> list[Detections]:
        shapes = tuple((picture.shape[0], picture.shape[1]) for picture in pictures)
        tiles = pyramid_tiles(shapes, tuple(smallest))
        if len(tiles) == 0:
            return [Detections.none() for _ in pictures]
        table = DeviceSumTable(pictures, self._device)
        cells = _Cells(tiles, self._device)
        outputs = torch.cat([self._pnet(canvases) for canvases in _canvases(table, tiles)])
        room = Room.usual(cells.count, len(pictures))
        while True:
            faces, needed = self._cascade(table, cells, outputs, len(pictures), room)
            enough = room.enlarged(needed)
            if enough == room:
                return _detections(faces, len(pictures))
            room = enough

    def _cascade(
        self, table: DeviceSumTable, cells: "_Cells", outputs: torch.Tensor, photos: int, room: Room
    ) -> tuple[NDArray[np.float32], Room]:
        """Return faces float32 (n, 16) of owner, confidence, box and landmarks, and the room that they needed."""
        boxes, candidates, proposals, unsettled = cells.proposals(outputs, room)
        boxes, refined, each, changed = self._refine(table, boxes, photos, room)
        faces, most, changed_again = self._locate(table, boxes, photos, room)
        needed = torch.stack(
            [candidates, proposals, refined, torch.maximum(each, most), unsettled + changed + changed_again]
        )
        # The one place where the host waits.
        host = torch.cat([needed.float(), faces.reshape(-1)]).cpu().numpy()
        found = host[len(needed) :].reshape(-1, faces.shape[1])
        return found[found[:, 0] >= 0], Room(*(int(number) for number in host[: len(needed)]))

    def _refine(
        self, table: DeviceSumTable, boxes: Boxes, photos: int, room: Room
    ) -> tuple[Boxes, torch.Tensor, torch.Tensor, torch.Tensor]:
        """R-Net: better boxes for the proposals it accepts, how many, the most of a photo, and what is unsettled."""
        boxes, pixels = _inside(table, boxes)
        offsets, scores = self._run(self._rnet, table, boxes.owners, pixels, RNET_SIDE)
        passed = boxes.real & (scores[:, 1] > THRESHOLDS[1])
        owners = torch.where(passed, boxes.owners, photos)
        order = ranked(owners, scores[:, 1])
        stands, each, changed = stand(
            boxes.edges[order], owners[order], photos, 0.7, room=room.each, rounds=room.rounds
        )
        positions, real, count = packed(stands, room.refined)
        order = order[positions]
        boxes = replace(boxes, edges=_square(_shifted(boxes.edges, offsets)))
        return boxes.taken(order, real), count, each, changed

    def _locate(
        self, table: DeviceSumTable, boxes: Boxes, photos: int, room: Room
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """O-Net: rows of owner (-1 for none), confidence, box and landmarks, best first in each photo."""
        boxes, pixels = _inside(table, boxes)
        offsets, marks, scores = self._run(self._onet, table, boxes.owners, pixels, ONET_SIDE)
        score = scores[:, 1]
        owners = torch.where(boxes.real & (score > THRESHOLDS[2]), boxes.owners, photos)
        # Ten shares of the box's sides: x of the five landmarks, then y.
        sides = boxes.edges[:, None, 2:] - boxes.edges[:, None, :2] + 1
        points = marks.view(-1, 2, 5).transpose(1, 2) * sides + boxes.edges[:, None, :2] - 1
        edges = _shifted(boxes.edges, offsets)
        order = ranked(owners, score, last_first=True)
        stands, each, changed = stand(
            edges[order], owners[order], photos, 0.7, room=room.each, rounds=room.rounds, smaller=True
        )
        owner = torch.where(stands, owners[order], -1).float()
        rows = torch.cat([owner[:, None], score[order, None], edges[order], points[order].flatten(1)], dim=1)
        return rows, each, changed

    def _run(
        self, network: torch.nn.Module, table: DeviceSumTable, owners: torch.Tensor, boxes: torch.Tensor, side: int
    ) -> list[torch.Tensor]:
        parts = [slice(start, start + CROPS) for start in range(0, len(boxes), CROPS)]
        outputs = [network(table.crops(owners[part], boxes[part], side)) for part in parts]
        return [torch.cat(part) for part in zip(*outputs, strict=True)]


class _Cells:
    """The cells of all levels of a group: where P-Net's answers to them stand, and which are neighbours.

    Besides their place on a canvas, cells have one in a grid of their level, with a border of two, so that the
    neighbours of a cell are found even where a level was cut into tiles.
    """

    def __init__(self, tiles: NDArray[Any], device: torch.device) -> None:
        rows, columns = _cell_counts(tiles["height"]), _cell_counts(tiles["width"])
        level = tiles["owner"] * MAX_LEVELS + tiles["level"]
        _, first, which = np.unique(level, return_index=True, return_inverse=True)
        grid_heights = _cell_counts(tiles["level_height"][first]) + 2 * NEAR
        grid_widths = _cell_counts(tiles["level_width"][first]) + 2 * NEAR
        sizes = grid_heights * grid_widths
        top, left = tiles["top"] // STRIDE, tiles["left"] // STRIDE
        stride = grid_widths[which]
        places = (np.cumsum(sizes) - sizes)[which] + (top + NEAR) * stride + left + NEAR
        corners = (tiles["canvas"] * CANVAS_CELLS + tiles["y"] // STRIDE) * CANVAS_CELLS + tiles["x"] // STRIDE
        table = on_device(np.stack([rows, columns, corners, places, stride, top, left, tiles["owner"]]), device)
        rows_, columns_, corners_, places_, stride_, top_, left_, owner_ = table.unbind()
        self.count = int((rows * columns).sum())
        """How many cells there are."""
        self._grid = int(sizes.sum())
        tile, y = runs(rows_, int(rows.sum()))
        self._row, self._x = runs(columns_[tile], self.count)
        # Of each row of a tile: its place on the canvases and in the grid, and what else is known of its cells.
        self._corner = corners_[tile] + y * CANVAS_CELLS
        self._place, self._stride = places_[tile] + y * stride_[tile], stride_[tile]
        self._y, self._left, self._owner = top_[tile] + y, left_[tile], owner_[tile]
        self._scale = on_device(tiles["scale"].astype(np.float32), device)[tile]

    def proposals(self, outputs: torch.Tensor, room: Room) -> tuple[Boxes, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return square boxes that P-Net proposes, ordered by photo and score.

        With them come how many candidates there were, how many are left after suppression within their levels, and
        how many of those its last round changed. Boxes of different levels differ by a factor of two in area, so none
        overlaps another by 0.7, and suppression within the whole photo, the paper's next step, has nothing to do.

        Args:
            outputs: of P-Net, float32 (canvases, 5, cells, cells).
            room: of the buffers.
        """
        maps = outputs.transpose(0, 1).reshape(5, -1)
        logits = maps[0][self._corner[self._row] + self._x]
        cells, real, candidate_count = packed(logits >= LOGIT, room.candidates)
        row, x = self._row[cells], self._x[cells]
        logits = logits[cells]
        stands, unsettled = self._best_nearby(row, x, torch.where(real, logits, -torch.inf), room.rounds)
        owners = torch.where(stands, self._owner[row], len(outputs) * CANVAS_CELLS**2)
        order = ranked(owners, logits)
        chosen, real, count = packed(stands[order], room.proposals)
        chosen = order[chosen]
        row, x = row[chosen], x[chosen]
        seen = self._seen_by(self._left[row] + x, self._y[row], row)
        offsets = maps[1:, self._corner[row] + x].T
        edges = seen + offsets * (seen[:, 2:] - seen[:, :2]).repeat(1, 2)
        boxes = Boxes(torch.where(real, self._owner[row], 0), _square(edges), real)
        return boxes, candidate_count, count, unsettled

    def _best_nearby(
        self, row: torch.Tensor, x: torch.Tensor, logits: torch.Tensor, rounds: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tell which candidates no better one of their level overlaps by more than half, as `device_nms` does it.

        Args:
            row: int64 (n,), of each candidate, as `runs` counts rows.
            x: int64 (n,), in that row.
            logits: float32 (n,), -inf for candidates that mean nothing.
            rounds: of judging.
        """
        device = logits.device
        real = logits > -torch.inf
        shifts = [(dy, dx) for dy in range(-NEAR, NEAR + 1) for dx in range(-NEAR, NEAR + 1) if dx or dy]
        dy, dx = (on_device(np.array(part), device)[:, None] for part in zip(*shifts, strict=True))
        places = self._place[row] + x
        nearby = places + dy * self._stride[row] + dx
        # What means nothing stands behind the grid.
        places, nearby = (torch.where(real, each, self._grid) for each in (places, nearby))
        grid = torch.full((self._grid + 1,), -torch.inf, device=device)
        grid[places] = logits
        theirs = grid[nearby]
        # Of equal scores the first in reading order wins.
        earlier = (dy < 0) | ((dy == 0) & (dx < 0))
        better = (theirs > logits) | ((theirs == logits) & earlier)
        x, y = self._left[row] + x, self._y[row]
        overlap = _overlap(self._seen_by(x, y, row), self._seen_by(x + dx, y + dy, row))
        beaten = better & (overlap > 0.5)
        standing = torch.zeros(len(grid), dtype=torch.bool, device=device)
        keep = before = real
        for _ in range(rounds):
            standing[places] = keep
            before, keep = keep, real & ~(beaten & standing[nearby]).any(0)
        return keep, (keep != before).sum()

    def _seen_by(self, x: torch.Tensor, y: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        """Return what cells at x, y of their levels see of their pictures, float32 (..., 4), in whole pixels."""
        corners = torch.stack([x, y], dim=-1).float() * STRIDE
        scale = self._scale[row][:, None]
        return torch.cat([torch.floor((corners + shift) / scale) for shift in (1, CELL)], dim=-1)


def build_device_mtcnn() -> DeviceMtcnn:
    """Load the detector on the GPU.

    Raises:
        WeightsError: facenet-pytorch is not installed as it should be.
    """
    return DeviceMtcnn(torch.device("cuda"), half=True)


def _halve(network: torch.nn.Module, heads: Sequence[str]) -> None:
    """Make a network compute in bfloat16 except for its last layers."""
    network.register_forward_pre_hook(lambda _, inputs: (inputs[0].bfloat16(),))
    for name, part in network.named_modules():
        if name.rpartition(".")[2] in heads:
            part.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
        elif not list(part.children()):
            part.bfloat16()


def _canvases(table: DeviceSumTable, tiles: NDArray[Any]) -> Iterator[torch.Tensor]:
    total = int(tiles["canvas"].max()) + 1
    for first in range(0, total, CANVASES):
        count = min(CANVASES, total - first)
        begin, end = np.searchsorted(tiles["canvas"], [first, first + count])
        yield table.canvases(tiles[begin:end], first, count, CANVAS)


def _cell_counts(sides: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(np.maximum(0, (sides - 1) // 2 - 4))


def _inside(table: DeviceSumTable, boxes: Boxes) -> tuple[Boxes, torch.Tensor]:
    """Return the boxes, of which those outside their picture mean nothing, and the pixels x0, y0, x1, y1 of each."""
    whole = boxes.edges.trunc().clamp(-(2**30), 2**30).long()
    low = whole[:, :2].clamp(min=1) - 1
    high = torch.minimum(whole[:, 2:], torch.stack([table.widths, table.heights], dim=1)[boxes.owners])
    real = boxes.real & (high > low).all(1)
    pixels = torch.cat([low, high], dim=1)
    # The first pixel of a picture stands for boxes that mean nothing: 0, 0, 1, 1.
    nothing = torch.arange(4, device=pixels.device) // 2
    return Boxes(torch.where(real, boxes.owners, 0), boxes.edges, real), torch.where(real[:, None], pixels, nothing)


def _square(boxes: torch.Tensor) -> torch.Tensor:
    """Return squares with the boxes' centres and longer sides."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = sides.amax(1, keepdim=True)
    low = boxes[:, :2] + sides * 0.5 - longer * 0.5
    return torch.cat([low, low + longer], dim=1)


def _shifted(boxes: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Return the boxes moved by offsets in shares of their sides, counted in whole pixels."""
    return boxes + offsets * (boxes[:, 2:] - boxes[:, :2] + 1).repeat(1, 2)


def _overlap(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return intersection over union of boxes (..., 4) and boxes (..., 4)."""
    shared = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(-1) for boxes in (a, b)]
    return shared / (areas[0] + areas[1] - shared)


def _detections(faces: NDArray[np.float32], photos: int) -> list[Detections]:
    """Return the faces of each photo from rows of owner, confidence, box and landmarks, in order of owner."""
    ends = np.searchsorted(faces[:, 0], np.arange(photos + 1))
    parts = (faces[start:end] for start, end in pairwise(ends))
    return [Detections(part[:, 2:6].copy(), part[:, 6:].reshape(-1, 5, 2).copy(), part[:, 1].copy()) for part in parts]


def _power(number: int) -> int:
    """Return the smallest power of two from 64 on that is at least `number`."""
    return max(64, 1 << (max(1, number) - 1).bit_length())
