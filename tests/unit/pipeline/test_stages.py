import io
import math
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from faceindex.arrays import l2_normalize
from faceindex.config import Settings
from faceindex.errors import ItemError
from faceindex.faces.chips import Boxed, Cutter
from faceindex.faces.detect import FaceSizes
from faceindex.faces.recogniser import ENLARGED, Recogniser
from faceindex.images.decode import decode
from faceindex.images.read import photo_id, read_photo
from faceindex.pipeline.memory import Memory
from faceindex.pipeline.stages import CROP_SIDE, crop_jpeg, process_photos
from faceindex.types import Detections, ModelId, PhotoRef, PhotoResult, PhotoState
from faceindex.types import Image as ImageOfPhoto
from tests.support.decoding import ref_of
from tests.support.pictures import encode, scene

Pixels = NDArray[np.uint8]


class BrightMiddle:
    """Sees one face, in the middle of every picture that is not dark; its side is a share of the picture's."""

    id = "bright"

    def __init__(self, share: float = 0.5) -> None:
        self.share = share
        self.seen: list[list[tuple[int, ...]]] = []

    def detect(self, pictures: Sequence[Pixels], smallest: Sequence[float]) -> list[Detections]:
        self.seen.append([picture.shape for picture in pictures])
        return [self.face(picture) if picture.mean() > 20 else Detections.none() for picture in pictures]

    def face(self, picture: Pixels) -> Detections:
        height, width = picture.shape[:2]
        centre, half = np.array([width, height]) / 2, self.share * min(height, width) / 2
        box = np.concatenate([centre - half, centre + half])[None].astype(np.float32)
        marks = np.array([[-0.3, -0.3], [0.3, -0.3], [0, 0], [-0.2, 0.4], [0.2, 0.4]])
        return Detections(box, (centre + half * marks)[None].astype(np.float32), np.array([0.99], np.float32))


class ChipEmbedder:
    """The embedding of a face is its chip."""

    model = ModelId("chip@0")

    def __init__(self, side: int) -> None:
        self.cutter: Cutter = Boxed(side)
        self.dimension = 3 * side * side

    def embed(self, chips: Pixels) -> NDArray[np.float32]:
        return l2_normalize(chips.reshape(len(chips), self.dimension).astype(np.float32) + 1)


def recogniser(share: float = 0.5, chip: int = 8, side: int = 1280) -> Recogniser:
    return Recogniser(BrightMiddle(share), ChipEmbedder(chip), FaceSizes(side_px=side))


def write(folder: Path, **files: bytes) -> list[PhotoRef]:
    """Write files and return their references, in order."""
    refs = []
    for name, content in files.items():
        path = folder / name
        path.write_bytes(content)
        refs.append(ref_of(path))
    return refs


def process(photos: Sequence[PhotoRef], using: Recogniser | None = None, **options: Any) -> list[PhotoResult]:
    given: dict[str, Any] = {"known": lambda identity: None, "excluded": {}, "memory": Memory()}
    settings = options.pop("settings", Settings())
    return process_photos(photos, using or recogniser(), settings, **{**given, **options})


def states(results: Sequence[PhotoResult]) -> list[str]:
    return [str(result.state) for result in results]


