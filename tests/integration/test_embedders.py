"""Embedders with real networks against the programs they come from: dlib and facenet-pytorch."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from faceindex.faces import inception
from faceindex.faces.dlib_resnet import build_module, cut, packaged_weights, read_weights
from faceindex.faces.embed import Embedder, NetworkEmbedder
from faceindex.faces.models import build_detector, build_embedder
from faceindex.types import Detections
from tests.support.archives import ROOT, portrait

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


@pytest.fixture(scope="module")
def plain(cache: Path) -> Embedder:
    return build_embedder("dlib-resnet29", mirror=False, device="cpu")


@pytest.fixture(scope="module")
def mirrored(cache: Path) -> Embedder:
    return build_embedder("dlib-resnet29", mirror=True, device="cpu")


def portraits(count: int) -> NDArray[np.uint8]:
    """Return chips of two people, each cut a little differently, uint8 (n, 150, 150, 3)."""
    generator = np.random.default_rng(0)
    chips = []
    for index in range(count):
        name = ("astronaut", "hopper")[index % 2]
        points = np.array([LANDMARKS[name]]) + generator.normal(0, 3, (1, 5, 2))
        face = Detections(np.zeros((1, 4), np.float32), points.astype(np.float32), np.ones(1, np.float32))
        chips.append(cut(np.asarray(portrait(name)), face))
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


def test_dlib_resnet29_equals_dlib_on_portraits(plain: Embedder) -> None:
    chips = portraits(8)

    expected = dlib_descriptors(chips)

    pixels = torch.from_numpy(chips).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        module = build_module(read_weights(packaged_weights()))(pixels).numpy()
    assert np.linalg.norm(expected, axis=1).min() > 1
    assert np.abs(module - expected).max() < 1e-5
    assert np.abs(raw(plain, chips) - expected).max() < 1e-5
    assert np.abs(plain.embed(chips) - unit(expected)).max() < 1e-5


@pytest.mark.slow
def test_dlib_resnet29_equals_dlib_on_real_photos(shared_data: Path, plain: Embedder) -> None:
    paths = sorted((shared_data / "lfw-dev").glob("*/*.jpg"))[::115][:64]
    photos = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    found = build_detector("mtcnn", min_face_px=20, device="cpu").detect(photos)
    chips = np.concatenate([plain.chips(photo, faces) for photo, faces in zip(photos, found, strict=True)])

    assert len(chips) >= 50
    assert np.abs(raw(plain, chips) - dlib_descriptors(chips)).max() < 1e-5


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


def test_a_vector_does_not_depend_on_the_other_chips(mirrored: Embedder) -> None:
    chips = portraits(35)

    together = mirrored.embed(chips)

    alone = np.concatenate([mirrored.embed(chip[None]) for chip in chips])
    turned = mirrored.embed(chips[::-1])[::-1]
    assert np.abs(together - alone).max() < 1e-6
    assert np.abs(together - turned).max() < 1e-6
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_the_same_chips_give_the_same_bytes(mirrored: Embedder) -> None:
    chips = portraits(35)

    assert mirrored.embed(chips).tobytes() == mirrored.embed(chips.copy()).tobytes()


def test_with_a_warm_cache_torch_is_never_imported_and_the_bytes_are_the_same(mirrored: Embedder, cache: Path) -> None:
    chips = portraits(3)
    np.save(cache / "chips.npy", chips)
    code = (
        "import sys, numpy as np\n"
        "from faceindex.faces.models import build_embedder\n"
        "vectors = build_embedder('dlib-resnet29', mirror=True, device='cpu').embed(np.load(sys.argv[1]))\n"
        "assert not {'torch', 'torchvision', 'facenet_pytorch'} & set(sys.modules), 'torch was imported'\n"
        "np.save(sys.argv[2], vectors)\n"
    )

    command = [sys.executable, "-c", code, str(cache / "chips.npy"), str(cache / "vectors.npy")]
    subprocess.run(command, env={**os.environ, "FACEINDEX_CACHE": str(cache)}, cwd=ROOT, check=True)

    assert np.load(cache / "vectors.npy").tobytes() == mirrored.embed(chips).tobytes()


@pytest.mark.slow
def test_facenet_equals_facenet_pytorch_with_the_same_random_weights(cache: Path, tmp_path: Path) -> None:
    from facenet_pytorch import InceptionResnetV1, extract_face, fixed_image_standardization

    torch.manual_seed(5)
    module = InceptionResnetV1(pretrained=None, classify=True, num_classes=7)
    # Random layers would give every face nearly the same vector; statistics of real inputs spread them again.
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            layer.momentum = 1.0
    with torch.no_grad():
        module(torch.randn(8, 3, 160, 160))
    module.eval()
    path = tmp_path / "weights.pt"
    torch.save(module.state_dict(), path)
    photos = [portrait("astronaut"), portrait("hopper")]
    boxes = np.array([[81.2, 62.6, 168.4, 172.1], [87.1, 60.3, 178.5, 170.9]], np.float32)
    inputs = torch.stack(
        [fixed_image_standardization(extract_face(photo, box)) for photo, box in zip(photos, boxes, strict=True)]
    )
    module.classify = False
    with torch.inference_mode():
        expected = module(inputs).numpy()

    embedder = build_embedder("facenet-vggface2", mirror=False, device="cpu", weights=str(path))
    faces = [Detections(box[None], np.zeros((1, 5, 2), np.float32), np.ones(1, np.float32)) for box in boxes]
    chips = np.concatenate([embedder.chips(np.asarray(photo), face) for photo, face in zip(photos, faces, strict=True)])
    vectors = embedder.embed(chips)

    assert vectors.shape == (2, inception.DIMENSION)
    assert embedder.dimension == inception.DIMENSION
    assert expected[0] @ expected[1] < 0.99
    assert np.abs(vectors - expected).max() < 1e-5
