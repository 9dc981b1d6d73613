"""From a folder to a plan: what changed since the last generation, and in which batches it is done.

A batch is a deterministic piece of work: its id hashes the settings and the photos (path, size, mtime) in it, so the
same folder gives the same batches, the same file names and the same bytes, whoever runs it and however often.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from blake3 import blake3

from faceindex.config import Settings
from faceindex.faces import quality
from faceindex.types import DONE_STATES, ModelId, PhotoRef, PhotoState

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Photos that are done together, by one task, into one set of files."""

    batch_id: str
    photos: tuple[PhotoRef, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """What the current generation says of a path."""

    size_bytes: int
    mtime_ns: int
    state: PhotoState


@dataclass(slots=True)
class Changes:
    """A crawl held against what is known."""

    todo: list[PhotoRef] = field(default_factory=list)
    """New and changed photos, and failed ones that are to be tried again."""
    gone: list[bytes] = field(default_factory=list)
    """Paths under the crawled roots that were not seen any more."""
    unchanged_count: int = 0


def settings_digest(settings: Settings, detector_id: str, model: ModelId) -> str:
    """Return 16 hex digits over everything that the bytes of data files depend on, apart from the photos."""
    hasher = blake3()
    for name, value in sorted(settings.data_settings().items()):
        hasher.update(f"{name}={value!r}\n".encode())
    hasher.update(f"{detector_id}\n{model}\nquality {quality.VERSION}\n".encode())
    return hasher.hexdigest()[:16]


def compare(
    seen: Iterable[PhotoRef], known: dict[bytes, Known], under: Sequence[bytes], *, retry_failed: bool
) -> Changes:
    """Return what a crawl of the roots `under` found new, changed and gone.

    Args:
        seen: photos of the crawl; a path that two overlapping roots both gave counts once.
        known: every path of the current generation.
        under: the crawled roots; known paths elsewhere are left alone.
        retry_failed: try quarantined photos again although size and mtime are the same.
    """
    changes = Changes()
    found: set[bytes] = set()
    for ref in seen:
        if ref.path in found:
            continue
        found.add(ref.path)
        before = known.get(ref.path)
        same = before is not None and (before.size_bytes, before.mtime_ns) == (ref.size_bytes, ref.mtime_ns)
        if before is not None and same and (before.state in DONE_STATES or not retry_failed):
            changes.unchanged_count += 1
        else:
            changes.todo.append(ref)
    changes.todo.sort()
    changes.gone = sorted(path for path in known if path not in found and is_under(path, under))
    return changes


def is_under(path: bytes, roots: Sequence[bytes]) -> bool:
    """Return whether a path is one of the roots or inside one of them."""
    return any(path == root or path.startswith(root.rstrip(b"/") + b"/") for root in roots)


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