def assert_same_results(found: Sequence[PhotoResult], expected: Sequence[PhotoResult]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert replace(ours, faces=None) == replace(theirs, faces=None)
        assert (ours.faces is None) == (theirs.faces is None)
        if ours.faces is not None and theirs.faces is not None:
            for name in ("boxes", "landmarks", "confidences"):
                np.testing.assert_array_equal(
                    getattr(ours.faces.detections, name), getattr(theirs.faces.detections, name)
                )
            np.testing.assert_array_equal(ours.faces.vectors, theirs.faces.vectors)
            np.testing.assert_array_equal(ours.faces.qualities, theirs.faces.qualities)
            assert list(ours.faces.crops) == list(theirs.faces.crops)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> list[PhotoRef]:
    """Photos of many sizes and formats, some dark, some broken, some of them copies."""
    folder = tmp_path_factory.mktemp("mixed")
    bright, dark = scene(300, 200), np.zeros((90, 130, 3), np.uint8)
    refs = write(
        folder,
        a=encode(bright, "JPEG"),
        b=encode(dark, "PNG"),
        c=encode(scene(1900, 1400), "JPEG"),
        d=encode(bright, "JPEG")[:2000],
        e=b"no picture",
        f=encode(bright, "JPEG"),  # a copy of the first
        g=encode(scene(640, 480), "WEBP"),
        h=b"no picture",  # a copy of one that failed
        i=encode(scene(33, 900), "PNG"),
        j=encode(scene(2600, 1500), "JPEG"),
        k=encode(scene(50, 50), "BMP"),
    )
    gone = folder / "gone"
    return [*refs, PhotoRef(os.fsencode(gone), 100, 1)]


@pytest.fixture(scope="module")
def expected(mixed: list[PhotoRef]) -> list[PhotoResult]:
    """The results of those photos."""
    return process(mixed)


def test_every_photo_gets_its_state_and_its_faces_in_order(mixed: list[PhotoRef]) -> None:
    memory = Memory()

    results = process(mixed, memory=memory)

    assert [result.ref for result in results] == mixed
    broken = {3: "truncated", 4: "unsupported", 7: "unsupported", 11: "vanished"}
    assert states(results) == [broken.get(i, "no_face" if i == 1 else "ok") for i in range(12)]
    assert all(result.detail for result in results if str(result.state) not in ("ok", "no_face"))
    for position, result in enumerate(results[:11]):
        assert result.photo_id == photo_id(Path(os.fsdecode(mixed[position].path)).read_bytes())
    assert results[11].photo_id is None
    sizes = {0: (300, 200), 2: (1900, 1400), 6: (640, 480), 8: (33, 900), 9: (2600, 1500), 10: (50, 50)}
    for position, (width, height) in sizes.items():
        image, faces = results[position].image, results[position].faces
        assert image is not None
        assert faces is not None
        assert (image.width, image.height) == (width, height)
        middle = (faces.detections.boxes[0, :2] + faces.detections.boxes[0, 2:]) / 2
        np.testing.assert_allclose(middle, [width / 2, height / 2], rtol=0.01)
        assert results[position].face_count == len(faces.vectors) == len(faces.crops) == 1
    assert memory.held_bytes == 0


def test_copies_in_a_batch_share_the_result_of_the_first_and_have_no_faces_of_their_own(
    expected: list[PhotoResult],
) -> None:
    for copy, original in ((5, 0), (7, 4)):
        assert expected[copy] == replace(expected[original], ref=expected[copy].ref, faces=None)
    assert expected[5].face_count == 1


def test_photos_known_from_earlier_runs_are_not_decoded_again(tmp_path: Path) -> None:
    photos = write(tmp_path, a=encode(scene(), "PNG"), b=encode(scene(60, 60), "PNG"), c=b"known, though no picture")
    before = PhotoResult(PhotoRef(b"/elsewhere", 1, 1), PhotoState.OK, "", b"1" * 16, None, 7)
    using = recogniser()
    identity = photo_id(b"known, though no picture")

    results = process(photos, using, known=lambda photo: before if photo == identity else None)

    assert results[2] == replace(before, ref=photos[2])
    assert using.detector.seen == [[(64, 96, 3), (60, 60, 3)]]  # type: ignore[attr-defined]


def test_excluded_photos_are_not_touched(tmp_path: Path) -> None:
    photos = write(tmp_path, a=encode(scene(), "PNG"), b=encode(scene(60, 60), "PNG"), c=encode(scene(70, 70), "PNG"))
    Path(os.fsdecode(photos[1].path)).unlink()
    beats: list[int] = []

    results = process(
        photos,
        excluded={1: ItemError(PhotoState.CRASHED_DECODER, "killed its worker")},
        on_photo=lambda: beats.append(1),
    )

    assert states(results) == ["ok", "crashed_decoder", "ok"]
    assert (results[1].detail, results[1].photo_id) == ("killed its worker", None)
    assert len(beats) == 2


def decoded_elsewhere(photos: Sequence[PhotoRef]) -> Iterator[tuple[int, bytes | None, ImageOfPhoto | ItemError]]:
    """Yield photos as other processes hand them over."""
    settings = Settings()
    for position, ref in enumerate(photos):
        identity = None
        try:
            payload = read_photo(ref)
            identity = photo_id(payload)
            yield position, identity, decode(payload, ref.path, settings.max_megapixels, settings.detect_side_px)
        except ItemError as error:
            yield position, identity, error


def test_photos_decoded_elsewhere_have_the_same_results(mixed: list[PhotoRef], expected: list[PhotoResult]) -> None:
    memory, beats = Memory(), []

    found = process(mixed, memory=memory, decoded=decoded_elsewhere(mixed), on_photo=lambda: beats.append(1))

    assert_same_results(found, expected)
    assert memory.held_bytes == 0
    assert len(beats) >= len(mixed)


def test_photos_decoded_elsewhere_may_be_known(mixed: list[PhotoRef], expected: list[PhotoResult]) -> None:
    before, using = expected[6], recogniser()

    found = process(
        mixed, using, decoded=decoded_elsewhere(mixed), known=lambda photo: before if photo == before.photo_id else None
    )

    assert found[6] == replace(before, ref=mixed[6])
    assert sum(map(len, using.detector.seen)) == 6  # type: ignore[attr-defined]


def test_an_empty_batch_has_no_results() -> None:
    assert process([]) == []
    assert process([], decoded=iter([])) == []


@pytest.mark.parametrize(("name", "value"), [("CHUNK_PHOTOS", 1), ("CHUNK_PHOTOS", 3), ("CHUNK_BYTES", 500_000)])
def test_chunks_of_any_size_give_the_same_results(
    mixed: list[PhotoRef], expected: list[PhotoResult], monkeypatch: pytest.MonkeyPatch, name: str, value: int
) -> None:
    using, memory = recogniser(), Memory()

    monkeypatch.setattr(f"faceindex.pipeline.stages.{name}", value)
    found = process(mixed, using, memory=memory)

    assert_same_results(found, expected)
    assert memory.held_bytes == 0
    chunks = [chunk for chunk in using.detector.seen if chunk]  # type: ignore[attr-defined]
    assert len(chunks) > 1
    if name == "CHUNK_PHOTOS":
        assert max(map(len, chunks)) == value
    else:
        assert all(len(chunk) == 1 or sum(map(np.prod, chunk)) <= value for chunk in chunks)


@pytest.mark.parametrize("limit_bytes", [19_000_000, 33_000_000, 70_000_000])
def test_little_memory_gives_the_results_of_much(
    mixed: list[PhotoRef], expected: list[PhotoResult], tmp_path: Path, limit_bytes: int
) -> None:
    """The least is little more than the largest photo needs."""
    memory = Memory(limit_bytes, processes=3, turns=tmp_path / "turns")

    found = process(mixed, memory=memory)

    assert_same_results(found, expected)
    assert memory.held_bytes == 0
    assert "too_large" in states(process(mixed, memory=Memory(6_000_000)))


def test_a_photo_that_memory_cannot_hold_is_quarantined_and_the_others_are_not(tmp_path: Path) -> None:
    photos = write(tmp_path, a=encode(scene(), "PNG"), b=encode(scene(2000, 1500), "PNG"), c=encode(scene(), "BMP"))
    memory = Memory(40_000_000)

    results = process(photos, memory=memory)

    assert states(results) == ["ok", "too_large", "ok"]
    assert "--memory" in results[1].detail
    assert results[1].photo_id is not None
    assert memory.held_bytes == 0


def test_small_faces_of_reduced_photos_are_cut_from_the_photo_in_full_and_counted(tmp_path: Path) -> None:
    """The face has 60 pixels in full, 30 in the copy; the chip has 40."""
    [photo] = write(tmp_path, a=encode(scene(1200, 1000), "JPEG", quality=95))
    memory, held = Memory(), []
    settings = replace(Settings(), detect_side_px=600)
    briefly = memory.briefly
    memory.briefly = lambda count: held.append(count) or briefly(count)  # type: ignore[method-assign, func-returns-value]

    [result] = process([photo], recogniser(0.06, 40, 600), memory=memory, settings=settings)

    scale = 40 / 60 / ENLARGED  # of the photo, at which its face is not enlarged too much
    assert held == [math.ceil(8 * min(1, 2 * scale) ** 2 * 1200 * 1000)]
    assert memory.held_bytes == 0
    assert result.faces is not None
    np.testing.assert_allclose(result.faces.detections.boxes, [[570, 470, 630, 530]], atol=1)
    [in_full] = process([photo], recogniser(0.06, 40, 1200), settings=replace(Settings(), detect_side_px=1200))
    assert in_full.faces is not None
    assert float(result.faces.vectors[0] @ in_full.faces.vectors[0]) > 0.9999


def test_a_photo_that_hangs_costs_only_itself(tmp_path: Path) -> None:
    """Looking up what is known is the one step of reading that a test can hold."""
    photos = write(tmp_path, a=encode(scene(), "PNG"), b=encode(scene(60, 60), "PNG"), c=encode(scene(70, 70), "PNG"))
    hanging, go_on, memory = photo_id(Path(os.fsdecode(photos[1].path)).read_bytes()), threading.Event(), Memory()

    def known(identity: bytes) -> None:
        if identity == hanging:
            go_on.wait()

    results = process(photos, known=known, memory=memory, settings=replace(Settings(), photo_timeout_s=1.0))

    go_on.set()
    assert states(results) == ["ok", "timeout", "ok"]
    assert results[1].detail == "took longer than 1 s to read"
    assert memory.held_bytes == 0


def test_a_defect_ends_the_run(tmp_path: Path) -> None:
    def known(identity: bytes) -> None:
        raise KeyError("a defect")

    with pytest.raises(KeyError, match="a defect"):
        process(write(tmp_path, a=encode(scene(), "PNG")), known=known)


def test_no_crops_are_cut_when_they_are_switched_off(tmp_path: Path) -> None:
    [result] = process(write(tmp_path, a=encode(scene(), "PNG")), settings=replace(Settings(), crops=False))

    assert result.faces is not None
    assert list(result.faces.crops) == []


def test_crops_of_a_reduced_photo_show_the_face(tmp_path: Path) -> None:
    picture = np.full((1600, 2400, 3), 40, np.uint8)
    picture[600:1000, 1000:1400] = (250, 30, 30)
    [photo] = write(tmp_path, a=encode(picture, "JPEG"))

    [result] = process([photo], recogniser(0.25, side=600), settings=replace(Settings(), detect_side_px=600))

    assert result.faces is not None
    with Image.open(io.BytesIO(result.faces.crops[0])) as crop:
        pixels = np.asarray(crop)
    height, width = pixels.shape[:2]
    assert height == width
    middle, edge = pixels[height // 3 : -height // 3, width // 3 : -width // 3], pixels[:3]
    assert np.abs(middle.mean(axis=(0, 1)) - (250, 30, 30)).max() < 12
    assert np.abs(edge.mean(axis=(0, 1)) - 40).max() < 12


def test_the_clock_is_given_every_stage(tmp_path: Path) -> None:
    using = recogniser()

    process(write(tmp_path, a=encode(scene(), "PNG")), using)

    assert set(using.clock.seconds) == {"read", "decode", "wait", "detect", "align", "embed", "crop"}


@pytest.mark.parametrize("box", [[10, 10, 60, 70], [-20, -20, 30, 30], [380, 280, 480, 380], [0, 0, 400, 300]])
def test_a_crop_shows_the_box_and_stays_in_the_photo(box: list[float]) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)

    crop = Image.open(io.BytesIO(crop_jpeg(pixels, np.array(box, np.float32))))

    assert crop.format == "JPEG"
    assert max(crop.size) <= CROP_SIDE
    assert min(crop.size) > 0
