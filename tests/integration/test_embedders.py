"""Embedders with real networks against what they come from: dlib, facenet-pytorch, and ONNX files in onnxruntime."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from faceindex.faces import dlib_resnet, inception, openvino_network
from faceindex.faces.chips import Chips
from faceindex.faces.dlib_resnet import build_module, packaged_weights, read_weights
from faceindex.faces.embed import Embedder, NetworkEmbedder
from faceindex.faces.loading import build_detector, build_embedder, settled_embedder
from faceindex.types import Detections
from tests.support.archives import ROOT, portrait

LEAST_COSINE = 0.999
"""Between a face's embeddings in bfloat16 and in float32."""

ONNX_FILES = {
    "omz-0095": "openvino-face-reid-retail-0095/face_reid_0095_fp32.onnx",
    "edgeface-xs": "edgeface-xs/edgeface_xs_q_fp32.onnx",
    "mobilefacenet": "mobilefacenet-foamliu/MobileFaceNet.onnx",
}

LANDMARKS = {
    "astronaut": ((105.0, 101.7), (146.8, 103.7), (124.7, 129.0), (101.7, 139.2), (145.3, 141.9)),
    "hopper": ((110.9, 96.2), (154.9, 93.1), (134.7, 119.7), (116.4, 139.9), (153.3, 138.0)),
}
"""Where MTCNN sees the faces of the portraits."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of converted networks that is empty at first."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACEINDEX_CACHE", str(folder))
        yield folder


@pytest.fixture
def bf16() -> None:
    """Skips a test where the processor does not multiply bfloat16."""
    if openvino_network.best_precision() != "bf16":
        pytest.skip("this processor does not multiply bfloat16")


def in_precision(precision: str) -> AbstractContextManager[object]:
    """Make networks that are loaded in the `with` block run in bf16 or f32, whatever the processor is best at."""
    return patch.object(openvino_network, "best_precision", lambda: precision)


@pytest.fixture(scope="module")
def exact(cache: Path) -> Embedder:
    with in_precision("f32"):
        return build_embedder("dlib-resnet29", mirror=False, device="cpu")


@pytest.fixture(scope="module")
def plain(cache: Path) -> Embedder:
    return build_embedder("dlib-resnet29", mirror=False, device="cpu")


@pytest.fixture(scope="module")
def mirrored(cache: Path) -> Embedder:
    return build_embedder("dlib-resnet29", mirror=True, device="cpu")


@pytest.fixture(scope="module")
def pairs(shared_data: Path) -> list[tuple[NDArray[np.uint8], Detections]]:
    """Return photos of LFW and the face each is about: two of a person come one after the other, 48 altogether."""
    people = [sorted(folder.glob("*.jpg"))[:2] for folder in sorted((shared_data / "lfw-dev").iterdir())]
    paths = [path for two in [two for two in people if len(two) == 2][::40][:24] for path in two]
    photos = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    found = build_detector("mtcnn", "cpu").detect(photos, [60.0] * len(photos))
    middles = [np.abs((faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2 - 125).sum(axis=1) for faces in found]
    chosen = [faces.chosen(np.argsort(middle)[:1]) for faces, middle in zip(found, middles, strict=True)]
    assert all(len(face) == 1 for face in chosen)
    return list(zip(photos, chosen, strict=True))


def chips_of(pairs: list[tuple[NDArray[np.uint8], Detections]], embedder: Embedder) -> Chips:
    return np.concatenate([embedder.cutter.cut(photo, face) for photo, face in pairs])


def portraits(count: int) -> NDArray[np.uint8]:
    """Return chips of two people, each cut a little differently, uint8 (n, 150, 150, 3)."""
    generator = np.random.default_rng(0)
    chips = []
    for index in range(count):
        name = ("astronaut", "hopper")[index % 2]
        points = np.array([LANDMARKS[name]]) + generator.normal(0, 3, (1, 5, 2))
        face = Detections(np.zeros((1, 4), np.float32), points.astype(np.float32), np.ones(1, np.float32))
        chips.append(dlib_resnet.FAMILY.cutter.cut(np.asarray(portrait(name)), face))
    return np.concatenate(chips)


def dlib_descriptors(chips: NDArray[np.uint8]) -> NDArray[np.float64]:
    dlib = pytest.importorskip("dlib")
    network = dlib.face_recognition_model_v1(str(packaged_weights()))
    return np.array([network.compute_face_descriptor(chip) for chip in chips])


def raw(embedder: Embedder, chips: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the network's own outputs, which are not of unit length."""
    assert isinstance(embedder, NetworkEmbedder)
    [vectors] = embedder.network(np.ascontiguousarray(chips.transpose(0, 3, 1, 2), dtype=np.float32))
    return vectors


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float64]:  # type: ignore[type-arg]
    return vectors / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)


