"""Which detector? Recall, false alarms and speed of each on photos whose faces are known.

    python benchmarks/detectors.py wider-mini yunet.onnx version-RFB-320.onnx --blazeface blazeface.pth

The folder holds `labels_original_pixels.txt` (a line `# name width height ...` for each photo, then a line `x0 y0 x1
y1` for each face) and `images/`, each stretched back to its width and height. Every ONNX file that is named is
measured, and mtcnn, and facenet-pytorch's own MTCNN as the baseline, all in one thread with the same smallest face.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from agreement import oracle_faces, overlaps
from blazeface import export_blazeface
from facenet_pytorch import MTCNN
from numpy.typing import NDArray
from PIL import Image
from report import machine, publish

from faceindex.faces.loading import build_detector
from faceindex.types import Detections

SIDES = (20, 40, 80)
"""Recall is told for faces whose shorter side is at least this many pixels."""

Find = Callable[[NDArray[np.uint8]], Detections]


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo and the boxes of its faces."""

    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float32]


@dataclass(slots=True)
class Tally:
    """Counts what a detector found."""

    faces: dict[int, int] = field(default_factory=lambda: dict.fromkeys(SIDES, 0))
    found: dict[int, int] = field(default_factory=lambda: dict.fromkeys(SIDES, 0))
    detections: int = 0
    false: int = 0

    def add(self, wanted: NDArray[np.float32], detections: Detections) -> None:
        """Count one photo; each detection, most confident first, takes the free face it overlaps most."""
        table = overlaps(wanted, detections.boxes)
        taken = np.zeros(len(wanted), np.bool_)
        for column in np.argsort(-detections.confidences, kind="stable"):
            free = np.where(taken, 0, table[:, column])
            if free.max(initial=0) >= 0.5:
                taken[free.argmax()] = True
            else:
                self.false += 1
        self.detections += len(detections)
        sides = (wanted[:, 2:] - wanted[:, :2]).min(axis=1, initial=np.inf)
        for side in SIDES:
            self.faces[side] += int((sides >= side).sum())
            self.found[side] += int((taken & (sides >= side)).sum())


def read_photos(folder: Path, limit: int | None) -> list[Photo]:
    """Return the photos of the folder at their own width and height."""
    labelled: dict[str, tuple[tuple[int, int], list[list[float]]]] = {}
    for line in (folder / "labels_original_pixels.txt").read_text().splitlines():
        if line.startswith("#"):
            _, name, width, height, *_ = line.split()
            boxes: list[list[float]] = []
            labelled[name] = (int(width), int(height)), boxes
        elif line.strip():
            boxes.append([float(number) for number in line.split()])
    photos = []
    for name, (size, boxes) in sorted(labelled.items())[:limit]:
        picture = Image.open(folder / "images" / name).convert("RGB").resize(size, Image.Resampling.BICUBIC)
        photos.append(Photo(np.asarray(picture), np.array(boxes, np.float32).reshape(-1, 4)))
    return photos


def measured(name: str, find: Find, photos: list[Photo], rounds: int) -> dict[str, Any]:
    """Return the row of one detector; seconds are medians of the rounds, the first of which warms up."""
    tally, seconds = Tally(), []
    for round_number in range(rounds + 1):
        started = time.perf_counter()
        results = [find(photo.pixels) for photo in photos]
        seconds.append(time.perf_counter() - started)
        if round_number == 0:
            for photo, detections in zip(photos, results, strict=True):
                tally.add(photo.boxes, detections)
    return {
        "detector": name,
        **{f"recall >= {side} px %": 100 * tally.found[side] / max(1, tally.faces[side]) for side in SIDES},
        "false alarms a photo": tally.false / len(photos),
        "precision %": 100 * (1 - tally.false / max(1, tally.detections)),
        "photos/s": len(photos) / statistics.median(seconds[1:]),
    }


def main() -> None:
    """Print and write a table with a row for each detector."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("files", nargs="*", type=Path, help="ONNX files of detectors")
    parser.add_argument("--blazeface", action="append", type=Path, default=[], help="PyTorch weights, exported first")
    parser.add_argument("--min-face", type=float, default=20)
    parser.add_argument("--photos", type=int, help="the first so many; default: all")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    about = machine()
    photos = read_photos(arguments.folder, arguments.photos)
    baseline = MTCNN(keep_all=True, min_face_size=arguments.min_face)

    def ours(name: str) -> Find:
        detector = build_detector(name, "cpu")
        return lambda pixels: detector.detect([pixels], [arguments.min_face])[0]

    with tempfile.TemporaryDirectory() as folder:
        exported = [export_blazeface(path, Path(folder) / f"{path.stem}.onnx") for path in arguments.blazeface]
        finders = {
            "facenet-pytorch's MTCNN": lambda pixels: oracle_faces(baseline, pixels, 1.0),
            "mtcnn": ours("mtcnn"),
        }
        finders |= {path.name: ours(f"onnx:{path}") for path in [*arguments.files, *exported]}
        rows = [measured(name, find, photos, arguments.rounds) for name, find in finders.items()]
    count = sum(len(photo.boxes) for photo in photos)
    megapixels = sum(photo.pixels.shape[0] * photo.pixels.shape[1] for photo in photos) / len(photos) / 1e6
    recipe = (
        f"{len(photos)} photos of {arguments.folder.name} ({megapixels:.2f} megapixels each, {count} faces), min face "
        f"{arguments.min_face:g} px, one photo at a time in one thread, decoding not counted, median of "
        f"{arguments.rounds} rounds. A face counts as found at IoU >= 0.5; sizes are of its shorter side."
    )
    publish("detectors", "Detectors", recipe, rows, about)


if __name__ == "__main__":
    main()
