import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from faceindex import demo
from faceindex.demo import PEOPLE, QUERIES, VARIANTS, DemoArchive, build_archive
from faceindex.errors import FaceIndexError, ItemError
from faceindex.images.decode import decode
from faceindex.types import Image

_watched: list[list[str]] = []


def _audit(event: str, _: object) -> None:
    if _watched and event.startswith(("socket.", "urllib.", "subprocess.")):
        _watched[-1].append(event)


@contextmanager
def watched_for_network() -> Iterator[list[str]]:
    """Collect what would reach outside; a hook cannot be removed, so it listens only in here."""
    if not getattr(watched_for_network, "installed", False):
        sys.addaudithook(_audit)
        watched_for_network.installed = True  # type: ignore[attr-defined]
    events: list[str] = []
    _watched.append(events)
    try:
        yield events
    finally:
        _watched.pop()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> DemoArchive:
    return build_archive(tmp_path_factory.mktemp("demo"))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read(path: Path) -> Image:
    return decode(path.read_bytes(), os.fsencode(path), max_megapixels=120)


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Return 12 x 12 means of a square picture: what is left of it when it is moved a little."""
    side = min(pixels.shape[:2]) // 12 * 12
    return pixels[:side, :side].astype(np.float64).reshape(12, side // 12, 12, side // 12, 3).mean(axis=(1, 3))


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, archive: DemoArchive) -> None:
    again = build_archive(tmp_path)

    assert files_of(tmp_path) == files_of(archive.photos.parent)
    assert again.shows == archive.shows


def test_another_seed_gives_other_pictures_of_the_same_names(tmp_path: Path, archive: DemoArchive) -> None:
    other = build_archive(tmp_path, seed=1)

    ours, theirs = files_of(archive.photos), files_of(other.photos)
    assert ours.keys() == theirs.keys()
    assert ours["hopper/crop.jpg"] != theirs["hopper/crop.jpg"]


def test_the_archive_holds_the_files_it_lists_and_no_others(archive: DemoArchive) -> None:
    assert set(files_of(archive.photos)) == {*archive.shows, *archive.broken}
    assert 30 <= len(archive.shows) + len(archive.broken) <= 40


def test_every_photo_can_be_decoded_and_no_broken_file_can(archive: DemoArchive) -> None:
    for path in archive.shows:
        assert min(read(archive.photos / path).pixels.shape[:2]) >= 100, path

    for path, state in zip(archive.broken, ("truncated", "unsupported"), strict=True):
        with pytest.raises(ItemError) as caught:
            read(archive.photos / path)
        assert caught.value.state == state, path


def test_files_are_in_the_formats_their_names_say(archive: DemoArchive) -> None:
    formats = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".heic": "HEIF"}

    found = {path: read(archive.photos / path).format for path in archive.shows}

    assert found == {path: formats[Path(path).suffix] for path in archive.shows}
    assert set(found.values()) == set(formats.values())


def test_a_photo_turned_by_exif_is_stored_on_its_side_and_comes_out_upright(archive: DemoArchive) -> None:
    for name in PEOPLE:
        path = archive.photos / name / "turned-by-exif.jpg"
        plain = thumbnail(read(archive.photos / name / "crop.jpg").pixels)
        stored = thumbnail(np.asarray(PIL.Image.open(path)))

        quarter_turns = int(np.argmin([np.abs(np.rot90(stored, turns) - plain).mean() for turns in range(4)]))
        shown = read(path)

        assert quarter_turns == 3
        assert shown.orientation == 6
        assert np.abs(thumbnail(shown.pixels) - plain).mean() < np.abs(stored - plain).mean() / 1.5


def test_every_variant_of_a_picture_is_different(archive: DemoArchive) -> None:
    files = files_of(archive.photos)

    assert len(set(files.values())) == len(files)
    assert all(f"{name}/{variant.file}" in files for name in PEOPLE for variant in VARIANTS)


def test_queries_are_pictures_outside_the_archive(archive: DemoArchive) -> None:
    archived = set(files_of(archive.photos).values())

    assert tuple(archive.queries) == QUERIES
    for path in archive.queries.values():
        assert archive.photos not in path.parents
        assert path.read_bytes() not in archived
        assert read(path).format == "JPEG"


def test_no_network_and_no_process_is_used(tmp_path: Path) -> None:
    with watched_for_network() as events:
        build_archive(tmp_path)

    assert events == []


def test_a_missing_picture_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "STRANGER", "skimage/data/no-such-picture.png")

    with pytest.raises(FaceIndexError, match=r"needs .*no-such-picture\.png, which the package skimage should bring"):
        build_archive(tmp_path)
