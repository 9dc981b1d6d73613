"""What the processor's quick arithmetic costs in accuracy: the whole way in float32 against the default, on LFW.

    python benchmarks/precision.py lfw-dev --pairs lfw-dev-pairs.txt

On processors with AMX or AVX512-BF16 the default is bfloat16; elsewhere both rows are float32 and must be the same.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from report import machine, publish

from faceindex.config import Settings
from faceindex.evaluation.protocols import fold_accuracies, read_pairs
from faceindex.faces import openvino_network
from faceindex.faces.prominence import by_prominence
from faceindex.faces.recogniser import Recogniser, chips_of
from faceindex.images.decode import decode
from faceindex.types import Image, PhotoFaces

FALSE_ACCEPT_RATE = 1e-3


def recogniser(precision: str) -> Recogniser:
    """Return the default recogniser with its networks in f32 or bf16."""
    with patch.object(openvino_network, "best_precision", lambda: precision):
        return Recogniser.load(Settings(), "cpu")


def main_vector(image: Image, faces: PhotoFaces) -> NDArray[np.float32] | None:
    """Return the embedding of the face a photo is about."""
    if not len(faces.detections):
        return None
    return faces.vectors[by_prominence(faces.detections.boxes, image.width, image.height)[0]]


def images(paths: list[Path]) -> Iterator[list[Image]]:
    """Yield decoded photos, 64 at a time."""
    for start in range(0, len(paths), 64):
        some = paths[start : start + 64]
        yield [decode(path.read_bytes(), bytes(path), 120, Settings().detect_side_px) for path in some]


def accuracy(vectors: dict[str, Any], pairs: Path) -> tuple[float, float]:
    """Return the mean accuracy over the folds, and the true accept rate over all pairs of photos."""
    scores, mated = [], []
    for fold in read_pairs(pairs):
        found = [(vectors.get(left), vectors.get(right)) for left, right, _ in fold]
        scores.append(np.array([np.nan if a is None or b is None else float(a @ b) for a, b in found]))
        mated.append(np.array([same for _, _, same in fold]))
    folds = [fold.accuracy for fold in fold_accuracies(scores, mated)]
    names = [name for name, vector in vectors.items() if vector is not None]
    stacked = np.stack([vectors[name] for name in names])
    people = np.array([name.rsplit("_", 1)[0] for name in names])
    above = np.triu_indices(len(names), 1)
    similarity = (stacked @ stacked.T)[above]
    same = (people[:, None] == people)[above]
    impostors = np.sort(similarity[~same])
    threshold = impostors[int(len(impostors) * (1 - FALSE_ACCEPT_RATE))]
    return float(np.mean(folds)), float((similarity[same] >= threshold).mean())


def main() -> None:
    """Print and write a table with a row for each precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lfw", type=Path)
    parser.add_argument("--pairs", required=True, type=Path)
    arguments = parser.parse_args()
    about = machine()
    names = sorted({name for fold in read_pairs(arguments.pairs) for pair in fold for name in pair[:2]})
    paths = [arguments.lfw / name.rsplit("_", 1)[0] / name for name in names]
    exact, quick = recogniser("f32"), recogniser(openvino_network.best_precision())
    vectors: dict[str, dict[str, Any]] = {"f32": {}, "default": {}}
    faces, seconds, cosines = dict.fromkeys(vectors, 0), dict.fromkeys(vectors, 0.0), []
    for some in images(paths):
        for kind, one in (("f32", exact), ("default", quick)):
            started = time.process_time()
            found = one.faces(some)
            seconds[kind] += time.process_time() - started
            faces[kind] += sum(len(photo.detections) for photo in found)
            for image, photo in zip(some, found, strict=True):
                vectors[kind][Path(image.path.decode()).name] = main_vector(image, photo)
            if kind == "f32":  # the same chips through the other network: every face, whoever found it
                chips = [
                    chips_of(image, photo.detections, exact.embedder.cutter)
                    for image, photo in zip(some, found, strict=True)
                ]
                again = quick.embedder.embed(np.concatenate(chips))
                cosines.append((again * np.concatenate([photo.vectors for photo in found])).sum(axis=1))
    cosine = np.concatenate(cosines)
    rows = []
    for kind, precision in (("f32", "f32"), ("default", openvino_network.best_precision())):
        verified, accepted = accuracy(vectors[kind], arguments.pairs)
        rows.append(
            {
                "precision": f"{kind} ({precision})" if kind == "default" else kind,
                "LFW accuracy %": 100 * verified,
                "TAR at FAR 1e-3 %": 100 * accepted,
                "faces": faces[kind],
                "smallest cosine to f32": 1.0 if kind == "f32" else float(cosine.min()),
                "CPU ms a photo": 1000 * seconds[kind] / len(paths),
            }
        )
    recipe = (
        f"The {len(paths):,} photos of {arguments.pairs.name}, detection to embedding, dlib-resnet29. Accuracy over "
        f"the folds, threshold from the other folds; TAR over all pairs of these photos. Cosines between embeddings "
        f"of the same chip, for every one of {len(cosine):,} faces."
    )
    publish("precision", "Accuracy of the quick arithmetic", recipe, rows, about)


if __name__ == "__main__":
    main()
