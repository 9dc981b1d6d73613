"""The detector with its real networks against the program they come from, facenet-pytorch."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from faceindex.faces.area import MIDDLE, SumTable
from faceindex.faces.mtcnn import SHA256, Mtcnn, build_crop_network, build_mtcnn, build_pnet, weights_file
from faceindex.faces.openvino_network import load_network
from faceindex.faces.pyramid import CANVAS, STRIDE, cell_count, pyramid_tiles
from faceindex.faces.weights import load_state_dict
from faceindex.types import Detections
from tests.support.archives import ROOT, portrait
from tests.unit.faces.test_area import resized

CROPS = {"rnet": 24, "onet": 48}
SMALLEST = 20.0
"""Side of the smallest face that facenet-pytorch looks for by default."""

SURE = 0.98
"""Score from which a face must not be lost."""

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of converted networks that is empty at first."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACEINDEX_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def detector(cache: Path) -> Mtcnn:
    """In the precision that this machine is best at."""
    return build_mtcnn()


@pytest.fixture(scope="module")
def exact(cache: Path) -> Mtcnn:
    """In float32, as the oracle."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("faceindex.faces.openvino_network.best_precision", lambda: "f32")
        return build_mtcnn()


def detect(detector: Mtcnn, *pictures: Pixels, smallest: float = SMALLEST) -> list[Detections]:
    return detector.detect(pictures, [smallest] * len(pictures))


@pytest.fixture(scope="module")
def reference() -> Any:
    from facenet_pytorch import MTCNN

    return MTCNN(keep_all=True, select_largest=False, min_face_size=20, device="cpu")


def original(name: str) -> torch.nn.Module:
    """Return a network just as facenet-pytorch has it."""
    from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

    module: torch.nn.Module = {"pnet": PNet, "rnet": RNet, "onet": ONet}[name](pretrained=False)
    module.load_state_dict(load_state_dict(weights_file(name), SHA256[name]))
    return module.eval()


def run_original(module: torch.nn.Module, pixels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return its outputs for pixels (n, height, width, 3) relative to middle grey."""
    with torch.inference_mode():
        outputs = module(torch.from_numpy(pixels).permute(0, 3, 1, 2) * 0.0078125)
    return [output.numpy() for output in outputs]


def faces_of(reference: Any, pixels: Pixels) -> Detections:
    boxes, scores, points = reference.detect(Image.fromarray(pixels), landmarks=True)
    if boxes is None:
        return Detections.none()
    return Detections(*(np.asarray(part, np.float32) for part in (boxes, points, scores)))


def overlaps(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return intersection over union of each pair of boxes, (n, m)."""
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    a_area, b_area = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (a, b))
    return np.asarray(shared / (a_area[:, None] + b_area - shared))


def assert_same(found: Detections, expected: Detections, pixels: float) -> None:
    """Assert the same faces in the same order, to a share of a pixel."""
    np.testing.assert_allclose(found.confidences, expected.confidences, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.boxes, expected.boxes, rtol=0, atol=pixels)
    np.testing.assert_allclose(found.landmarks, expected.landmarks, rtol=0, atol=pixels)


def portraits() -> dict[str, Pixels]:
    """Return two portraits in many sizes and crops."""
    astronaut, hopper = portrait("astronaut"), portrait("hopper")
    pair = Image.new("RGB", (601, 333))
    pair.paste(astronaut, (7, 11))
    pair.paste(hopper, (330, 25))
    nested = hopper.copy()
    nested.paste(astronaut.crop((75, 60, 175, 190)).resize((40, 52)), (110, 90))
    crowd = Image.new("RGB", (1500, 1300), "grey")  # its two largest levels are larger than a canvas
    for x, y in ((100, 90), (1340, 50), (900, 1200), (1400, 1205), (820, 480)):
        crowd.paste(hopper.resize((70, 83)), (x, y))
    pictures = {
        "astronaut": astronaut,
        "hopper": hopper,
        "pair": pair,
        "odd sides": astronaut.resize((251, 253)),
        "small": hopper.resize((64, 75)),
        "smallest": astronaut.resize((70, 70)),
        "large": astronaut.resize((1151, 1129)),
        "larger than a canvas": pair.resize((1803, 999)),
        "small faces in a large picture": crowd,
        "wide": hopper.resize((700, 300)),
        "left half of a face": hopper.crop((0, 0, 134, 303)),
        "close up": astronaut.crop((75, 60, 175, 190)).resize((500, 650)),
        "on its side": astronaut.rotate(30),
        "a face in a face": nested,
    }
    return {name: np.array(picture) for name, picture in pictures.items()}


