"""The table of models: what each is, where its weights come from, and what may be done with them."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Literal

from faceindex.errors import ConfigError, WeightsError
from faceindex.faces import dlib_resnet, inception, mtcnn
from faceindex.faces import weights as weight_files
from faceindex.faces.embed import Family
from faceindex.faces.onnx_embedder import (
    IMAGENET,
    RAW,
    RETAIL_FAMILY,
    arcface_family,
    family_of,
)
from faceindex.faces.weights import WeightsFile

ONNX = "onnx:"
"""How the name of a detector or embedder begins that is a file."""

DIGEST_DIGITS = 12
"""Hexadecimal digits of a file's SHA-256 that stand for it."""

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
    """Where the weights are fetched from when no package brings them; without one either, a user must name the file."""
    sha256: str | None = None
    """Of the file as its authors publish it; None when it is not known in advance and is noted at the first fetch. An
    ONNX file that has it is taken for this model, whatever its name."""

    @property
    def dimension(self) -> int | None:
        return self.family.dimension if self.family else None


FACENET_RELEASE = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9"
FACENET_LICENCE = "code MIT; weights trained on a research dataset whose terms for use of the weights are unclear"
OPENCV_ZOO = "https://github.com/opencv/opencv_zoo/raw/47534e27c9851bb1128ccc0102f1145e27f23f98/models"

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
        Model(
            "sface",
            "embedder",
            "OpenCV Zoo's SFace, a MobileFaceNet",
            "Apache-2.0; trained on research datasets",
            "unclear",
            arcface_family(128, RAW),
            url=f"{OPENCV_ZOO}/face_recognition_sface/face_recognition_sface_2021dec.onnx",
            sha256="0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
        ),
        Model(
            "auraface",
            "embedder",
            "fal's AuraFace, a ResNet-100 of 260 MB trained on data free for commercial use",
            "Apache-2.0",
            "yes",
            arcface_family(512),
            url="https://huggingface.co/fal/AuraFace-v1/resolve/main/glintr100.onnx",
            sha256="a7933ea5330113b01c9b60351d8f4c33003f145d8470ac5f0e52ee2effe25c60",
        ),
        Model(
            "omz-0095",
            "embedder",
            "Open Model Zoo's face-reidentification-retail-0095 as ONNX; give the file with --weights",
            "Apache-2.0",
            "yes",
            RETAIL_FAMILY,
            sha256="e7030e413f8a65751ef0c91787dde161cb2d188cfb559fad63b9159c250a1f6b",
        ),
        Model(
            "edgeface-xs",
            "embedder",
            "EdgeFace-XS as ONNX; give the file with --weights",
            "BSD-3-Clause, on model hubs also CC BY-NC-SA 4.0; trained on a research dataset",
            "unclear",
            arcface_family(512),
            sha256="7b57a607c7f49980fa72e5f72b2892ed4b4e78fd93fca78b8f67da6bc6ca6541",
        ),
        Model(
            "mobilefacenet",
            "embedder",
            "foamliu's MobileFaceNet as ONNX; give the file with --weights",
            "Apache-2.0; trained on a dataset that was withdrawn",
            "unclear",
            arcface_family(128, IMAGENET),
            sha256="b7120c095d60094f28a4a54ba6a8bf51b297a6273fb40ef6350dfec1f63d9507",
        ),
        Model(
            "buffalo-l",
            "embedder",
            "InsightFace's w600k_r50.onnx of the pack buffalo_l; give the file with --weights",
            "for non-commercial research only",
            "no",
            arcface_family(512),
            sha256="4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
        ),
    )
}


def find(name: str, kind: str | None = None) -> Model:
    """Return a model by name; an embedder also by `onnx:FILE`.

    Raises:
        ConfigError: unknown name; the message lists the known ones.
        WeightsError: the file cannot be read, or holds no embedder.
    """
    if kind == "embedder" and name.startswith(ONNX):
        return onnx_embedder(*onnx_file(name))
    known = [model.name for model in MODELS.values() if kind in (None, model.kind)]
    if name not in known:
        close = get_close_matches(name, known, n=1)
        known += ["onnx:FILE"] if kind else []
        hint = f"; did you mean {close[0]}?" if close else ""
        if kind == "embedder":
            hint += " (embeddings of other models come by `faceindex import` and are searched with --vectors)"
        raise ConfigError(f"unknown {kind or 'model'} {name!r} (known: {', '.join(known)}){hint}")
    return MODELS[name]


def onnx_file(name: str, moved: str | None = None) -> tuple[Path, str]:
    """Return the file that `onnx:FILE` or `onnx:FILE@DIGEST` names, or where it was moved to, and its SHA-256."""
    file, _, settled = name.removeprefix(ONNX).rpartition("@")
    if not re.fullmatch(f"[0-9a-f]{{{DIGEST_DIGITS}}}", settled):
        file, settled = name.removeprefix(ONNX), ""
    path = Path(moved or file)
    digest = weight_files.sha256_of_onnx(path)
    if not digest.startswith(settled):
        raise WeightsError(
            f"{path} has sha256 {digest[:DIGEST_DIGITS]}..., {settled}... wanted; the catalog was made with another "
            f"file: put it back"
        )
    return path, digest


def fetch(name: str) -> WeightsFile | None:
    """Download a model's weights unless they are here and whole; None when a package brings them.

    Where the table has no SHA-256, what the first download had is noted, and its `published_sha256` should be shown.

    Raises:
        ConfigError: unknown name.
        WeightsError: they cannot be downloaded, or are not what was expected.
    """
    model = find(name)
    if model.url is None:
        if not model.files:
            raise WeightsError(_unnamed(model))
        return None
    return weights_of(model) if verify(name) == "ready" else weight_files.fetch(name, model.url, model.sha256)


def verify(name: str) -> Status:
    """Return whether a model's weights are there and are what they should be; reads them whole."""
    model = find(name)
    try:
        if model.files:
            wanted = [(path(), digest) for path, digest in model.files]
        else:
            file = weights_of(model)
            wanted = [(file.path, file.sha256)]
        return "ready" if all(weight_files.sha256_of_onnx(path) == digest for path, digest in wanted) else "damaged"
    except WeightsError:
        return "missing"


def onnx_embedder(path: Path, sha256: str) -> Model:
    """Return what is known of an embedder in an ONNX file: the table's entry if it is one of them."""
    file = ((lambda: path, sha256),)
    for model in MODELS.values():
        if model.kind == "embedder" and model.sha256 == sha256:
            return replace(model, files=file)
    return Model("onnx", "embedder", "a network of your own", "unknown", "unclear", family_of(path), file)


def weights_of(model: Model) -> WeightsFile:
    """Return the weights of an embedder that a package brings, a user named or that were fetched, unchecked."""
    if model.files:
        [(path, digest)] = model.files
        return WeightsFile(path(), digest, digest)
    if model.url is None:
        raise WeightsError(_unnamed(model))
    if (file := weight_files.fetched(model.name, model.url)) is None:
        raise WeightsError(
            f"the weights of {model.name} are not on this machine; run: faceindex models fetch {model.name} "
            f"(or give a file with --weights)"
        )
    return file


def _unnamed(model: Model) -> str:
    return f"the weights of {model.name} cannot be fetched; give the ONNX file with --weights FILE"
