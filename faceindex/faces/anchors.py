"""What the outputs of one-stage detectors mean: kinds of networks, known by their outputs, and their anchors.

Each kind looks at a picture in cells of a few strides and says for one or more anchors in every cell how sure it is
of a face there, and where its edges are relative to the anchor. All are fully convolutional, so frames of any size can
be looked at. Decoding is done here in float32 and not in the network, whose bfloat16 has too few digits for places.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Faces before non-maximum suppression, in pixels of the frame."""

    scores: Floats
    """float32 (n,) in [0, 1]."""
    boxes: Floats
    """float32 (n, 4), x0, y0, x1, y1."""
    landmarks: Floats | None
    """float32 (n, 5, 2) as in `types.Detections`; None when the network has not these five."""


Decode = Callable[[Sequence[Floats], int, int, float], Candidates]
"""Takes the outputs for one frame, its height and width, and the lowest score; raises `ValueError` when the outputs are
not those of a frame of this size."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One architecture of detectors; files of any size and training may be of it."""

    name: str
    widths: tuple[int, ...]
    """Last dimensions of the outputs, by which the kind is known."""
    decode: Decode
    smallest: float
    """Side of the smallest face that is found reliably, in pixels of the frame."""
    largest: float
    """Side of the largest."""
    threshold: float
    """Score from which a candidate counts."""
    overlap: float
    """Largest intersection over union of two faces."""
    zero: float
    """Value of a pixel that the network takes as 0."""
    one: float
    """How much brighter one is that it takes as 1."""
    bgr: bool = False
    decodes_itself: bool = False
    """The published files decode, for frames of one size; that part is left out."""

    @property
    def has_landmarks(self) -> bool:
        return 10 in self.widths

    def inputs(self, pixels: NDArray[np.uint8]) -> Floats:
        """Return a frame, uint8 (height, width, 3) RGB, as the network takes it: float32 (1, 3, height, width)."""
        channels = pixels[..., ::-1] if self.bgr else pixels
        x = channels.transpose(2, 0, 1)[None].astype(np.float32)
        return (x - np.float32(self.zero)) / np.float32(self.one)


def decode_yunet(outputs: Sequence[Floats], height: int, width: int, threshold: float) -> Candidates:
    """Decode YuNet: one anchor a cell; class and objectness scores, centre and logarithm of the sides, landmarks.

    Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 20, 2023; arithmetic as
    in OpenCV's `FaceDetectorYN`.
    """
    parts = []
    for stride, classes, objects, boxes, marks in zip((8, 16, 32), *_thirds(outputs), strict=True):
        corners = _corners(height, width, stride, 1)
        count = len(corners)
        score = np.sqrt(np.clip(_rows(classes, count), 0, 1) * np.clip(_rows(objects, count), 0, 1))[:, 0]
        which = np.flatnonzero(score >= threshold)
        place, corner = _rows(boxes, count)[which], corners[which]
        centres, sides = corner + place[:, :2] * stride, np.exp(place[:, 2:]) * np.float32(stride)
        points = corner[:, None] + _rows(marks, count)[which].reshape(-1, 5, 2) * stride
        parts.append(Candidates(score[which], _around(centres, sides), points))
    return _joined(parts)


def decode_scrfd(outputs: Sequence[Floats], height: int, width: int, threshold: float) -> Candidates:
    """Decode SCRFD: two anchors a cell; scores, distances to the box's edges, and landmarks where it is trained so.

    Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", 2021 (arXiv:2105.04714);
    arithmetic as in insightface.
    """
    parts = []
    for stride, scores, distances, *marks in zip((8, 16, 32), *_thirds(outputs), strict=True):
        corners = _corners(height, width, stride, 2)
        count = len(corners)
        score = _rows(scores, count)[:, 0]
        which = np.flatnonzero(score >= threshold)
        reach, corner = _rows(distances, count)[which] * np.float32(stride), corners[which]
        boxes = np.concatenate([corner - reach[:, :2], corner + reach[:, 2:]], axis=1)
        points = [corner[:, None] + _rows(part, count)[which].reshape(-1, 5, 2) * stride for part in marks]
        parts.append(Candidates(score[which], boxes, points[0] if points else None))
    return _joined(parts)


ULTRALIGHT_SIDES = ((8, (10, 16, 24)), (16, (32, 48)), (32, (64, 96)), (64, (128, 192, 256)))
"""Sides of the anchors in the cells of each stride."""


def decode_ultralight(outputs: Sequence[Floats], height: int, width: int, threshold: float) -> Candidates:
    """Decode Ultra-Light-Fast-Generic-Face-Detector-1MB (version-slim and version-RFB): an SSD with ten squares.

    Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016, with variances 0.1 and 0.2. `outputs` are those before
    the decoding that the published files bring along for frames of one size.
    """
    anchors = _ultralight_anchors(height, width)
    logits, offsets = (_rows(output, len(anchors)) for output in outputs)
    score = _sigmoid(logits[:, 1] - logits[:, 0])
    which = np.flatnonzero(score >= threshold)
    anchor, offset = anchors[which], offsets[which]
    centres = anchor[:, :2] + offset[:, :2] * np.float32(0.1) * anchor[:, 2:]
    return Candidates(score[which], _around(centres, np.exp(offset[:, 2:] * np.float32(0.2)) * anchor[:, 2:]), None)


BLAZEFACE_PER_CELL = (2, 6)
"""Anchors in the cells of the first stride, and of twice that stride."""