def test_dlib_resnet29_in_float32_equals_dlib_on_portraits(exact: Embedder) -> None:
    chips = portraits(8)

    expected = dlib_descriptors(chips)

    pixels = torch.from_numpy(chips).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        module = build_module(read_weights(packaged_weights()))(pixels).numpy()
    assert np.linalg.norm(expected, axis=1).min() > 1
    assert np.abs(module - expected).max() < 1e-5
    assert np.abs(raw(exact, chips) - expected).max() < 1e-5
    assert np.abs(exact.embed(chips) - unit(expected)).max() < 1e-5


@pytest.mark.slow
def test_dlib_resnet29_in_float32_equals_dlib_on_real_photos(
    pairs: list[tuple[NDArray[np.uint8], Detections]], exact: Embedder
) -> None:
    chips = chips_of(pairs, exact)

    assert np.abs(raw(exact, chips) - dlib_descriptors(chips)).max() < 1e-5


def test_two_photos_of_a_person_are_alike_and_two_people_are_not(mirrored: Embedder) -> None:
    vectors = mirrored.embed(portraits(8))

    similarities = vectors @ vectors.T
    same = np.add.outer(np.arange(8), np.arange(8)) % 2 == 0
    # dlib's vectors lie in a narrow cone: even strangers have about 0.85.
    assert similarities[same].min() > similarities[~same].max() + 0.05


def test_the_mirrored_average_is_that_of_both_outputs(plain: Embedder, mirrored: Embedder) -> None:
    chips = portraits(5)

    vectors = mirrored.embed(chips)

    assert np.abs(vectors - unit(raw(plain, chips) + raw(plain, chips[:, :, ::-1]))).max() < 1e-6
    assert np.abs(vectors - mirrored.embed(np.ascontiguousarray(chips[:, :, ::-1]))).max() < 1e-6
    assert np.abs(vectors - plain.embed(chips)).max() > 1e-3
    assert mirrored.model != plain.model


@pytest.mark.parametrize("precision", ["f32", None], ids=["float32", "the processor's best"])
def test_a_vector_has_the_same_bytes_whatever_chips_come_with_it(cache: Path, precision: str | None) -> None:
    """Data files must not depend on which photos share a batch."""
    chips = portraits(35)
    with in_precision(precision or openvino_network.best_precision()):
        embedder = build_embedder("dlib-resnet29", mirror=True, device="cpu")

    together = embedder.embed(chips)

    for count in (1, 7, 32):
        parts = [embedder.embed(chips[start : start + count]) for start in range(0, len(chips), count)]
        assert np.concatenate(parts).tobytes() == together.tobytes()
    assert embedder.embed(chips[::-1])[::-1].tobytes() == together.tobytes()
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_with_a_warm_cache_torch_is_never_imported_and_the_bytes_are_the_same(mirrored: Embedder, cache: Path) -> None:
    chips = portraits(3)
    np.save(cache / "chips.npy", chips)
    code = (
        "import sys, numpy as np\n"
        "from faceindex.faces.loading import build_embedder\n"
        "vectors = build_embedder('dlib-resnet29', mirror=True, device='cpu').embed(np.load(sys.argv[1]))\n"
        "assert not {'torch', 'torchvision', 'facenet_pytorch'} & set(sys.modules), 'torch was imported'\n"
        "np.save(sys.argv[2], vectors)\n"
    )

    command = [sys.executable, "-c", code, str(cache / "chips.npy"), str(cache / "vectors.npy")]
    subprocess.run(command, env={**os.environ, "FACEINDEX_CACHE": str(cache)}, cwd=ROOT, check=True)

    assert np.load(cache / "vectors.npy").tobytes() == mirrored.embed(chips).tobytes()


@pytest.fixture(scope="module")
def random_inception(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, str]:
    """An InceptionResnetV1 with random weights, and a file with them."""
    from facenet_pytorch import InceptionResnetV1

    torch.manual_seed(5)
    module = InceptionResnetV1(pretrained=None, classify=True, num_classes=7)
    # Random layers would give every face nearly the same vector; statistics of faces spread them again.
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            layer.momentum = 1.0
    with torch.no_grad():
        module(torch.from_numpy(inception.scale(boxed_portraits(8).transpose(0, 3, 1, 2).astype(np.float32))))
    path = tmp_path_factory.mktemp("weights") / "random.pt"
    torch.save(module.eval().state_dict(), path)
    module.classify = False
    return module, str(path)


BOXES = {"astronaut": (81.2, 62.6, 168.4, 172.1), "hopper": (87.1, 60.3, 178.5, 170.9)}


