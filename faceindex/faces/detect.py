"""What a detector is, and how small a face it is asked for in photos of all sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from faceindex.config import Settings
from faceindex.types import Detections, Image, working_side


class Detector(Protocol):
    """Finds faces in pictures of any sizes. Used by one thread at a time."""

    @property
    def id(self) -> str:
        """Name and version of everything that shapes its results, apart from settings."""

    def detect(self, pictures: Sequence[NDArray[np.uint8]], smallest: Sequence[float]) -> list[Detections]:
        """Return the faces of each picture, most confident first, in its own pixels.

        Boxes may reach over the picture's edge.

        Args:
            pictures: uint8 (height, width, 3) RGB, of any sizes.
            smallest: side of the smallest face looked for in each picture, in its pixels. A promise about the least
                work: a detector may find smaller faces too.
        """


@dataclass(frozen=True, slots=True)
class FaceSizes:
    """How small a face is looked for, whatever the size of the photo."""

    min_px: float = 20
    """In pixels of the photo, or of one reduced to `side_px` if it is larger."""
    min_share: float = 0.0
    """As a share of the photo's short side; the larger of the two counts."""
    side_px: int = 960
    """Long side (of a panorama twice the short side) beyond which a larger photo shows no smaller faces.

    At 960 pixels no face that MTCNN is sure of (score > 0.98) is lost against full resolution, in portraits and groups
    of 1.5 to 36 megapixels. Photos of 4000 and 8000 pixels, which most telephones take, are decoded at 1/4 and 1/8.
    """

    @classmethod
    def of(cls, settings: Settings) -> "FaceSizes":
        """Return what a catalog's settings say."""
        return cls(settings.min_face_px, settings.min_face_share, settings.detect_side_px)

    def smallest(self, height: int, width: int) -> float:
        """Return the side of the smallest face looked for, in pixels of a picture, which may be a reduced one."""
        by_resolution = self.min_px * max(1.0, working_side(height, width) / self.side_px)
        return max(by_resolution, self.min_share * min(height, width))


def detect_in(images: Sequence[Image], detector: Detector, sizes: FaceSizes) -> list[Detections]:
    """Return the faces of each photo in its own pixels, those of the photo in full.

    Boxes and landmarks are as the network gives them: those of a face that the photo cuts off reach over its edge.
    Faces whose box is not in the photo at all are left out.
    """
    pictures = [_reduced(image.pixels, sizes.side_px) for image in images]
    smallest = [sizes.smallest(*picture.shape[:2]) for picture in pictures]
    found = detector.detect(pictures, smallest)
    return [
        _touching(
            detections.scaled(image.width / picture.shape[1], image.height / picture.shape[0]),
            image.width,
            image.height,
        )
        for image, picture, detections in zip(images, pictures, found, strict=True)
    ]


def _touching(detections: Detections, width: int, height: int) -> Detections:
    clipped = np.clip(detections.boxes, 0, np.array([width, height, width, height], np.float32))
    inside = np.all(clipped[:, 2:] > clipped[:, :2], axis=1)
    return detections.chosen(inside)


def _reduced(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return a picture reduced by the largest whole factor that leaves it `side` pixels; detectors do the rest."""
    factor = working_side(*pixels.shape[:2]) // side
    return pixels if factor < 2 else np.asarray(Pillow.fromarray(pixels).reduce(factor))