@pytest.mark.parametrize("name", portraits())
def test_portraits_have_the_faces_that_facenet_pytorch_finds(exact: Mtcnn, reference: Any, name: str) -> None:
    pixels = portraits()[name]

    [found] = detect(exact, pixels)

    assert_same(found, faces_of(reference, pixels), pixels=0.01)


@pytest.mark.parametrize("smallest", [12, 31.5, 80])
def test_any_smallest_face_is_that_of_facenet_pytorch(exact: Mtcnn, smallest: float) -> None:
    from facenet_pytorch import MTCNN

    other = MTCNN(keep_all=True, select_largest=False, min_face_size=smallest, device="cpu")
    for name in ("pair", "hopper"):
        pixels = portraits()[name]

        [found] = detect(exact, pixels, smallest=smallest)

        assert_same(found, faces_of(other, pixels), pixels=0.01)


@pytest.mark.parametrize("name", portraits())
def test_in_the_best_precision_sure_faces_of_portraits_stay(detector: Mtcnn, reference: Any, name: str) -> None:
    pixels = portraits()[name]
    expected = faces_of(reference, pixels)
    expected = expected.chosen(expected.confidences > SURE)

    [found] = detect(detector, pixels)

    assert_kept(found, expected)
    assert len(found.chosen(found.confidences > SURE)) == len(expected)


def assert_kept(found: Detections, expected: Detections) -> None:
    """Assert that each face is found about where it was: to a landmark's jitter by a grey level of noise, or two."""
    if len(expected) == 0:
        return
    overlap = overlaps(expected.boxes, found.boxes)
    assert np.all(overlap.max(axis=1) >= 0.5)
    nearest = found.chosen(overlap.argmax(axis=1))
    widths = expected.boxes[:, 2] - expected.boxes[:, 0]
    shifts = np.abs(nearest.landmarks - expected.landmarks).max(axis=(1, 2))
    assert np.all(shifts <= np.maximum(0.03 * widths, 2))


def test_the_portraits_have_faces(detector: Mtcnn) -> None:
    counts = dict(zip(portraits(), map(len, detect(detector, *portraits().values())), strict=True))

    assert counts["pair"] >= 2
    assert all(counts[name] for name in ("astronaut", "hopper", "odd sides", "large", "larger than a canvas"))


def real_photos(shared_data: Path) -> list[Path]:
    folder = shared_data / "photos"
    samples = folder / "human-samples" / "samples" / "in"
    return [
        *sorted((shared_data / "lfw-dev").glob("*/*.jpg"))[::180][:40],
        *sorted(samples.glob("group-*.jpg"))[:4],
        *sorted(samples.glob("stock-*.jpg"))[::6],
        *sorted((folder / "wider-mini" / "images").glob("*.jpg"))[::13][:15],
    ]


@pytest.mark.slow
def test_real_photos_have_the_faces_that_facenet_pytorch_finds(
    shared_data: Path, exact: Mtcnn, detector: Mtcnn, reference: Any
) -> None:
    photos = []
    for path in real_photos(shared_data):
        picture = Image.open(path).convert("RGB")
        picture.thumbnail((1280, 1280))
        photos.append(np.array(picture))
    expected = [faces_of(reference, photo) for photo in photos]

    found = detect(exact, *photos)

    lost = extra = total = 0
    shifts = []
    for ours, theirs in zip(found, expected, strict=True):
        overlap = overlaps(theirs.boxes, ours.boxes)
        same = overlap >= 0.9
        lost += np.count_nonzero(~same.any(axis=1))
        extra += np.count_nonzero(~same.any(axis=0))
        total += len(theirs)
        for face in np.flatnonzero(same.any(axis=1)):
            points = ours.landmarks[overlap[face].argmax()] - theirs.landmarks[face]
            shifts.append(np.abs(points).max() / (theirs.boxes[face, 2] - theirs.boxes[face, 0]))
    assert total >= 120
    assert lost <= 0.01 * total
    assert extra <= 0.01 * total
    assert np.percentile(shifts, 99) < 0.01

    sure = kept = 0
    for ours, theirs in zip(detect(detector, *photos), expected, strict=True):
        overlap = overlaps(theirs.boxes[theirs.confidences > SURE], ours.boxes)
        sure += len(overlap)
        kept += np.count_nonzero(overlap.max(axis=1, initial=0) >= 0.5)
    assert kept >= 0.995 * sure


