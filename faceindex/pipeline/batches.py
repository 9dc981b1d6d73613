"""In which batches photos are done.

A batch is a deterministic piece of work: its id hashes the settings and the photos (path, size, mtime) in it, so the
same folder gives the same batches, the same file names and the same bytes, whoever runs it and however often.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from blake3 import blake3

from faceindex.config import Settings
from faceindex.faces import quality
from faceindex.types import ModelId, PhotoRef

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Photos that are done together, by one task, into one set of files."""

    batch_id: str
    photos: tuple[PhotoRef, ...]


def settings_digest(settings: Settings, detector_id: str, model: ModelId) -> str:
    """Return 16 hex digits over everything that the bytes of data files depend on, apart from the photos."""
    hasher = blake3()
    for name, value in sorted(settings.data_settings().items()):
        hasher.update(f"{name}={value!r}\n".encode())
    hasher.update(f"{detector_id}\n{model}\nquality {quality.VERSION}\n".encode())
    return hasher.hexdigest()[:16]


def make_batches(photos: Sequence[PhotoRef], settings: Settings, digest: str) -> Iterator[Batch]:
    """Yield the batches of photos that are already in order of path."""
    group: list[PhotoRef] = []
    size = 0
    for ref in photos:
        full = len(group) >= settings.batch_photos or size + ref.size_bytes > settings.batch_megabytes * MEGABYTE
        if group and full:
            yield Batch(batch_id(group, digest), tuple(group))
            group, size = [], 0
        group.append(ref)
        size += ref.size_bytes
    if group:
        yield Batch(batch_id(group, digest), tuple(group))


def batch_id(photos: Sequence[PhotoRef], digest: str) -> str:
    """Return 32 hex digits over the settings' digest and each photo's path, size and mtime."""
    hasher = blake3(digest.encode())
    for ref in photos:
        for number in (len(ref.path), ref.size_bytes, ref.mtime_ns):
            hasher.update(number.to_bytes(8, "little", signed=True))
        hasher.update(ref.path)
    return hasher.hexdigest()[:32]