def boxed_portraits(count: int) -> Chips:
    """Return chips of two people, each cut a little differently, uint8 (n, 160, 160, 3)."""
    generator = np.random.default_rng(0)
    chips = []
    for index in range(count):
        name = ("astronaut", "hopper")[index % 2]
        box = np.array([BOXES[name]]) + generator.normal(0, 4, (1, 4))
        face = Detections(box.astype(np.float32), np.zeros((1, 5, 2), np.float32), np.ones(1, np.float32))
        chips.append(inception.FAMILY.cutter.cut(np.asarray(portrait(name)), face))
    return np.concatenate(chips)


@pytest.mark.slow
def test_facenet_in_float32_equals_facenet_pytorch(cache: Path, random_inception: tuple[torch.nn.Module, str]) -> None:
    from facenet_pytorch import extract_face, fixed_image_standardization

    module, path = random_inception
    photos = [(portrait(name), np.array(box, np.float32)) for name, box in BOXES.items()]
    inputs = torch.stack([fixed_image_standardization(extract_face(photo, box)) for photo, box in photos])
    with torch.inference_mode():
        expected = module(inputs).numpy()
    with in_precision("f32"):
        embedder = build_embedder("facenet-vggface2", mirror=False, device="cpu", weights=path)

    faces = [Detections(box[None], np.zeros((1, 5, 2), np.float32), np.ones(1, np.float32)) for _, box in photos]
    cut = [embedder.cutter.cut(np.asarray(photo), face) for (photo, _), face in zip(photos, faces, strict=True)]
    vectors = embedder.embed(np.concatenate(cut))

    assert vectors.shape == (2, inception.DIMENSION)
    assert embedder.dimension == inception.DIMENSION
    assert expected[0] @ expected[1] < 0.99
    assert np.abs(vectors - expected).max() < 1e-5


def cosines_between_precisions(load: Callable[[], Embedder], chips: Chips) -> NDArray[np.float32]:
    vectors = []
    for precision in ("bf16", "f32"):
        with in_precision(precision):
            vectors.append(load().embed(chips))
    assert not np.array_equal(*vectors)
    return np.asarray((vectors[0] * vectors[1]).sum(axis=1))


def test_bfloat16_leaves_portraits_where_they_are(cache: Path, bf16: None) -> None:
    def load() -> Embedder:
        return build_embedder("dlib-resnet29", mirror=False, device="cpu")

    assert cosines_between_precisions(load, portraits(24)).min() >= LEAST_COSINE


def test_bfloat16_leaves_every_face_where_it_is(
    cache: Path,
    bf16: None,
    pairs: list[tuple[NDArray[np.uint8], Detections]],
    random_inception: tuple[torch.nn.Module, str],
) -> None:
    for name, weights in (("dlib-resnet29", None), ("facenet-vggface2", random_inception[1])):

        def load(name: str = name, weights: str | None = weights) -> Embedder:
            return build_embedder(name, mirror=False, device="cpu", weights=weights)

        assert cosines_between_precisions(load, chips_of(pairs, load())).min() >= LEAST_COSINE


def by_onnxruntime(path: Path, embedder: Embedder, chips: Chips) -> NDArray[np.float64]:
    onnxruntime = pytest.importorskip("onnxruntime")
    assert isinstance(embedder, NetworkEmbedder)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    [given] = session.get_inputs()
    x = embedder.family.scale(np.ascontiguousarray(chips.transpose(0, 3, 1, 2), dtype=np.float32))
    return unit(np.concatenate([session.run(None, {given.name: face[None]})[0].reshape(1, -1) for face in x]))


@pytest.mark.parametrize("name", ONNX_FILES)
def test_onnx_embedders_are_recognised_and_equal_onnxruntime(
    shared_data: Path, pairs: list[tuple[NDArray[np.uint8], Detections]], name: str
) -> None:
    path = shared_data / "weights" / ONNX_FILES[name]
    embedder = build_embedder(settled_embedder(f"onnx:{path}"), mirror=False, device="cpu")
    chips = chips_of(pairs, embedder)

    vectors = embedder.embed(chips)

    assert embedder.model.startswith(f"{name}@")
    assert np.abs(vectors - by_onnxruntime(path, embedder, chips)).max() < 1e-4
    assert embedder.embed(chips[:5]).tobytes() == vectors[:5].tobytes()


@pytest.mark.parametrize("name", ONNX_FILES)
def test_onnx_embedders_tell_people_apart(
    shared_data: Path, pairs: list[tuple[NDArray[np.uint8], Detections]], name: str
) -> None:
    """Faces turned to a wrong template or scaled wrongly would mix people up."""
    embedder = build_embedder(f"onnx:{shared_data / 'weights' / ONNX_FILES[name]}", mirror=True, device="cpu")

    vectors = embedder.embed(chips_of(pairs, embedder))

    similarities = vectors[::2] @ vectors[1::2].T
    mated = np.eye(len(similarities), dtype=bool)
    right = similarities[mated][:, None] > similarities[~mated]
    assert right.mean() >= 0.995
    assert (similarities.argmax(axis=1) == np.arange(len(similarities))).mean() >= 0.95
