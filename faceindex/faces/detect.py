"""What a detector is, and how it is given photos that are larger than it needs."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from faceindex.types import Detections, Image


class Detector(Protocol):
    """Finds faces in pictures of any sizes. Used by one thread at a time."""

    @property
    def id(self) -> str:
        """Name and version of everything that shapes its results, apart from settings."""

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Return the faces of each picture, uint8 (height, width, 3) RGB, most confident first, in its own pixels.

        Boxes may reach over the picture's edge.
        """


def detect_in(images: Sequence[Image], detector: Detector, side: int) -> list[Detections]:
    """Return the faces of each photo in its own pixels, looked for in a copy whose long side is at most `side`.

    Boxes and landmarks are as the network gives them: those of a face that the photo cuts off reach over its edge.
    Faces whose box is not in the photo at all are left out.

    At 1280 pixels no face that MTCNN is sure of (score > 0.98) is lost against full resolution, in portraits and
    groups of 1.5 to 36 megapixels, and the work is that of a 1-megapixel picture whatever the camera.
    """
    reduced = [_reduced(image.pixels, side) for image in images]
    found = detector.detect(reduced)
    return [
        _touching(
            detections.scaled(image.width / small.shape[1], image.height / small.shape[0]), image.width, image.height
        )
        for image, small, detections in zip(images, reduced, found, strict=True)
    ]


def _touching(detections: Detections, width: int, height: int) -> Detections:
    clipped = np.clip(detections.boxes, 0, np.array([width, height, width, height], np.float32))
    inside = np.all(clipped[:, 2:] > clipped[:, :2], axis=1)
    return Detections(detections.boxes[inside], detections.landmarks[inside], detections.confidences[inside])


def _reduced(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    longest = max(height, width)
    if longest <= side:
        return pixels
    size = max(1, round(width * side / longest)), max(1, round(height * side / longest))
    # reducing_gap first shrinks by a whole factor: twice as fast on large photos, and hardly a grey level apart.
    picture = Pillow.fromarray(pixels).resize(size, Pillow.Resampling.BOX, reducing_gap=2.0)
    return np.asarray(picture)
