"""Do we find the faces that facenet-pytorch finds? Its own jitter under invisible noise is the yardstick.

    python benchmarks/agreement.py lfw-dev photos/human-samples photos/wider-mini --photos 300

Ours is the way of `faceindex index`: scaled decoding, packed detection, boxes in pixels of the photo. The oracle is
facenet-pytorch's MTCNN at the same smallest face: once on the pixels that our detector sees, which shows what packing
changes, and once on each photo in full as Pillow decodes it, which shows what scaled decoding changes.
"""

import argparse
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from facenet_pytorch import MTCNN
from numpy.typing import NDArray
from PIL import Image, ImageOps
from report import machine, publish

from faceindex.errors import ItemError
from faceindex.faces.detect import FaceSizes, detect_in
from faceindex.faces.loading import build_detector
from faceindex.images.decode import decode
from faceindex.types import Detections

CONFIDENT = 0.98
SUFFIXES = (".jpg", ".jpeg", ".png")


def oracle_faces(mtcnn: MTCNN, picture: NDArray[np.uint8], scale: float) -> Detections:
    """Return what facenet-pytorch finds, with coordinates divided by `scale`."""
    boxes, scores, points = mtcnn.detect(Image.fromarray(picture), landmarks=True)
    if boxes is None:
        return Detections.none()
    return Detections(
        np.array(boxes / scale, np.float32), np.array(points / scale, np.float32), np.array(scores, np.float32)
    )


def overlaps(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the intersection over union of all pairs of boxes, float32 (len(a), len(b))."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a, b)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)


class Tally:
    """Counts how many of the oracle's faces another detector has."""

    def __init__(self) -> None:
        self.faces = self.at_70 = self.at_90 = self.confident = self.confident_kept = self.extra = 0
        self.landmark_errors: list[float] = []

    def add(self, wanted: Detections, found: Detections) -> None:
        """Count one photo."""
        table = overlaps(wanted.boxes, found.boxes)
        best = table.max(axis=1, initial=0)
        sure = wanted.confidences > CONFIDENT
        self.faces += len(wanted)
        self.at_70 += int((best >= 0.7).sum())
        self.at_90 += int((best >= 0.9).sum())
        self.confident += int(sure.sum())
        self.confident_kept += int((best[sure] >= 0.5).sum())
        self.extra += int((table.max(axis=0, initial=0) < 0.5).sum())
        for index in np.flatnonzero(best >= 0.7):
            width = wanted.boxes[index, 2] - wanted.boxes[index, 0]
            error = np.linalg.norm(wanted.landmarks[index] - found.landmarks[table[index].argmax()], axis=1).mean()
            self.landmark_errors.append(float(error / width))

    def row(self, data: str, detector: str) -> dict[str, Any]:
        """Return the figures as a row of the report."""
        errors = self.landmark_errors or [0.0]
        return {
            "data": data,
            "detector": detector,
            "oracle's faces": self.faces,
            "IoU >= 0.7 %": 100 * self.at_70 / max(1, self.faces),
            "IoU >= 0.9 %": 100 * self.at_90 / max(1, self.faces),
            "confident kept": f"{self.confident_kept} of {self.confident}",
            "confident %": 100 * self.confident_kept / max(1, self.confident),
            "faces the oracle has not": self.extra,
            "landmark error, median": float(np.median(errors)),
            "95 %": float(np.quantile(errors, 0.95)),
        }


def main() -> None:
    """Print and write a table with three rows for each folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--photos", type=int, default=300, help="random ones of each folder")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    about = machine()
    mtcnn, detector, sizes = MTCNN(keep_all=True), build_detector("mtcnn", "cpu"), FaceSizes()
    rows = []
    for folder in arguments.folders:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        paths = random.Random(arguments.seed).sample(paths, min(arguments.photos, len(paths)))
        noise = np.random.default_rng(arguments.seed)
        ours, jitter, in_full = Tally(), Tally(), Tally()
        for path in paths:
            try:
                image = decode(path.read_bytes(), bytes(path), 120, sizes.side_px)
            except ItemError:
                continue  # broken photos are no detector's business
            found = detect_in([image], detector, sizes)[0]
            pixels = image.pixels
            mtcnn.min_face_size = sizes.smallest(*pixels.shape[:2])
            scale = pixels.shape[1] / image.width
            noisy = np.clip(pixels + noise.integers(-1, 2, pixels.shape), 0, 255).astype(np.uint8)
            wanted = oracle_faces(mtcnn, pixels, scale)
            jitter.add(wanted, oracle_faces(mtcnn, noisy, scale))
            ours.add(wanted, found)
            whole = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
            mtcnn.min_face_size = sizes.smallest(*whole.shape[:2])
            in_full.add(oracle_faces(mtcnn, whole, 1.0), found)
        rows += [
            ours.row(folder.name, "faceindex"),
            jitter.row(folder.name, "facenet-pytorch, +-1 grey level"),
            in_full.row(folder.name, "faceindex, against the photo in full"),
        ]
    recipe = (
        f"Up to {arguments.photos} random photos of each folder (seed {arguments.seed}), min face {sizes.min_px:g} px "
        f"of photos reduced to {sizes.side_px} px. "
        f"Confident: score above {CONFIDENT}, kept at IoU >= 0.5. Landmark error in shares of the box's width."
    )
    publish("agreement", "Agreement with facenet-pytorch's detector", recipe, rows, about)


if __name__ == "__main__":
    main()
