"""Pictures in, faces out: detection, alignment, quality and embedding bound together.

Shared by indexing and searching, so that a probe is treated exactly like the faces of the archive.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from faceindex.clock import Clock
from faceindex.config import Settings
from faceindex.faces.detect import Detector, detect_in
from faceindex.faces.embed import Embedder
from faceindex.faces.models import build_detector, build_embedder
from faceindex.faces.quality import quality
from faceindex.types import Image, PhotoFaces


@dataclass(frozen=True, slots=True)
class Recogniser:
    """The networks a catalog's settings name, loaded once in a process and used by one thread at a time."""

    detector: Detector
    embedder: Embedder
    detect_side_px: int
    clock: Clock = field(default_factory=Clock)

    @classmethod
    def load(cls, settings: Settings, device: str = "auto", weights: str | None = None) -> "Recogniser":
        """Load detector and embedder; `device` is auto, cpu or cuda, `weights` a file for models without any."""
        return cls(
            build_detector(settings.detector, min_face_px=settings.min_face_px, device=device),
            build_embedder(settings.embedder, mirror=settings.mirror, device=device, weights=weights),
            settings.detect_side_px,
        )

    def faces(self, images: Sequence[Image]) -> list[PhotoFaces]:
        """Return the faces of each picture, in order; detected and embedded in common batches."""
        if not images:
            return []
        with self.clock.stage("detect"):
            found = detect_in(images, self.detector, self.detect_side_px)
        pairs = list(zip(images, found, strict=True))
        with self.clock.stage("align"):
            chips = [self.embedder.chips(image.pixels, detections) for image, detections in pairs]
            qualities = [quality(part, detections) for part, detections in zip(chips, found, strict=True)]
        with self.clock.stage("embed"):
            vectors = self.embedder.embed(np.concatenate(chips))
        ends = np.cumsum([len(part) for part in chips])[:-1]
        parts = zip(found, qualities, np.split(vectors, ends), strict=True)
        return [PhotoFaces(detections, judged, embedded) for detections, judged, embedded in parts]
