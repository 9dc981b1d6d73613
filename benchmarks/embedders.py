"""Speed of the embedders on one thread of the CPU, against eager torch, and what bfloat16 changes.

    python benchmarks/embedders.py --photos lfw --onnx face_reid_0095.onnx edgeface_xs.onnx

InceptionResnetV1 has random weights. ONNX networks run in float32 always, the others where the processor has no AMX or
AVX512-BF16.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from report import machine, publish

from faceindex.arrays import l2_normalize
from faceindex.faces import dlib_resnet, inception, openvino_network
from faceindex.faces.chips import Chips
from faceindex.faces.detect import Detector
from faceindex.faces.embed import Embedder, NetworkEmbedder
from faceindex.faces.loading import build_detector, build_embedder
from faceindex.images.crawl import crawl
from faceindex.images.decode import decode
from faceindex.types import Detections, Image

ROUNDS = 5
TORCH_BATCH = 16
"""Eager torch is no faster in larger batches on one thread."""

BARS = {"dlib-resnet29": "400 faces/s", "InceptionResnetV1": "2x eager torch"}


def faces_of(folder: Path, count: int, detector: Detector) -> list[tuple[Image, Detections]]:
    """Return photos with `count` faces altogether, and the faces."""
    photos: list[tuple[Image, Detections]] = []
    found = 0
    for ref in sorted(crawl(str(folder)), key=lambda ref: ref.path):
        image = decode(Path(ref.path.decode()).read_bytes(), ref.path, 120)
        [faces] = detector.detect([image.pixels], [20.0])
        faces = faces.chosen(np.arange(min(len(faces), count - found)))
        photos.append((image, faces))
        found += len(faces)
        if found == count:
            return photos
    raise SystemExit(f"{folder} has {found} faces, {count} wanted")


@contextmanager
def in_float32() -> Iterator[None]:
    """Make networks that are loaded inside the `with` block run in float32."""
    with patch.object(openvino_network, "best_precision", lambda: "f32"):
        yield


def eager(module: torch.nn.Module, embedder: NetworkEmbedder) -> Callable[[Chips], NDArray[np.float32]]:
    """Return an embedding function that runs a module in plain torch, as one would at first."""

    def embed(chips: Chips) -> NDArray[np.float32]:
        x = embedder.family.scale(np.ascontiguousarray(chips.transpose(0, 3, 1, 2), dtype=np.float32))
        with torch.inference_mode():
            parts = [module(part).numpy() for part in torch.from_numpy(x).split(TORCH_BATCH)]
        return l2_normalize(np.concatenate(parts))

    return embed


def random_inception(chips: Chips, path: Path) -> torch.nn.Module:
    """Return an InceptionResnetV1 with random weights, also written to a file.

    Random layers would give all faces nearly the same vector; with the statistics of real faces they do not.
    """
    from facenet_pytorch import InceptionResnetV1

    torch.manual_seed(0)
    module = InceptionResnetV1(pretrained=None)
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            layer.momentum = 1.0
    pixels = inception.scale(chips[:32].transpose(0, 3, 1, 2).astype(np.float32))
    with torch.no_grad():
        module(torch.from_numpy(pixels))
    torch.save(module.eval().state_dict(), path)
    return module


def rates(works: dict[str, Callable[[], object]], count: int) -> dict[str, float]:
    """Return items per second of each, medians of rounds in which they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(ROUNDS + 1):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            if number:  # in the first one networks prepare themselves for the shapes
                seconds[name].append(time.perf_counter() - started)
    return {name: count / median(values) for name, values in seconds.items()}


def row(name: str, load: Callable[[bool], Embedder], module: torch.nn.Module | None, chips: Chips) -> dict[str, Any]:
    """Measure an embedder.

    Args:
        name: shown.
        load: gives the embedder, with mirroring or without.
        module: the same network in torch, if there is one.
        chips: as the embedder takes them.
    """
    plain, mirrored = load(False), load(True)
    with in_float32():
        exact = load(False)
    works: dict[str, Callable[[], object]] = {
        "plain": lambda: plain.embed(chips),
        "mirrored": lambda: mirrored.embed(chips),
        "f32": lambda: exact.embed(chips),
    }
    if module is not None:
        assert isinstance(plain, NetworkEmbedder)
        baseline = eager(module, plain)
        works["eager"] = lambda: baseline(chips)
    rate = rates(works, len(chips))
    cosine = (plain.embed(chips) * exact.embed(chips)).sum(axis=1)
    return {
        "embedder": name,
        "faces/s": round(rate["plain"], 1),
        "mirrored faces/s": round(rate["mirrored"], 1),
        "float32 faces/s": round(rate["f32"], 1),
        "eager torch float32 faces/s": round(rate["eager"], 1) if module else "-",
        "times eager": round(rate["plain"] / rate["eager"], 2) if module else "-",
        "bar": BARS.get(name, "-"),
        "smallest cosine to float32": round(float(cosine.min()), 6),
    }


def main() -> None:
    """Print and write a table with a row for each embedder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--faces", type=int, default=256)
    parser.add_argument("--onnx", type=Path, nargs="*", default=[])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    about = machine()
    photos = faces_of(arguments.photos, arguments.faces, build_detector("mtcnn", "cpu"))

    def chips_for(embedder: Embedder) -> Chips:
        return np.concatenate([embedder.cutter.cut(image.pixels, faces) for image, faces in photos])

    def measured(name: str, model: str, module: torch.nn.Module | None, weights: Path | None = None) -> dict[str, Any]:
        def load(mirror: bool) -> Embedder:
            return build_embedder(model, mirror=mirror, device="cpu", weights=str(weights) if weights else None)

        return row(name, load, module, chips_for(load(False)))

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "inception.pt"
        boxed = [inception.FAMILY.cutter.cut(image.pixels, faces) for image, faces in photos]
        random = random_inception(np.concatenate(boxed), file)
        dlib = dlib_resnet.build_module(dlib_resnet.read_weights(dlib_resnet.packaged_weights()))
        rows = [
            measured("dlib-resnet29", "dlib-resnet29", dlib),
            measured("InceptionResnetV1", "facenet-vggface2", random, file),
            *(measured(path.name, f"onnx:{path}", None) for path in arguments.onnx),
        ]
    recipe = (
        f"{arguments.faces} faces of {arguments.photos.name}, found by MTCNN and cut for each embedder; from chips to "
        f"unit vectors, one thread, {openvino_network.best_precision()}, ONNX files f32. Medians of {ROUNDS} rounds. "
        f"Mirrored means two forward passes a face. InceptionResnetV1 with random weights (seed 0); eager torch in "
        f"batches of {TORCH_BATCH}."
    )
    publish("embedders", "Embedders on one thread", recipe, rows, about)


if __name__ == "__main__":
    main()
