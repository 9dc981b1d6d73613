"""The detector for GPUs against the program its networks come from, facenet-pytorch; in float32 on the CPU."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from faceindex.faces import device_mtcnn
from faceindex.faces.device_mtcnn import DeviceMtcnn, Room, build_device_mtcnn
from faceindex.types import Detections
from tests.support.archives import portrait

MIN_FACE = 20
CONFIDENT = 0.98
Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def detector() -> DeviceMtcnn:
    return DeviceMtcnn(torch.device("cpu"))


@pytest.fixture(scope="module")
def reference() -> Any:
    from facenet_pytorch import MTCNN

    return MTCNN(keep_all=True, select_largest=False, min_face_size=MIN_FACE, device="cpu")


@pytest.fixture(scope="module")
def pictures() -> list[Pixels]:
    """Portraits of different sizes, one with levels larger than a canvas, and a picture too small for any level."""
    astronaut, hopper = portrait("astronaut"), portrait("hopper")
    pair = Image.new("RGB", (601, 333))
    pair.paste(astronaut, (7, 11))
    pair.paste(hopper, (330, 25))
    made = [
        hopper,
        astronaut.resize((251, 253)),
        pair.resize((1010, 560)),
        hopper.resize((64, 75)),
        pair.crop((0, 0, 5, 9)),
    ]
    return [np.array(picture) for picture in (*made, hopper.rotate(5))]


@pytest.fixture(scope="module")
def found(detector: DeviceMtcnn, pictures: list[Pixels]) -> list[Detections]:
    return detect(detector, pictures)


def detect(detector: DeviceMtcnn, pictures: Sequence[Pixels]) -> list[Detections]:
    return detector.detect(pictures, [MIN_FACE] * len(pictures))


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


def assert_same(found: Detections, expected: Detections) -> None:
    """Assert the same faces in the same order, to a share of a pixel."""
    np.testing.assert_allclose(found.confidences, expected.confidences, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.boxes, expected.boxes, rtol=0, atol=0.02)
    np.testing.assert_allclose(found.landmarks, expected.landmarks, rtol=0, atol=0.02)


def real_photos(shared_data: Path) -> list[Pixels]:
    folder = shared_data / "photos"
    paths = [
        *sorted((shared_data / "lfw-dev").glob("*/*.jpg"))[::400][:12],
        *sorted((folder / "human-samples" / "samples" / "in").glob("group-*.jpg"))[:1],
        *sorted((folder / "wider-mini" / "images").glob("*.jpg"))[::29][:7],
    ]
    pictures = []
    for path in paths:
        picture = Image.open(path).convert("RGB")
        picture.thumbnail((800, 800))
        pictures.append(np.array(picture))
    return pictures


def test_portraits_have_the_faces_that_facenet_pytorch_finds(
    found: list[Detections], reference: Any, pictures: list[Pixels]
) -> None:
    assert [len(faces) for faces in found[:3]] >= [1, 1, 2]
    for faces, pixels in zip(found, pictures, strict=True):
        assert_same(faces, faces_of(reference, pixels) if min(pixels.shape[:2]) > MIN_FACE else Detections.none())


@pytest.mark.slow
def test_real_photos_have_the_faces_that_facenet_pytorch_finds(
    shared_data: Path, detector: DeviceMtcnn, reference: Any
) -> None:
    photos = real_photos(shared_data)
    expected = [faces_of(reference, photo) for photo in photos]

    found = detect(detector, photos)

    lost = extra = total = 0
    for ours, theirs in zip(found, expected, strict=True):
        same = overlaps(theirs.boxes, ours.boxes) >= 0.9
        assert same.any(axis=1)[theirs.confidences > CONFIDENT].all(), "a confident face is lost"
        lost += np.count_nonzero(~same.any(axis=1))
        extra += np.count_nonzero(~same.any(axis=0))
        total += len(theirs)
    assert total >= 30
    assert lost + extra <= 0.02 * total


def test_a_picture_has_the_same_faces_whatever_is_beside_it(
    detector: DeviceMtcnn, found: list[Detections], pictures: list[Pixels]
) -> None:
    order = [5, 3, 0]

    for index, faces in zip(order, detect(detector, [pictures[index] for index in order]), strict=True):
        assert_same(faces, found[index])


def test_each_picture_has_a_smallest_face_of_its_own(detector: DeviceMtcnn, pictures: list[Pixels]) -> None:
    small, large = pictures[3], pictures[0]

    found = detector.detect([small, large, small], [80, 80, 15])

    assert [len(faces) for faces in found] == [0, 1, 1]


def test_too_little_room_changes_no_face(
    detector: DeviceMtcnn, found: list[Detections], pictures: list[Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = []
    cascade = DeviceMtcnn._cascade

    def noting(self: DeviceMtcnn, *arguments: Any) -> Any:
        rooms.append(arguments[-1])
        return cascade(self, *arguments)

    monkeypatch.setattr(Room, "usual", lambda cells, photos: Room(64, 64, 8, each=4, rounds=1))
    monkeypatch.setattr(DeviceMtcnn, "_cascade", noting)
    tight = detect(detector, pictures[:2])

    assert len(rooms) >= 3
    for faces, expected in zip(tight, found, strict=False):
        assert_same(faces, expected)


def test_crops_and_canvases_may_be_worked_on_in_parts(
    detector: DeviceMtcnn, found: list[Detections], pictures: list[Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_mtcnn, "CROPS", 100)
    monkeypatch.setattr(device_mtcnn, "CANVASES", 2)

    for faces, expected in zip(detect(detector, pictures), found, strict=True):
        assert_same(faces, expected)


def test_a_group_too_large_for_the_gpu_is_halved(
    detector: DeviceMtcnn, found: list[Detections], pictures: list[Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GPU's memory is out of reach of a test, so the error is raised for it."""
    sizes = []
    whole = DeviceMtcnn._detect_group

    def small_gpu(self: DeviceMtcnn, group: Sequence[Pixels], smallest: Sequence[float]) -> list[Detections]:
        sizes.append(len(group))
        if len(group) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return whole(self, group, smallest)

    monkeypatch.setattr(DeviceMtcnn, "_detect_group", small_gpu)
    fresh = DeviceMtcnn(torch.device("cpu"))
    for faces, expected in zip(detect(fresh, pictures), found, strict=True):
        assert_same(faces, expected)

    assert sizes[0] == len(pictures)
    del sizes[:]
    detect(fresh, pictures)
    assert max(sizes) <= 2, "the next batch exhausts the memory again"


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (20, 600), (600, 20), (480, 640)])
def test_empty_pictures_have_no_faces(detector: DeviceMtcnn, shape: tuple[int, int]) -> None:
    [found] = detect(detector, [np.full((*shape, 3), 255, np.uint8)])

    assert len(found) == 0


