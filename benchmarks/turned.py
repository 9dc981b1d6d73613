"""Pictures that lie on a side or stand on their head, without EXIF to tell: found with --thorough, and at what cost?

    python benchmarks/turned.py lfw-dev photos/human-samples --photos 200

Each photo is given in its four positions. A face counts as found when a box overlaps (IoU >= 0.5) the place where a
confident face (score > 0.98) of the upright photo has gone.
"""

import argparse
import random
import time
from pathlib import Path

import numpy as np
from agreement import CONFIDENT, overlaps
from report import machine, publish

from faceindex.config import Settings
from faceindex.faces.detect import Detector, FaceSizes, detect_in
from faceindex.faces.loading import build_detector
from faceindex.faces.turned import AllTurns, turned_back
from faceindex.images.decode import decode
from faceindex.pipeline.run import THOROUGH
from faceindex.types import Detections, Image

TURNS = (0, 1, 2, 3)


def turned(image: Image, turns: int) -> Image:
    """Return a photo in another position."""
    return Image(image.photo_id, image.path, np.ascontiguousarray(np.rot90(image.pixels, turns)), image.format)


def found_share(wanted: Detections, found: Detections) -> tuple[int, int, int]:
    """Return how many confident faces there are, how many were found, and how many other faces."""
    table = overlaps(wanted.boxes, found.boxes)
    sure = wanted.confidences > CONFIDENT
    return (
        int(sure.sum()),
        int((table.max(axis=1, initial=0)[sure] >= 0.5).sum()),
        int((table.max(axis=0, initial=0) < 0.5).sum()),
    )


def main() -> None:
    """Print and write a table with a row for each folder, way of looking and position."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    about = machine()
    detector = build_detector("mtcnn", "cpu")
    plain = FaceSizes.of(Settings())
    ways: dict[str, tuple[Detector, FaceSizes]] = {
        "default": (detector, plain),
        "turned only": (AllTurns(detector), plain),
        "--thorough": (AllTurns(detector), FaceSizes.of(Settings(**THOROUGH))),
    }
    rows = []
    for folder in arguments.folders:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
        paths = random.Random(arguments.seed).sample(paths, min(arguments.photos, len(paths)))
        totals = {(way, turns): np.zeros(4) for way in ways for turns in TURNS}
        for path in paths:
            image = decode(path.read_bytes(), bytes(path), 120)
            [upright] = detect_in([image], detector, plain)
            for way, (one, sizes) in ways.items():
                for turns in TURNS:
                    started = time.process_time()
                    [found] = detect_in([turned(image, turns)], one, sizes)
                    seconds = time.process_time() - started
                    back = turned_back(found, turns, image.height, image.width)
                    totals[way, turns] += (*found_share(upright, back), seconds)
        for way in ways:
            figures = [totals[way, turns] for turns in TURNS]
            rows.append(
                {
                    "data": folder.name,
                    "way": way,
                    **{
                        f"found at {90 * turns} degrees": f"{got[1]:.0f} of {got[0]:.0f}"
                        for turns, got in zip(TURNS, figures, strict=True)
                    },
                    "other faces, upright": int(figures[0][2]),
                    "other faces, turned": int(sum(got[2] for got in figures[1:]) / 3),
                    "CPU ms a photo": 1000 * float(np.mean([got[3] for got in figures])) / len(paths),
                }
            )
            print(rows[-1], flush=True)
    recipe = (
        f"Up to {arguments.photos} random photos of each folder (seed {arguments.seed}). Thorough: {THOROUGH}. Other "
        f"faces are those at places without a confident one in the upright photo, and smaller ones."
    )
    publish("turned", "Turned pictures", recipe, rows, about)


if __name__ == "__main__":
    main()
