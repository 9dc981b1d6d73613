"""Detectors from ONNX files, in OpenVINO with our decoding, against onnxruntime and plain loops."""

import importlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image

from faceindex.catalog.catalog import Catalog
from faceindex.errors import ConfigError, WeightsError
from faceindex.faces.anchors import Kind
from faceindex.faces.loading import build_detector, settled_detector
from faceindex.faces.mtcnn import build_mtcnn
from faceindex.faces.onnx_detector import OnnxDetector, read_detector
from faceindex.faces.openvino_network import best_precision
from faceindex.pipeline.report import RunReport
from faceindex.pipeline.run import IndexOptions, index_photos
from faceindex.types import Detections
from tests.support.archives import ROOT, faceindex, make_archive, portrait
from tests.support.onnx_files import write_embedder, write_scrfd

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

YUNET = "yunet/face_detection_yunet_2026may.onnx"
ULTRALIGHT = "ultralight-1mb/version-RFB-320.onnx"


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACEINDEX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def exporting() -> Iterator[ModuleType]:
    """The script that makes ONNX files of BlazeFace's weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield importlib.import_module("blazeface")


@pytest.fixture(scope="module")
def blazeface(exporting: ModuleType, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files of the front and the back network."""
    folder = tmp_path_factory.mktemp("blazeface")
    return {
        name: exporting.export_blazeface(shared_data / "weights/blazeface" / f"{name}.pth", folder / f"{name}.onnx")
        for name in ("blazeface", "blazefaceback")
    }


@pytest.fixture(scope="module")
def crowd(shared_data: Path) -> Pixels:
    """A photograph of several people."""
    path = shared_data / "photos/wider-mini/images/4_Dancing_Dancing_4_228.jpg"
    return np.asarray(Image.open(path).convert("RGB").resize((1024, 768)))


