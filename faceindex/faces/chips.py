"""Cutting faces out of photos: aligned by their landmarks, or as their box stands."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from faceindex.faces.align import align, similarity
from faceindex.types import Detections

Chips = NDArray[np.uint8]
"""Faces as a network takes them, uint8 (n, size, size, 3)."""


class Cutter(Protocol):
    """One way of cutting."""

    @property
    def size(self) -> int:
        """Side of a chip in pixels."""

    def cut(self, pixels: NDArray[np.uint8], detections: Detections) -> Chips:
        """Return the faces of a picture; `detections` are in pixels of it."""

    def magnification(self, detections: Detections) -> NDArray[np.float64]:
        """Return how many pixels of the chip one pixel of the picture makes, for each face, float64 (n,)."""


@dataclass(frozen=True, slots=True)
class Aligned:
    """Turned, scaled and moved so that the landmarks come to lie where `template` has them."""

    size: int
    template: NDArray[np.float64]
    """float64 (5, 2), in pixels of the chip."""

    def cut(self, pixels: NDArray[np.uint8], detections: Detections) -> Chips:
        return align(pixels, detections.landmarks, self.template, self.size)

    def magnification(self, detections: Detections) -> NDArray[np.float64]:
        transforms = similarity(detections.landmarks, self.template)
        return np.asarray(1 / np.maximum(np.hypot(transforms[:, 0, 0], transforms[:, 1, 0]), 1e-6))


@dataclass(frozen=True, slots=True)
class Boxed:
    """The part of each box that is in the picture, resized to a square, as `facenet_pytorch.extract_face` does it."""

    size: int

    def cut(self, pixels: NDArray[np.uint8], detections: Detections) -> Chips:
        """Return the chips; a box wholly outside gives a black one."""
        height, width = pixels.shape[:2]
        chips = np.zeros((len(detections), self.size, self.size, 3), np.uint8)
        for chip, box in zip(chips, detections.boxes, strict=True):
            x0, y0 = (max(int(edge), 0) for edge in box[:2])
            x1, y1 = min(int(box[2]), width), min(int(box[3]), height)
            if x1 > x0 and y1 > y0:
                face = Pillow.fromarray(np.ascontiguousarray(pixels[y0:y1, x0:x1]))
                chip[...] = np.asarray(face.resize((self.size, self.size), Pillow.Resampling.BILINEAR))
        return chips

    def magnification(self, detections: Detections) -> NDArray[np.float64]:
        sides = detections.boxes[:, 2:] - detections.boxes[:, :2]
        return np.asarray(self.size / np.maximum(sides.max(axis=1, initial=0), 1e-6), dtype=np.float64)