def test_no_pictures_have_no_faces(detector: DeviceMtcnn) -> None:
    assert detect(detector, []) == []


def test_noise_has_the_proposals_it_has(detector: DeviceMtcnn) -> None:
    """Many candidates, all weak: more than there is usual room for must not end in an error."""
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)

    [found] = detect(detector, [noise])

    assert len(found) < 5


def test_in_bfloat16_it_finds_the_same_confident_faces(pictures: list[Pixels], found: list[Detections]) -> None:
    halved = detect(DeviceMtcnn(torch.device("cpu"), half=True), pictures)

    assert_confident_kept(halved, found)
    scores = np.concatenate([faces.confidences for faces in halved])
    assert len(np.unique(scores)) == len(scores), "the last layer is in bfloat16 too"


@pytest.mark.gpu
def test_a_gpu_finds_the_same_confident_faces(pictures: list[Pixels], found: list[Detections]) -> None:
    if not torch.cuda.is_available():
        pytest.skip("this machine has no GPU")

    assert_confident_kept(detect(build_device_mtcnn(), pictures), found)


def assert_confident_kept(found: Sequence[Detections], expected: Sequence[Detections]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        same = overlaps(theirs.boxes, ours.boxes) >= 0.7
        assert same.any(axis=1)[theirs.confidences > CONFIDENT].all()
