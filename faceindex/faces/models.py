"""The table of models: what each is, where its weights come from, and what may be done with them."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from blake3 import blake3

from faceindex.errors import ConfigError, WeightsError
from faceindex.faces import dlib_resnet, inception, mtcnn
from faceindex.faces import weights as weight_files
from faceindex.faces.detect import Detector
from faceindex.faces.embed import Embedder, Family, NetworkEmbedder
from faceindex.faces.networks import load_network
from faceindex.faces.weights import WeightsFile
from faceindex.types import ModelId

if TYPE_CHECKING:
    import torch

PREPROCESSING = 1
"""Raise it when the way faces are cut or scaled changes (`TEMPLATE`, `align`, `cut`, `scale`): it is part of every
`ModelId`, so that embeddings of both ways are never mixed."""

Status = Literal["ready", "missing", "damaged"]


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of the table."""

    name: str
    kind: Literal["detector", "embedder"]
    summary: str
    licence: str
    commercial_ok: Literal["yes", "no", "unclear"]
    family: Family | None = None
    """Architecture of an embedder."""
    files: tuple[tuple[Callable[[], Path], str], ...] = ()
    """Weights that a package brings: where they are, and their SHA-256."""
    url: str | None = None
    """Where the weights are fetched from when no package brings them."""
    sha256: str | None = None
    """Of what the URL gives; None when it is not known in advance and is noted at the first fetch."""

    @property
    def dimension(self) -> int | None:
        return self.family.dimension if self.family else None


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
            dlib_resnet.FAMILY,
            files=((dlib_resnet.packaged_weights, dlib_resnet.SHA256),),
        ),
        Model(
            "facenet-vggface2",
            "embedder",
            "facenet-pytorch's InceptionResnetV1 trained on VGGFace2",
            FACENET_LICENCE,
            "unclear",
            inception.FAMILY,
            url=f"{FACENET_RELEASE}/20180402-114759-vggface2.pt",
        ),
        Model(
            "facenet-casia",
            "embedder",
            "facenet-pytorch's InceptionResnetV1 trained on CASIA-WebFace",
            FACENET_LICENCE,
            "unclear",
            inception.FAMILY,
            url=f"{FACENET_RELEASE}/20180408-102900-casia-webface.pt",
        ),
    )
}


def find(name: str, kind: str | None = None) -> Model:
    """Return a model by name; raises `ConfigError` that lists the known ones."""
    known = [model.name for model in MODELS.values() if kind in (None, model.kind)]
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ConfigError(f"unknown {kind or 'model'} {name!r} (known: {', '.join(known)}){hint}")
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
    family, file = _embedder(name, weights)
    shape = (-1, 3, family.size, family.size)
    network = load_network(name, file.sha256, partial(_module, family, file), shape, device)
    return NetworkEmbedder(_model_id(name, file, mirror=mirror), family, network, mirror)


def embedder_id(name: str, *, mirror: bool, weights: str | None = None) -> ModelId:
    """Return what an embedder's `model` will be, without loading it; raises what `build_embedder` raises."""
    _, file = _embedder(name, weights)
    return _model_id(name, file, mirror=mirror)


def fetch(name: str) -> WeightsFile | None:
    """Download a model's weights unless they are here and whole; None when a package brings them.

    Where the table has no SHA-256, what the first download had is noted, and its `published_sha256` should be shown.

    Raises:
        ConfigError: unknown name.
        WeightsError: they cannot be downloaded, or are not what was expected.
    """
    model = find(name)
    if model.url is None:
        return None
    return _weights_of(model) if verify(name) == "ready" else weight_files.fetch(name, model.url, model.sha256)


def verify(name: str) -> Status:
    """Return whether a model's weights are there and are what they should be; reads them whole."""
    model = find(name)
    try:
        if model.url:
            file = _weights_of(model)
            wanted = [(file.path, file.sha256)]
        else:
            wanted = [(path(), digest) for path, digest in model.files]
        return "ready" if all(weight_files.sha256_of(path) == digest for path, digest in wanted) else "damaged"
    except WeightsError:
        return "missing"


def _embedder(name: str, path: str | None) -> tuple[Family, WeightsFile]:
    model = find(name, "embedder")
    assert model.family is not None
    if path is None:
        return model.family, _weights_of(model)
    digest = weight_files.sha256_of(Path(path))
    return model.family, WeightsFile(Path(path), digest, digest)


def _weights_of(model: Model) -> WeightsFile:
    """Return the packaged or fetched weights of an embedder, unchecked."""
    if model.url is None:
        [(path, digest)] = model.files
        return WeightsFile(path(), digest, digest)
    if (file := weight_files.fetched(model.name)) is None:
        raise WeightsError(
            f"the weights of {model.name} are not on this machine; run: faceindex models fetch {model.name} "
            f"(or give a file with --weights)"
        )
    return file


def _module(family: Family, file: WeightsFile) -> "torch.nn.Module":
    weight_files.check_sha256(file.path, file.sha256)
    return family.build(file.path)


def _model_id(name: str, file: WeightsFile, *, mirror: bool) -> ModelId:
    described = f"{name} {file.published_sha256} mirror={mirror} preprocessing={PREPROCESSING}"
    return ModelId(f"{name}@{blake3(described.encode()).hexdigest()[:12]}")
