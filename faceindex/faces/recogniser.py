"""Pictures in, faces out: detection, alignment, quality and embedding bound together.

Shared by indexing and searching, so that a probe is treated exactly like the faces of the archive.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from faceindex.clock import Clock
from faceindex.config import Settings
from faceindex.errors import ItemError
from faceindex.faces.chips import Chips, Cutter
from faceindex.faces.detect import Detector, FaceSizes, detect_in
from faceindex.faces.embed import Embedder
from faceindex.faces.loading import build_detector, build_embedder
from faceindex.faces.quality import quality
from faceindex.faces.turned import AllTurns
from faceindex.types import Detections, Image, PhotoFaces

ENLARGED = 1.25
"""Pixels of a chip for each of a reduced photo from which a face is cut out of a larger copy, or the photo in full.

Decoding a photo once more takes half to all of the time that everything else does. Up to here the embedding of no face
in photos of people changed by more than 0.0012 (cosine, 91 faces), which is what bfloat16 does.
"""


@dataclass(frozen=True, slots=True)
class Recogniser:
    """The networks a catalog's settings name, loaded once in a process and used by one thread at a time."""

    detector: Detector
    embedder: Embedder
    sizes: FaceSizes = field(default_factory=FaceSizes)
    clock: Clock = field(default_factory=Clock)

    @classmethod
    def load(cls, settings: Settings, device: str = "auto", weights: str | None = None) -> "Recogniser":
        """Load detector and embedder; `device` is auto, cpu or cuda, `weights` a file for models without any."""
        detector = build_detector(settings.detector, device)
        return cls(
            AllTurns(detector) if settings.turned else detector,
            build_embedder(settings.embedder, mirror=settings.mirror, device=device, weights=weights),
            FaceSizes.of(settings),
        )

    def faces(self, images: Sequence[Image]) -> list[PhotoFaces]:
        """Return the faces of each picture, in order; detected and embedded in common batches."""
        if not images:
            return []
        with self.clock.stage("detect"):
            found = detect_in(images, self.detector, self.sizes)
        cutter = self.embedder.cutter
        with self.clock.stage("align"):
            parts = [chips_of(image, faces, cutter) for image, faces in zip(images, found, strict=True)]
            chips = np.concatenate(parts)
            qualities = quality(chips, Detections.joined(found))
        with self.clock.stage("embed"):
            vectors = self.embedder.embed(chips)
        ends = np.cumsum([len(part) for part in parts])[:-1]
        rows = zip(found, np.split(qualities, ends), np.split(vectors, ends), strict=True)
        return [PhotoFaces(*row) for row in rows]


def chips_of(image: Image, detections: Detections, cutter: Cutter) -> Chips:
    """Cut the faces of a photo, those that a reduced copy would show too small out of a larger one.

    Args:
        image: the photo.
        detections: its faces, in pixels of the photo in full.
        cutter: how they are cut.
    """
    height, width = image.pixels.shape[:2]
    shown = detections.scaled(width / image.width, height / image.height)
    magnification = cutter.magnification(shown)
    enlarged = magnification > ENLARGED
    if image.whole is None or not enlarged.any():
        return cutter.cut(image.pixels, shown)
    try:
        larger = image.whole.decode(min(1.0, width / image.width * float(magnification.max()) / ENLARGED))
    except ItemError:  # a good thumbnail of a broken picture; its faces are better than none
        return cutter.cut(image.pixels, shown)
    chips = np.empty((len(detections), cutter.size, cutter.size, 3), np.uint8)
    chips[~enlarged] = cutter.cut(image.pixels, shown.chosen(~enlarged))
    height, width = larger.shape[:2]
    shown = detections.scaled(width / image.width, height / image.height)
    chips[enlarged] = cutter.cut(larger, shown.chosen(enlarged))
    return chips