def decode_blazeface(outputs: Sequence[Floats], height: int, width: int, threshold: float) -> Candidates:
    """Decode BlazeFace, front or back: anchors are points, and all is in pixels relative to them.

    Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", 2019 (arXiv:1907.05047), with
    the outputs of MediaPipe's networks. Its six keypoints (eyes, nose, mouth, ears) have no corners of the mouth.
    """
    places, logits = outputs
    stride = _blazeface_stride(height, width, logits.size)
    corners = [_corners(height, width, stride << level, per_cell) for level, per_cell in enumerate(BLAZEFACE_PER_CELL)]
    points = np.concatenate([part + np.float32((stride << level) / 2) for level, part in enumerate(corners)])
    score = _sigmoid(_rows(logits, len(points))[:, 0])
    which = np.flatnonzero(score >= threshold)
    place = _rows(places, len(points))[which]
    return Candidates(score[which], _around(points[which] + place[:, :2], place[:, 2:4]), None)


YUNET = Kind(
    "YuNet",
    widths=(1, 1, 1, 1, 1, 1, 4, 4, 4, 10, 10, 10),
    decode=decode_yunet,
    # OpenCV's documentation says 10 to 300. Of WIDER FACE's faces of 20 pixels and more (60 photos), 63 % are found
    # when 20 pixels are shown as 10, 74 % as 16 and as 20; portraits are found as well with 512 as with 300.
    smallest=16,
    largest=512,
    threshold=0.6,
    overlap=0.3,
    zero=0,
    one=1,
    bgr=True,
)
SCRFD = Kind(
    "SCRFD",
    widths=(1, 1, 1, 4, 4, 4, 10, 10, 10),
    decode=decode_scrfd,
    # Sides of the smallest and the largest anchors; threshold and overlap as in insightface.
    smallest=16,
    largest=512,
    threshold=0.5,
    overlap=0.4,
    zero=127.5,
    one=128,
)
ULTRALIGHT = Kind(
    "Ultra-Light",
    widths=(2, 4),
    decode=decode_ultralight,
    # Of the same faces 50 % are found when 20 pixels are shown as 10, 55 % as 13, 52 % as 16.
    smallest=13,
    largest=256,
    threshold=0.7,
    overlap=0.3,
    zero=127,
    one=128,
    decodes_itself=True,
)
BLAZEFACE = Kind(
    "BlazeFace",
    widths=(16, 1),
    decode=decode_blazeface,
    # The front network was made for pictures of 128 pixels with a face of a fifth of them or more.
    smallest=24,
    largest=128,
    threshold=0.75,
    overlap=0.3,
    zero=127.5,
    one=127.5,
)
KINDS = (YUNET, SCRFD, replace(SCRFD, name="SCRFD without landmarks", widths=SCRFD.widths[:6]), ULTRALIGHT, BLAZEFACE)


def kind_of(widths: Sequence[int]) -> Kind | None:
    """Return the kind of detector whose outputs have these last dimensions, None when there is none."""
    return next((kind for kind in KINDS if kind.widths == tuple(widths)), None)


@lru_cache(maxsize=256)
def _corners(height: int, width: int, stride: int, repeats: int) -> Floats:
    """Return x, y of the upper left corners of all cells, row by row, float32 (cells * repeats, 2)."""
    rows, columns = -(-height // stride), -(-width // stride)
    y, x = np.mgrid[:rows, :columns].astype(np.float32) * np.float32(stride)
    corners = np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), repeats, axis=0)
    corners.flags.writeable = False
    return corners


@lru_cache(maxsize=64)
def _ultralight_anchors(height: int, width: int) -> Floats:
    """Return centre and sides of all anchors, float32 (n, 4); no anchor is larger than the frame."""
    parts = []
    for stride, sides in ULTRALIGHT_SIDES:
        centres = _corners(height, width, stride, len(sides)) + np.float32(stride / 2)
        squares = np.tile(np.array(sides, np.float32), len(centres) // len(sides))
        parts.append(np.stack([*centres.T, np.minimum(squares, width), np.minimum(squares, height)], axis=1))
    anchors = np.concatenate(parts)
    anchors.flags.writeable = False
    return anchors


def _blazeface_stride(height: int, width: int, count: int) -> int:
    """Return the first stride: 8 of the front network, 16 of the back network."""
    for stride in (8, 16):
        cells = [-(-height // (stride << level)) * -(-width // (stride << level)) for level in (0, 1)]
        if count == sum(number * per_cell for number, per_cell in zip(cells, BLAZEFACE_PER_CELL, strict=True)):
            return stride
    raise ValueError(f"{count} anchors are not BlazeFace's for {width} x {height} pixels")


def _thirds(outputs: Sequence[Floats]) -> list[Sequence[Floats]]:
    """Return the outputs in groups of three, one for each stride."""
    return [outputs[start : start + 3] for start in range(0, len(outputs), 3)]


def _rows(output: Floats, count: int) -> Floats:
    """Return an output of one frame as (count, width), whatever leading dimensions the file gives it."""
    return output.reshape(count, output.shape[-1])


def _around(centres: Floats, sides: Floats) -> Floats:
    return np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))), np.float32)


def _joined(parts: Sequence[Candidates]) -> Candidates:
    marks = [part.landmarks for part in parts if part.landmarks is not None]
    return Candidates(
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.boxes for part in parts]),
        np.concatenate(marks) if marks else None,
    )
