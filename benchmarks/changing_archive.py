"""An archive that people work on, and what a catalog holds of it; used by tests too."""

import random
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from blake3 import blake3

import faceindex
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import Generation
from faceindex.catalog.live import live_faces, open_view

Photo = tuple[str, int]
"""State, and number of faces."""

TORN_BYTES = 900


def torn(photo: Path) -> bytes:
    """Return a photo that was copied in part."""
    return photo.read_bytes()[:TORN_BYTES]


def identity(photo: Path) -> bytes:
    """Return the id of a photo, which its bytes give."""
    return blake3(photo.read_bytes()).digest(16)


def add(generator: random.Random, photos: Path, originals: Sequence[Path], count: int = 3) -> None:
    """Copy photos into a folder under new names; some may be there already."""
    for photo in generator.sample(list(originals), count):
        shutil.copy(photo, photos / f"new-{generator.randrange(10**9)}.jpg")


def move(generator: random.Random, photos: Path, count: int = 3, to: str = "moved") -> None:
    """Move photos of a folder into one below it."""
    (photos / to).mkdir(exist_ok=True)
    for photo in _some(generator, photos.glob("*.jpg"), count):
        photo.rename(photos / to / photo.name)


def touch(generator: random.Random, photos: Path, count: int = 3) -> None:
    """Let photos seem to be newer than they are."""
    for photo in _some(generator, photos.rglob("*.jpg"), count):
        photo.touch()


def delete(generator: random.Random, photos: Path, count: int = 2) -> None:
    """Remove photos."""
    for photo in _some(generator, photos.rglob("*.jpg"), count):
        photo.unlink()


def corrupt(generator: random.Random, photos: Path, count: int = 1) -> None:
    """Cut photos short."""
    for photo in _some(generator, photos.glob("*.jpg"), count):
        photo.write_bytes(torn(photo))


def _some(generator: random.Random, paths: Iterable[Path], count: int) -> list[Path]:
    listed = sorted(paths)
    return generator.sample(listed, min(count, len(listed)))


def served_of(catalog: Path) -> tuple[Catalog, Generation]:
    """Open a catalog that was published."""
    opened = Catalog.open(str(catalog))
    served = opened.current()
    if served is None:
        raise ValueError(f"{catalog} has no published generation")
    return opened, served


def photos_of(catalog: Path) -> dict[str, tuple[bytes | None, Photo]]:
    """Return id, state and face count of each path."""
    opened, served = served_of(catalog)
    rows = open_view(opened.files, served).to_pylist()
    return {row["path"].decode(): (row["photo_id"], (row["state"], row["face_count"])) for row in rows}


def faces_of(catalog: Path) -> dict[bytes, tuple[bytes, bytes]]:
    """Return photo and embedding of each live face, byte for byte."""
    opened, served = served_of(catalog)
    rows = live_faces(opened.files, served, ["face_id", "photo_id", "embedding"]).to_pylist()
    return {row["face_id"]: (row["photo_id"], row["embedding"]) for row in rows}


def searchable(catalog: Path) -> set[bytes]:
    """Return the faces that searches look at."""
    return set(faceindex.open(str(catalog)).faces()["face_id"].to_pylist())
