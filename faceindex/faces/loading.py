"""From the name of a model to a detector or embedder that is ready to run, and to the id of what it will make."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from faceindex.faces import mtcnn
from faceindex.faces import weights as weight_files
from faceindex.faces.detect import Detector
from faceindex.faces.embed import Embedder, Family, NetworkEmbedder
from faceindex.faces.models import DIGEST_DIGITS, ONNX, Model, find, onnx_embedder, onnx_file, weights_of
from faceindex.faces.networks import Network, resolve_device
from faceindex.faces.onnx_embedder import OnnxNetwork
from faceindex.faces.openvino_network import load_network
from faceindex.faces.weights import WeightsFile
from faceindex.types import ModelId

if TYPE_CHECKING:
    import torch

PREPROCESSING = 1
"""Raise it when the way faces are cut or scaled changes (templates, `chips`, `align`, `scale`): it is part of every
`ModelId`, so that embeddings of both ways are never mixed."""

DECODING = 1
"""Raise it when the way ONNX detectors see pictures or their outputs are read changes: it is part of their id."""


def build_detector(name: str, device: str = "auto") -> Detector:
    """Load a detector.

    Args:
        name: in the table, or `onnx:FILE` for YuNet, SCRFD, Ultra-Light or BlazeFace, also as `settled_detector` gives
            it.
        device: auto, cpu or cuda; ONNX files run on the CPU always.

    Raises:
        ConfigError: unknown name.
        WeightsError: the file cannot be read, is no detector of a known kind, or is another than when it was settled.
    """
    if name.startswith(ONNX):
        from faceindex.faces.onnx_detector import load_onnx_detector

        return load_onnx_detector(onnx_file(name)[0], detector_id(name))
    find(name, "detector")
    if resolve_device(device) == "cuda":
        from faceindex.faces.device_mtcnn import build_device_mtcnn

        return build_device_mtcnn()
    return mtcnn.build_mtcnn()


def detector_id(name: str) -> str:
    """Return what a detector's `id` will be, without loading it; raises what `build_detector` raises for its name."""
    if name.startswith(ONNX):
        return f"onnx@{onnx_file(name)[1][:DIGEST_DIGITS]} decoding={DECODING}"
    find(name, "detector")
    return mtcnn.Mtcnn.id


def settled_detector(name: str) -> str:
    """Return the name that a catalog keeps: of an ONNX file with its absolute path and its digest.

    So the same file is found from any folder, and another one in its place is noticed and refused. Raises what
    `build_detector` raises for the name.
    """
    if name.startswith(ONNX):
        from faceindex.faces.onnx_detector import read_detector

        path, digest = onnx_file(name)
        read_detector(path)
        return f"{ONNX}{path.resolve()}@{digest[:DIGEST_DIGITS]}"
    return find(name, "detector").name


def build_embedder(name: str, *, mirror: bool, device: str = "auto", weights: str | None = None) -> Embedder:
    """Load an embedder.

    Args:
        name: in the table, or `onnx:FILE` for a network that takes aligned faces (see `onnx_embedder.family_of`), also
            as `settled_embedder` gives it.
        mirror: average each embedding with that of the mirrored face.
        device: auto, cpu or cuda; ONNX files run on the CPU always.
        weights: file to read instead of the packaged or fetched one, or than the one the name tells.

    Raises:
        ConfigError: unknown name.
        WeightsError: the weights are missing or damaged; the message says how to get them.
    """
    model, family, file = _embedder(name, weights)
    identity = _model_id(model, file, mirror=mirror)
    network: Network
    if family.build is None:
        weight_files.check_sha256(file.path, file.sha256)
        network = OnnxNetwork(file.path, family)
    elif resolve_device(device) == "cuda":
        from faceindex.faces.device_embedder import build_device_embedder

        return build_device_embedder(identity, family, _module(family.build, file), mirror=mirror)
    else:
        shape = (-1, 3, family.cutter.size, family.cutter.size)
        network = load_network(name, file.sha256, partial(_module, family.build, file), shape)
    return NetworkEmbedder(identity, family, network, mirror)


def embedder_id(name: str, *, mirror: bool, weights: str | None = None) -> ModelId:
    """Return what an embedder's `model` will be, without loading it; raises what `build_embedder` raises."""
    model, _, file = _embedder(name, weights)
    return _model_id(model, file, mirror=mirror)


def settled_embedder(name: str) -> str:
    """Return the name that a catalog keeps: of an ONNX file with its absolute path and its digest.

    So the same file is found from any folder, and another one in its place is noticed and refused. Raises what
    `build_embedder` raises for the name.
    """
    if name.startswith(ONNX):
        path, digest = onnx_file(name)
        onnx_embedder(path, digest)
        return f"{ONNX}{path.resolve()}@{digest[:DIGEST_DIGITS]}"
    return find(name, "embedder").name


def _embedder(name: str, path: str | None) -> tuple[Model, Family, WeightsFile]:
    """Return a model of the table or of an ONNX file, how it wants faces, and its weights, unchecked."""
    if name.startswith(ONNX):
        model = onnx_embedder(*onnx_file(name, path))
        path = None
    else:
        model = find(name, "embedder")
    assert model.family is not None
    if path is None:
        return model, model.family, weights_of(model)
    digest = weight_files.sha256_of_onnx(Path(path))
    return model, model.family, WeightsFile(Path(path), digest, digest)


def _module(build: Callable[[Path], "torch.nn.Module"], file: WeightsFile) -> "torch.nn.Module":
    weight_files.check_sha256(file.path, file.sha256)
    return build(file.path)


def _model_id(model: Model, file: WeightsFile, *, mirror: bool) -> ModelId:
    described = f"{model.name} {file.published_sha256} mirror={mirror} preprocessing={PREPROCESSING}"
    return ModelId(f"{model.name}@{blake3(described.encode()).hexdigest()[:12]}")
