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

from faceindex.faces.area import SumTable
from faceindex.faces.mtcnn import SHA256, Mtcnn, build_crop_network, build_mtcnn, build_pnet, weights_file
from faceindex.faces.networks import TorchNetwork, load_network
from faceindex.faces.pyramid import CANVAS, packed_canvases, pyramid_tiles
from faceindex.faces.weights import load_state_dict
from faceindex.types import Detections
from tests.support.archives import ROOT, portrait

CROPS = {"rnet": 24, "onet": 48}

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
    return build_mtcnn(20, "cpu")


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
    """Return its outputs for pixels (n, height, width, 3) of 0 to 255."""
    with torch.inference_mode():
        outputs = module((torch.from_numpy(pixels).permute(0, 3, 1, 2) - 127.5) * 0.0078125)
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
    pictures = {
        "astronaut": astronaut,
        "hopper": hopper,
        "pair": pair,
        "odd sides": astronaut.resize((251, 253)),
        "small": hopper.resize((64, 75)),
        "smallest": astronaut.resize((70, 70)),
        "large": astronaut.resize((1151, 1129)),
        "larger than a canvas": pair.resize((1803, 999)),
        "wide": hopper.resize((700, 300)),
        "left half of a face": hopper.crop((0, 0, 134, 303)),
        "close up": astronaut.crop((75, 60, 175, 190)).resize((500, 650)),
        "on its side": astronaut.rotate(30),
        "a face in a face": nested,
    }
    return {name: np.array(picture) for name, picture in pictures.items()}


@pytest.mark.parametrize("name", portraits())
def test_portraits_have_the_faces_that_facenet_pytorch_finds(detector: Mtcnn, reference: Any, name: str) -> None:
    pixels = portraits()[name]

    [found] = detector.detect([pixels])

    assert_same(found, faces_of(reference, pixels), pixels=0.01)


def test_the_portraits_have_faces(detector: Mtcnn) -> None:
    counts = dict(zip(portraits(), map(len, detector.detect(list(portraits().values()))), strict=True))

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
    shared_data: Path, detector: Mtcnn, reference: Any
) -> None:
    photos = []
    for path in real_photos(shared_data):
        picture = Image.open(path).convert("RGB")
        picture.thumbnail((1280, 1280))
        photos.append(np.array(picture))
    expected = [faces_of(reference, photo) for photo in photos]

    found = detector.detect(photos)

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


def test_photos_of_mixed_sizes_in_one_call_are_as_if_alone(detector: Mtcnn) -> None:
    photos = list(portraits().values())
    order = np.random.default_rng(0).permutation(len(photos))

    together = detector.detect([photos[index] for index in order])

    for index, found in zip(order, together, strict=True):
        [alone] = detector.detect([photos[index]])
        assert_same(found, alone, pixels=0.01)


def test_more_photos_than_are_taken_together_keep_their_order(detector: Mtcnn, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [portraits()[name] for name in ("astronaut", "small", "hopper", "pair")]
    expected = detector.detect(photos)

    monkeypatch.setattr("faceindex.faces.mtcnn.GROUP_PIXELS", 10_000)
    found = detector.detect(photos)

    for ours, theirs in zip(found, expected, strict=True):
        assert_same(ours, theirs, pixels=0.01)


def test_the_same_photos_give_the_same_bytes(detector: Mtcnn) -> None:
    photos = list(portraits().values())[:4]

    first, second = detector.detect(photos), detector.detect([photo.copy() for photo in photos])

    for a, b in zip(first, second, strict=True):
        assert (a.boxes.tobytes(), a.landmarks.tobytes()) == (b.boxes.tobytes(), b.landmarks.tobytes())


@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (1, 4000), (20, 3000), (3000, 20), (12, 12), (480, 640), (1500, 10)])
@pytest.mark.parametrize("value", [0, 255])
def test_empty_pictures_have_no_faces(detector: Mtcnn, shape: tuple[int, int], value: int) -> None:
    [found] = detector.detect([np.full((*shape, 3), value, np.uint8)])

    assert len(found) == 0