@pytest.mark.parametrize("precision", ["exact", "detector"])
def test_a_photo_has_the_same_bytes_whatever_is_detected_with_it(
    precision: str, request: pytest.FixtureRequest
) -> None:
    """Photos of mixed sizes share canvases and batches of crops; none of it shows, not even in bfloat16."""
    detector = request.getfixturevalue(precision)
    photos = list(portraits().values())
    order = np.random.default_rng(0).permutation(len(photos))

    together = detect(detector, *[photos[index] for index in order])

    for index, found in zip(order, together, strict=True):
        assert_equal(found, detect(detector, photos[index])[0])


def assert_equal(a: Detections, b: Detections) -> None:
    for name in ("boxes", "landmarks", "confidences"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_more_photos_than_are_taken_together_keep_their_order(detector: Mtcnn, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [portraits()[name] for name in ("astronaut", "small", "hopper", "pair")]
    expected = detect(detector, *photos)

    monkeypatch.setattr("faceindex.faces.mtcnn.GROUP_PIXELS", 10_000)
    found = detect(detector, *photos)

    for ours, theirs in zip(found, expected, strict=True):
        assert_equal(ours, theirs)


def test_more_crops_than_go_through_a_network_at_once_are_all_looked_at(
    exact: Mtcnn, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = detect(exact, portraits()["pair"])

    monkeypatch.setattr("faceindex.faces.mtcnn.CROP_BATCH", {24: 32, 48: 16})
    monkeypatch.setattr("faceindex.faces.mtcnn.SIZES", 4)
    found = detect(exact, portraits()["pair"])

    assert_same(found[0], expected[0], pixels=0.01)


@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (1, 4000), (20, 3000), (3000, 20), (12, 12), (480, 640), (1500, 10)])
@pytest.mark.parametrize("value", [0, 255])
def test_empty_pictures_have_no_faces(detector: Mtcnn, shape: tuple[int, int], value: int) -> None:
    [found] = detect(detector, np.full((*shape, 3), value, np.uint8))

    assert len(found) == 0


def test_no_pictures_have_no_faces(detector: Mtcnn) -> None:
    assert detect(detector) == []


def test_faceless_pictures_beside_a_portrait_change_nothing(detector: Mtcnn) -> None:
    empty, face = np.zeros((1, 1, 3), np.uint8), portraits()["hopper"]

    before, found, after = detect(detector, empty, face, empty)

    assert (len(before), len(after)) == (0, 0)
    assert_equal(found, detect(detector, face)[0])


def test_faces_are_sorted_by_confidence(detector: Mtcnn) -> None:
    for found in detect(detector, *portraits().values()):
        assert np.all(np.diff(found.confidences) <= 0)
        assert np.all((found.confidences >= 0.7) & (found.confidences <= 1))


def test_each_picture_has_its_own_smallest_face(detector: Mtcnn) -> None:
    small, large = portraits()["small"], portraits()["hopper"]

    assert [len(faces) for faces in detector.detect([small, large, small], [80, 80, 20])] == [0, 1, 1]


@pytest.mark.parametrize("smallest", [0, 1, 11.9])
def test_a_smallest_face_below_what_the_network_sees_is_what_it_sees(exact: Mtcnn, smallest: float) -> None:
    pixels = portraits()["small"]

    assert_equal(detect(exact, pixels, smallest=smallest)[0], detect(exact, pixels, smallest=12)[0])


@pytest.mark.parametrize("name", CROPS)
def test_the_crop_networks_equal_those_of_facenet_pytorch(
    cache: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("faceindex.faces.openvino_network.best_precision", lambda: "f32")
    side = CROPS[name]
    crops = np.random.default_rng(0).integers(0, 256, (70, side, side, 3)).astype(np.float32) - MIDDLE
    expected = run_original(original(name), crops)

    converted = load_network(name, SHA256[name], lambda: build_crop_network(name), (-1, side, side, 3))

    for found in (converted(crops), run(build_crop_network(name), crops)):
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def run(module: torch.nn.Module, x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    with torch.inference_mode():
        outputs = module(torch.from_numpy(x))
    return [output.numpy() for output in (outputs if isinstance(outputs, tuple) else [outputs])]


def pnet_cells(level: NDArray[np.float32]) -> NDArray[np.float32]:
    """The oracle: facenet-pytorch's P-Net on a level by itself: logarithms of odds and offsets, (5, rows, columns)."""
    module = original("pnet").double()
    offsets, scores = run_original(module, level[None].astype(np.float64))
    odds = np.log(scores[:, 1:]) - np.log1p(-scores[:, 1:])
    return np.concatenate([odds, offsets], axis=1)[0]


def test_a_packed_level_gives_what_a_run_of_its_own_gives(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every cell but those in the last row or column of an odd side, whose pooling windows are cut short there.

    Here these pool one more row or column, in which the level's last one is repeated, as if the level itself had it.
    """
    monkeypatch.setattr("faceindex.faces.openvino_network.best_precision", lambda: "f32")
    sizes = [(97, 131), (60, 60), (61, 60), (60, 61), (35, 400), (1200, 33), (700, 800), (20, 21), (333, 47)]
    generator = np.random.default_rng(0)
    pictures = [generator.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
    table = SumTable(pictures)
    networks = [
        load_network("pnet", SHA256["pnet"], build_pnet, (1, CANVAS, CANVAS, 3)),
        lambda x: run(build_pnet(), x),
    ]
    tiles = pyramid_tiles(tuple(sizes), (14,) * len(sizes))
    canvases = np.full((tiles["canvas"].max() + 1, CANVAS, CANVAS, 3), 77, np.float32)
    for number, canvas in enumerate(canvases):
        table.draw(canvas, tiles[tiles["canvas"] == number])
    outputs = [[network(canvas[None])[0][0] for canvas in canvases] for network in networks]

    odd = 0
    for owner, number in sorted(set(zip(tiles["owner"].tolist(), tiles["level"].tolist(), strict=True))):
        parts = tiles[(tiles["owner"] == owner) & (tiles["level"] == number)]
        height, width = int(parts[0]["level_height"]), int(parts[0]["level_width"])
        level = resized(table, owner, height, width)
        alone, repeated = (
            pnet_cells(level),
            pnet_cells(np.pad(level, [(0, height % 2), (0, width % 2), (0, 0)], "edge")),
        )
        for by_canvas in outputs:
            packed = np.full_like(alone, np.nan)
            for tile in parts:
                rows, columns = cell_count(tile["height"]), cell_count(tile["width"])
                y, x, top, left = (int(tile[name]) // STRIDE for name in ("y", "x", "top", "left"))
                cells = by_canvas[tile["canvas"]][:, y : y + rows, x : x + columns]
                packed[:, top : top + rows, left : left + columns] = cells
            np.testing.assert_allclose(packed, repeated, rtol=0, atol=1e-4)
            whole = slice(None, alone.shape[1] - height % 2), slice(None, alone.shape[2] - width % 2)
            np.testing.assert_allclose(packed[:, *whole], alone[:, *whole], rtol=0, atol=1e-4)
        odd += height % 2 + width % 2
    assert odd > 10


SUBPROCESS = """
import sys
NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg")
calls = []
sys.addaudithook(lambda event, arguments: calls.append(arguments) if event in NETWORK else None)
import numpy as np
from faceindex.faces.mtcnn import build_mtcnn
faces = build_mtcnn().detect([np.load(sys.argv[1])], [20])
np.save(sys.argv[2], np.concatenate([face.boxes for face in faces]))
print("network:", calls)
print("torch:", "torch" in sys.modules or "facenet_pytorch" in sys.modules)
"""


def start(picture: Path, boxes: Path, cache: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", SUBPROCESS, str(picture), str(boxes)]
    # On CI servers openvino reports nothing of its own accord.
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "TF_BUILD", "JENKINS_URL")}
    environment |= {"FACEINDEX_CACHE": str(cache), "HOME": str(cache.parent)}
    return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def answers(process: "subprocess.Popen[str]") -> dict[str, str]:
    output, _ = process.communicate()
    assert process.returncode == 0
    return dict(line.split(": ") for line in output.splitlines())


def boxes_in(paths: Sequence[Path]) -> list[NDArray[np.float32]]:
    return [np.load(path) for path in paths]


@pytest.mark.slow
def test_processes_that_convert_at_once_agree_and_nobody_calls_home(tmp_path: Path, detector: Mtcnn) -> None:
    pixels = portraits()["hopper"]
    picture, cache = tmp_path / "picture.npy", tmp_path / "cache"
    np.save(picture, pixels)
    boxes = [tmp_path / f"{index}.npy" for index in range(3)]

    first = [answers(process) for process in [start(picture, path, cache) for path in boxes[:2]]]
    last = answers(start(picture, boxes[2], cache))

    assert all(answer == {"network": "[]", "torch": "True"} for answer in first)
    assert last == {"network": "[]", "torch": "False"}
    assert sorted(path.suffix for path in (cache / "networks").iterdir()) == [".network"] * 3
    assert not (tmp_path / "intel").exists(), "openvino counted its uses"
    for found in boxes_in(boxes):
        np.testing.assert_array_equal(found, detect(detector, pixels)[0].boxes)