def original_outputs(path: Path, x: Floats) -> dict[str, Floats]:
    """Return what onnxruntime gives, by name."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: x}), strict=True))


def overlaps(a: Floats, b: Floats) -> Floats:
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a, b)]
    return shared / (areas[0][:, None] + areas[1][None] - shared)


def best_of_overlapping(boxes: Floats, scores: Floats, limit: float) -> list[int]:
    """Return non-maximum suppression by the book."""
    table, kept = overlaps(boxes, boxes), []
    for index in np.argsort(-scores):
        if all(table[index, better] <= limit for better in kept):
            kept.append(int(index))
    return kept


def frame_of(picture: Pixels, height: int, width: int) -> Pixels:
    return np.asarray(Image.fromarray(picture).resize((width, height)))


def test_yunet_is_yunet_in_onnxruntime(shared_data: Path, crowd: Pixels) -> None:
    path = shared_data / "weights" / YUNET
    kind, network = read_detector(path, "f32")
    frame = frame_of(crowd, 384, 512)

    found = kind.decode(network(kind.inputs(frame)), 384, 512, 0.5)

    raw = original_outputs(path, np.ascontiguousarray(frame[..., ::-1].transpose(2, 0, 1)[None], np.float32))
    boxes, points, scores = [], [], []
    for stride in (8, 16, 32):
        y, x = (axis.ravel() for axis in np.mgrid[: 384 // stride, : 512 // stride])
        classes, objects, place, marks = (raw[f"{name}_{stride}"][0] for name in ("cls", "obj", "bbox", "kps"))
        centre = (np.stack([x, y], 1) + place[:, :2]) * stride
        half = np.exp(place[:, 2:]) * stride / 2
        boxes.append(np.concatenate([centre - half, centre + half], 1))
        points.append((marks.reshape(-1, 5, 2) + np.stack([x, y], 1)[:, None]) * stride)
        scores.append(np.sqrt(classes.clip(0, 1) * objects.clip(0, 1))[:, 0])
    score = np.concatenate(scores)
    sure = score >= 0.5
    assert sure.sum() > 10
    np.testing.assert_allclose(found.scores, score[sure], atol=1e-4)
    np.testing.assert_allclose(found.boxes, np.concatenate(boxes)[sure], atol=0.02)
    np.testing.assert_allclose(found.landmarks, np.concatenate(points)[sure], atol=0.02)


@pytest.mark.parametrize("name", [ULTRALIGHT, "ultralight-1mb/version-slim-320.onnx"])
def test_our_decoding_of_ultralight_is_the_one_in_its_file(name: str, shared_data: Path, crowd: Pixels) -> None:
    """At the one size that the file decodes itself."""
    path = shared_data / "weights" / name
    kind, network = read_detector(path, "f32")
    frame = frame_of(crowd, 240, 320)

    found = kind.decode(network(kind.inputs(frame)), 240, 320, 0.5)

    raw = original_outputs(path, (frame.transpose(2, 0, 1)[None].astype(np.float32) - 127) / 128)
    score, boxes = raw["scores"][0, :, 1], raw["boxes"][0] * np.array([320, 240, 320, 240])
    sure = score >= 0.5
    assert sure.sum() > 3
    np.testing.assert_allclose(found.scores, score[sure], atol=1e-4)
    np.testing.assert_allclose(found.boxes, boxes[sure], atol=0.02)


@pytest.mark.parametrize(("name", "side"), [("blazeface", 128), ("blazefaceback", 256)])
def test_blazeface_is_blazeface_in_onnxruntime(
    name: str, side: int, blazeface: dict[str, Path], shared_data: Path
) -> None:
    anchors = np.load(shared_data / "weights/blazeface/anchors.npy")
    kind, network = read_detector(blazeface[name], "f32")
    frame = frame_of(np.asarray(portrait()), side, side)

    found = kind.decode(network(kind.inputs(frame)), side, side, 0.6)

    raw = original_outputs(blazeface[name], frame.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1)
    score = 1 / (1 + np.exp(-raw["logits"][0, :, 0].clip(-50, 50)))
    sure = score >= 0.6
    centre = anchors[sure, :2] * side + raw["places"][0, sure, :2]
    half = raw["places"][0, sure, 2:4] / 2
    assert sure.any()
    np.testing.assert_allclose(found.scores, score[sure], atol=1e-4)
    np.testing.assert_allclose(found.boxes, np.concatenate([centre - half, centre + half], 1), atol=0.02)


@pytest.mark.parametrize("landmarks", [True, False])
def test_scrfd_in_pixels_of_the_picture(landmarks: bool, tmp_path: Path) -> None:
    """A picture that is looked at as it is: the faces are those of the published arithmetic, best first."""
    path = write_scrfd(tmp_path / "scrfd.onnx", landmarks=landmarks)
    kind, network = read_detector(path, "f32")
    picture = np.random.default_rng(1).integers(0, 256, (128, 192, 3), np.uint8)
    detector = OnnxDetector("scrfd", kind, network, Everywhere() if not landmarks else None)

    [found] = detector.detect([picture], [kind.smallest])

    raw = original_outputs(path, (picture.transpose(2, 0, 1)[None].astype(np.float32) - 127.5) / 128)
    boxes, points, scores = [], [], []
    for stride in (8, 16, 32):
        y, x = (np.repeat(axis.ravel(), 2) * stride for axis in np.mgrid[: 128 // stride, : 192 // stride])
        left, top, right, bottom = raw[f"box{stride}"].T * stride
        boxes.append(np.stack([x - left, y - top, x + right, y + bottom], 1))
        scores.append(raw[f"score{stride}"][:, 0])
        if landmarks:
            points.append(raw[f"mark{stride}"].reshape(-1, 5, 2) * stride + np.stack([x, y], 1)[:, None])
    box, score = np.concatenate(boxes), np.concatenate(scores)
    sure = np.flatnonzero(score >= 0.5)
    kept = sure[best_of_overlapping(box[sure], score[sure], 0.4)]
    assert 1 < len(kept) < len(sure)
    np.testing.assert_allclose(found.confidences, score[kept], atol=1e-4)
    np.testing.assert_allclose(found.boxes, box[kept], atol=0.02)
    if landmarks:
        np.testing.assert_allclose(found.landmarks, np.concatenate(points)[kept], atol=0.02)


class Everywhere:
    """Gives boxes the landmarks zero."""

    def complete(self, picture: Pixels, boxes: Floats, scores: Floats) -> Detections:
        return Detections(boxes, np.zeros((len(boxes), 5, 2), np.float32), scores)


@pytest.fixture(scope="module", params=["yunet", "ultralight", "blazeface", "blazefaceback"])
def named(request: pytest.FixtureRequest, shared_data: Path) -> str:
    """Names of detectors with real weights."""
    weights = shared_data / "weights"
    files = {"yunet": weights / YUNET, "ultralight": weights / ULTRALIGHT}
    return f"onnx:{files.get(request.param) or request.getfixturevalue('blazeface')[request.param]}"


def test_the_face_of_a_portrait_is_found_at_every_size_where_mtcnn_finds_it(named: str) -> None:
    detector, mtcnn = build_detector(named, "cpu"), build_mtcnn()
    pictures = [np.asarray(portrait().resize((side, side))) for side in (200, 640, 1400)]
    smallest = [20 * max(1, len(picture) / 1280) for picture in pictures]

    found = detector.detect(pictures, smallest)

    for detections, expected in zip(found, mtcnn.detect(pictures, smallest), strict=True):
        face, table = expected.boxes[:1], overlaps(expected.boxes[:1], detections.boxes)
        assert table.max() > 0.5
        at = table[0].argmax()
        assert detections.confidences[at] == detections.confidences.max()
        error = np.linalg.norm(detections.landmarks[at] - expected.landmarks[0], axis=1)
        assert error.max() < 0.12 * (face[0, 2] - face[0, 0])
        assert (np.diff(detections.confidences) <= 0).all()


def test_pictures_of_a_call_do_not_change_one_another(named: str, crowd: Pixels) -> None:
    detector = build_detector(named, "cpu")
    pictures = [np.asarray(portrait()), crowd, np.zeros((3, 1000, 3), np.uint8), np.asarray(portrait("hopper"))]
    alone = [detector.detect([picture], [40.0])[0] for picture in pictures]

    together = detector.detect(pictures, [40.0] * 4)

    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.landmarks, other.landmarks)
        np.testing.assert_array_equal(one.confidences, other.confidences)
    assert len(together[2]) == 0
    assert detector.detect([], []) == []


@pytest.mark.parametrize("name", [YUNET, ULTRALIGHT])
def test_bfloat16_finds_the_same_faces(name: str, shared_data: Path, crowd: Pixels) -> None:
    if best_precision() != "bf16":
        pytest.skip("the processor does not multiply bfloat16")
    path = shared_data / "weights" / name
    exact, quick = (faces_in(crowd, *read_detector(path, precision)) for precision in ("f32", "bf16"))

    sure = exact.confidences > 0.8
    table = overlaps(exact.boxes[sure], quick.boxes)

    assert sure.sum() >= 3
    assert table.max(axis=1).min() > 0.85
    assert np.abs(exact.confidences[sure] - quick.confidences[table.argmax(axis=1)]).max() < 0.05


def faces_in(picture: Pixels, kind: Kind, network: object) -> Detections:
    return OnnxDetector("test", kind, network, None if kind.has_landmarks else Everywhere()).detect([picture], [20.0])[
        0
    ]


def test_a_catalog_keeps_its_detector(shared_data: Path, tmp_path: Path) -> None:
    file = Path(shutil.copy(shared_data / "weights" / YUNET, tmp_path / "yunet.onnx"))
    photos, catalog = make_archive(tmp_path / "photos", count=2), tmp_path / "catalog"

    def index(detector: str | None = None) -> RunReport:
        return index_photos(str(catalog), [str(photos)], IndexOptions(workers=0, detector=detector))

    assert index(f"onnx:{photos}/../yunet.onnx").faces == 2
    assert Catalog.open(str(catalog)).settings.detector == settled_detector(f"onnx:{file}")
    assert index(f"onnx:{file}").embedded == index().embedded == 0
    with pytest.raises(ConfigError, match=rf"was made with detector = onnx:{file}@\w+, mtcnn asked for"):
        index("mtcnn")
    write_scrfd(file)
    shutil.copy(photos / "scene.png", photos / "more.png")
    with pytest.raises(WeightsError, match=r"yunet\.onnx has sha256"):
        index()


def test_the_command_line_takes_a_detector(tmp_path: Path) -> None:
    photos, catalog = make_archive(tmp_path / "photos", count=1), tmp_path / "catalog"
    write_embedder(tmp_path / "embedder.onnx")

    run = faceindex("index", photos, "-c", catalog, "--detector", f"onnx:{tmp_path}/embedder.onnx")

    assert run.returncode == 1
    assert "embedder.onnx is no detector of a known kind" in run.stderr
    assert not catalog.exists()
