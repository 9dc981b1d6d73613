"""The table of models: what each is, where its weights come from, and what may be done with them."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from faceindex.errors import ConfigError, WeightsError
from faceindex.faces import dlib_resnet, inception, mtcnn
from faceindex.faces import weights as weight_files
from faceindex.faces.align import align
from faceindex.faces.detect import Detector
from faceindex.faces.embed import Embedder, NetworkEmbedder
from faceindex.faces.networks import load_network
from faceindex.types import Detections, ModelId

PREPROCESSING = 1
"""Raise it when the way faces are cut or scaled changes: embeddings of both ways must not be mixed."""

DLIB_TEMPLATE = np.array(
    [[48.095, 46.487], [101.905, 46.487], [75.0, 78.957], [51.398, 106.043], [98.602, 106.043]], np.float64
)
"""Where MTCNN's landmarks fall in dlib's own 150-pixel chips: their mean over 500 faces, made symmetric."""

Status = Literal["ready", "missing", "damaged"]


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of the table."""

    name: str
    kind: Literal["detector", "embedder"]
    summary: str
    licence: str
    commercial_ok: Literal["yes", "no", "unclear"]
    files: tuple[tuple[Callable[[], Path], str], ...] = ()
    """Weights that a package brings: where they are, and their SHA-256."""
    url: str | None = None
    """Where the weights are fetched from when no package brings them."""
    sha256: str | None = None
    """Of what the URL gives; None when it is not known in advance and is noted at the first fetch."""
    dimension: int | None = None


FACENET_RELEASE = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9"
FACENET_LICENCE = "code MIT; weights trained on a research dataset whose terms for use of the weights are unclear"

MODELS = {
    model.name: model
    for model in (
        Model(
            "mtcnn",
            "detector",
            "faces from 12 px on with five landmarks; facenet-pytorch's P-, R- and O-Net, run in packed batches",
            "MIT",
            "yes",
            files=tuple((partial(mtcnn.weights_file, name), digest) for name, digest in mtcnn.SHA256.items()),
        ),
        Model(
            "dlib-resnet29",
            "embedder",
            "dlib's face-recognition network; the default, works offline",
            "CC0",
            "yes",
            files=(
                (
                    dlib_resnet.packaged_weights,
                    "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
                ),
            ),
            dimension=dlib_resnet.DIMENSION,
        ),
        Model(
            "facenet-vggface2",
            "embedder",
            "facenet-pytorch's InceptionResnetV1 trained on VGGFace2",
            FACENET_LICENCE,
            "unclear",
            url=f"{FACENET_RELEASE}/20180402-114759-vggface2.pt",
            dimension=inception.DIMENSION,
        ),
        Model(
            "facenet-casia",
            "embedder",
            "facenet-pytorch's InceptionResnetV1 trained on CASIA-WebFace",
            FACENET_LICENCE,
            "unclear",
            url=f"{FACENET_RELEASE}/20180408-102900-casia-webface.pt",
            dimension=inception.DIMENSION,
        ),
    )
}


def find(name: str, kind: str | None = None) -> Model:
    """Return a model by name; raises `ConfigError` that lists the known ones."""
    known = [model.name for model in MODELS.values() if kind in (None, model.kind)]
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ConfigError(f"unknown {kind or 'model'} {name!r}{hint} Known: {', '.join(known)}")
    return MODELS[name]


def build_detector(name: str, *, min_face_px: int, device: str = "auto") -> Detector:
    """Load a detector; `min_face_px` is the smallest face looked for, in pixels of what it is given."""
    find(name, "detector")
    return mtcnn.build_mtcnn(min_face_px, device)


def detector_id(name: str) -> str:
    """Return what a detector's `id` will be, without loading it."""
    find(name, "detector")
    return mtcnn.Mtcnn.id


def build_embedder(name: str, *, mirror: bool, device: str = "auto", weights: str | None = None) -> Embedder:
    """Load an embedder.

    Args:
        name: in the table.
        mirror: average each embedding with that of the mirrored face.
        device: auto, cpu or cuda.
        weights: file to read instead of the packaged or fetched one.

    Raises:
        ConfigError: unknown name.
        WeightsError: the weights are missing or damaged; the message says how to get them.
    """
    model = find(name, "embedder")
    path, digest = _weights_of(model, weights)
    identity = _model_id(name, digest, mirror)
    if name == "dlib-resnet29":
        size = dlib_resnet.INPUT_SIZE
        network = load_network(name, digest, partial(dlib_resnet.load_module, path), (-1, 3, size, size), device)
        return NetworkEmbedder(identity, dlib_resnet.DIMENSION, size, network, _dlib_chips, _unscaled, mirror)
    size = inception.INPUT_SIZE
    network = load_network(name, digest, partial(inception.build_module, path, digest), (-1, 3, size, size), device)
    return NetworkEmbedder(identity, inception.DIMENSION, size, network, inception.cut, inception.scale, mirror)


def embedder_id(name: str, *, mirror: bool, weights: str | None = None) -> ModelId:
    """Return what an embedder's `model` will be, without loading it; raises what `build_embedder` raises."""
    _, digest = _weights_of(find(name, "embedder"), weights)
    return _model_id(name, digest, mirror)


def fetch(name: str) -> Path | None:
    """Download a model's weights; None when a package brings them and there is nothing to fetch."""
    model = find(name)
    return weight_files.fetch(name, model.url, model.sha256) if model.url else None


def verify(name: str) -> Status:
    """Return whether a model's weights are there and are what they should be."""
    model = find(name)
    try:
        if model.url:
            path, wanted = weight_files.fetched_path(name), weight_files.pinned_sha256(name)
            if not path.exists():
                return "missing"
            return "ready" if weight_files.sha256_of(path) == wanted else "damaged"
        return "ready" if all(weight_files.sha256_of(path()) == digest for path, digest in model.files) else "damaged"
    except WeightsError:
        return "missing"


def _weights_of(model: Model, path: str | None) -> tuple[Path, str]:
    """Return the file an embedder's weights are in, and its SHA-256."""
    if path is not None:
        return Path(path), weight_files.sha256_of(Path(path))
    if not model.url:
        [(packaged, digest)] = model.files
        found = packaged()
        if (actual := weight_files.sha256_of(found)) != digest:
            raise WeightsError(f"{found} has sha256 {actual}, {digest} wanted; install its package again")
        return found, digest
    if verify(model.name) != "ready":
        raise WeightsError(
            f"the weights of {model.name} are {verify(model.name)}; run: faceindex models fetch {model.name} "
            f"(or give a file with --weights)"
        )
    pinned = weight_files.pinned_sha256(model.name)
    assert pinned is not None
    return weight_files.fetched_path(model.name), pinned


def _model_id(name: str, digest: str, mirror: bool) -> ModelId:
    described = f"{name} {digest} mirror={mirror} preprocessing={PREPROCESSING}"
    return ModelId(f"{name}@{blake3(described.encode()).hexdigest()[:12]}")


def _dlib_chips(pixels: NDArray[np.uint8], detections: Detections, size: int) -> NDArray[np.uint8]:
    return align(pixels, detections.landmarks, DLIB_TEMPLATE, size)


def _unscaled(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    return pixels  # dlib's network subtracts the mean itself
