"""Indexing speed against the naive loop over facenet-pytorch, for small and large photos and two embedders.

    python benchmarks/indexing.py lfw-dev --photos photos/human-samples --rounds 3

Whole processes of `faceindex index` are timed, from start-up to the published generation, in turn with the naive loop.
The loop does a sample of the photos and its rate leaves its start-up out, which is in its favour.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from facenet_pytorch import InceptionResnetV1
from PIL import Image
from report import machine, publish

HERE = Path(__file__).parent
INDEX = [sys.executable, "-m", "faceindex.cli.main", "index"]
DLIB, INCEPTION = "dlib-resnet29", "facenet-vggface2"

SETS = {"2 to 3 MP": ((2.0, 3.0), 600, 24), "12 MP": ((11.5, 12.5), 400, 8)}
"""Range of megapixels, photos that are indexed, and photos that the naive loop does."""


def resized(sources: list[Path], folder: Path, megapixels: tuple[float, float], count: int) -> None:
    """Write `count` JPEGs (quality 90) of sizes in a range, each another size of one of the sources."""
    folder.mkdir()
    for index in range(count):
        picture = Image.open(sources[index % len(sources)]).convert("RGB")
        area = random.Random(index).uniform(*megapixels) * 1e6
        factor = (area / (picture.width * picture.height)) ** 0.5
        size = round(picture.width * factor), round(picture.height * factor)
        picture.resize(size, Image.Resampling.LANCZOS).save(folder / f"{index:04d}.jpg", quality=90)


def naive(folder: Path, count: int) -> float:
    """Return photos per second of the loop."""
    command = [sys.executable, str(HERE / "naive.py"), str(folder), "--photos", str(count), "--min-face", "20"]
    return float(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["rate"])


def indexed(folder: Path, model: str, weights: Path) -> dict[str, float]:
    """Return photos per second of a whole run of `faceindex index` into a new catalog, and its stages' seconds."""
    with tempfile.TemporaryDirectory() as catalog:
        command = [*INDEX, str(folder), "-c", f"{catalog}/catalog", "--json", "--model", model]
        command += ["--weights", str(weights)] if model == INCEPTION else []
        started = time.perf_counter()
        printed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        seconds = time.perf_counter() - started
    document: dict[str, Any] = json.loads(printed)
    return {"rate": sum(document["photos"].values()) / seconds, **document["stage_seconds"]}


def cases(arguments: argparse.Namespace, made: Path) -> Iterator[tuple[str, Path, int, list[str]]]:
    """Yield name and folder of each set, photos for the naive loop, and the models it is indexed with."""
    yield arguments.lfw.name, arguments.lfw, 300, [DLIB, INCEPTION]
    sources = sorted(path for path in arguments.photos.rglob("*") if path.suffix.lower() == ".jpg")
    sources = [path for path in sources if min(Image.open(path).size) >= 500]
    for name, (megapixels, count, naive_count) in SETS.items():
        folder = made / name.replace(" ", "")
        resized(sources, folder, megapixels, count)
        yield f"{name}, {count} JPEGs", folder, naive_count, [DLIB]


def main() -> None:
    """Print and write a table with a row for each set and model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lfw", type=Path)
    parser.add_argument("--photos", type=Path, required=True, help="folder whose photos are resized to the other sets")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    about = machine()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        weights = Path(temporary) / "random.pt"
        torch.manual_seed(0)
        torch.save(InceptionResnetV1(pretrained=None).state_dict(), weights)
        for name, folder, naive_count, models in cases(arguments, Path(temporary)):
            rounds = [
                (naive(folder, naive_count), *(indexed(folder, model, weights) for model in models))
                for _ in range(arguments.rounds)
            ]
            for position, model in enumerate(models, start=1):
                ratios = [figures[position]["rate"] / figures[0] for figures in rounds]
                stages = {key: median(figures[position][key] for figures in rounds) for key in rounds[0][position]}
                rate = stages.pop("rate")
                rows.append(
                    {
                        "photos": name,
                        "embedder": model,
                        "naive photos/s": median(figures[0] for figures in rounds),
                        "index photos/s": rate,
                        "ratio": median(ratios),
                        "ratios": ", ".join(f"{ratio:.1f}" for ratio in ratios),
                        "stages": ", ".join(f"{key} {value:.1f} s" for key, value in stages.items()),
                    }
                )
                print(rows[-1], flush=True)
    recipe = (
        f"Whole `faceindex index`, start-up to published generation, default settings, against random photos of the "
        f"same folder (seed 0) in a loop over facenet-pytorch's MTCNN (min face 20) and InceptionResnetV1; "
        f"{arguments.rounds} rounds in turn, medians. Sets of 2 MP and more are photos of {arguments.photos.name} "
        f"resized with Lanczos and saved at quality 90, every copy at another size. InceptionResnetV1 has random "
        f"weights. Stages are seconds of all processes together."
    )
    publish("indexing", "Indexing against the naive loop", recipe, rows, about)


if __name__ == "__main__":
    main()