def test_no_pictures_have_no_faces(detector: Mtcnn) -> None:
    assert detector.detect([]) == []


def test_faceless_pictures_beside_a_portrait_change_nothing(detector: Mtcnn) -> None:
    empty, face = np.zeros((1, 1, 3), np.uint8), portraits()["hopper"]

    before, found, after = detector.detect([empty, face, empty])

    assert (len(before), len(after)) == (0, 0)
    assert_same(found, detector.detect([face])[0], pixels=0.01)


def test_faces_are_sorted_by_confidence(detector: Mtcnn) -> None:
    for found in detector.detect(list(portraits().values())):
        assert np.all(np.diff(found.confidences) <= 0)
        assert np.all((found.confidences >= 0.7) & (found.confidences <= 1))


def test_a_larger_smallest_face_loses_only_small_ones(detector: Mtcnn) -> None:
    small, large = portraits()["small"], portraits()["hopper"]

    found = build_mtcnn(80, "cpu").detect([small, large])

    assert [len(faces) for faces in found] == [0, 1]
    assert len(detector.detect([small])[0]) == 1


@pytest.mark.parametrize("name", CROPS)
def test_the_crop_networks_equal_those_of_facenet_pytorch(cache: Path, name: str) -> None:
    side = CROPS[name]
    crops = np.random.default_rng(0).integers(0, 256, (70, side, side, 3)).astype(np.float32)
    expected = run_original(original(name), crops)

    converted = load_network(name, SHA256[name], lambda: build_crop_network(name), (-1, side, side, 3), "cpu")

    for found in (converted(crops), TorchNetwork(build_crop_network(name), "cpu")(crops)):
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def test_a_packed_level_gives_what_a_run_of_its_own_gives(cache: Path) -> None:
    """At every cell, the last ones of odd sides included, whose pooling windows are cut short."""
    sizes = [(97, 131), (60, 60), (61, 60), (60, 61), (35, 400), (1200, 33), (700, 800), (20, 21), (333, 47)]
    generator = np.random.default_rng(0)
    pictures = [generator.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
    table = SumTable(pictures)
    converted = load_network("pnet", SHA256["pnet"], build_pnet, (1, CANVAS, CANVAS, 3), "cpu")
    torch_module = TorchNetwork(build_pnet(), "cpu")
    module = original("pnet")
    expected: dict[tuple[int, int], list[NDArray[np.float32]]] = {}

    seen = 0
    for canvas, tiles in packed_canvases(pyramid_tiles(table, 14)):
        outputs = [converted(canvas[None]), torch_module(canvas[None])]
        for tile in tiles:
            key = tile.owner, tile.level
            if key not in expected:
                height, width = (int(side * tile.scale + 1) for side in sizes[tile.owner])
                expected[key] = run_original(module, table.resized(tile.owner, height, width)[None])
            rows, columns = tile.cells
            level_rows = slice(tile.cell_y, tile.cell_y + rows.stop - rows.start)
            level_columns = slice(tile.cell_x, tile.cell_x + columns.stop - columns.start)
            for output in outputs:
                for ours, theirs in zip(output, expected[key], strict=True):
                    np.testing.assert_allclose(
                        ours[0, :, rows, columns], theirs[0, :, level_rows, level_columns], rtol=0, atol=1e-5
                    )
            seen += 1
    assert seen > 30


SUBPROCESS = """
import sys
NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg")
calls = []
sys.addaudithook(lambda event, arguments: calls.append(arguments) if event in NETWORK else None)
import numpy as np
from faceindex.faces.mtcnn import build_mtcnn
faces = build_mtcnn(20, "cpu").detect([np.load(sys.argv[1])])
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
        np.testing.assert_array_equal(found, detector.detect([pixels])[0].boxes)
