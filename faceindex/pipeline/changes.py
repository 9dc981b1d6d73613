"""What became of the photos of an archive since the last run: by their looks before it, by what is in them after it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from faceindex.types import DONE_STATES, PhotoRef

CHUNK = 512
"""Photos of a crawl that are held as objects, few enough for the processor's cache; of the others three columns are
kept."""

_LOOKS = pa.schema([("path", pa.binary()), ("size_bytes", pa.int64()), ("mtime_ns", pa.int64())])
_COLUMNS = ["path", "photo_id"]


@dataclass(slots=True)
class Changes:
    """A crawl held against what is known, by path, size and time."""

    todo: list[PhotoRef] = field(default_factory=list)
    """New and changed photos, and failed ones that are to be tried again; by path."""
    arrived: list[PhotoRef] = field(default_factory=list)
    """Those of them whose path was not known."""
    gone: list[PhotoRef] = field(default_factory=list)
    """Known photos under the crawled roots that were not seen any more; by path."""
    unchanged_count: int = 0


def compare(seen: Iterable[PhotoRef], known: pa.Table, under: Sequence[bytes], *, retry_failed: bool) -> Changes:
    """Return what a crawl of the roots `under` found new, changed and gone.

    Columns are compared, not objects: of a million photos nearly all are as they were.

    Args:
        seen: photos of the crawl; a path that two overlapping roots both gave counts once.
        known: the current generation's tables.PHOTOS_VIEW, each path once.
        under: the crawled roots; known paths elsewhere are left alone.
        retry_failed: try quarantined photos again although size and mtime are the same.
    """
    crawled = pa.Table.from_batches(_columns(iter(seen)), _LOOKS)
    rows = pc.index_in(crawled["path"], value_set=known["path"]).fill_null(-1).to_numpy()
    same = rows >= 0
    for name in ("size_bytes", "mtime_ns"):
        same[same] = crawled[name].to_numpy()[same] == known[name].to_numpy()[rows[same]]
    if retry_failed:
        done = pc.is_in(known["state"], value_set=pa.array([state.value for state in DONE_STATES])).to_numpy()
        same[same] = done[rows[same]]
    found, unchanged = np.zeros(len(known), bool), np.zeros(len(known), bool)
    found[rows[rows >= 0]] = True
    unchanged[rows[same]] = True
    gone = known.filter(pa.array(~found))
    return Changes(
        todo=_refs(crawled.filter(pa.array(~same))),
        arrived=_refs(crawled.filter(pa.array(rows < 0))),
        gone=_refs(gone.filter(pa.array(are_under(gone["path"], under)))),
        unchanged_count=int(unchanged.sum()),
    )


def _columns(seen: Iterator[PhotoRef]) -> Iterator[pa.RecordBatch]:
    while chunk := list(islice(seen, CHUNK)):
        columns = zip(*chunk, strict=True)
        yield pa.record_batch(
            [pa.array(column, kind) for column, kind in zip(columns, _LOOKS.types, strict=True)], schema=_LOOKS
        )


def _refs(table: pa.Table) -> list[PhotoRef]:
    return sorted(set(map(PhotoRef, *(table[name].to_pylist() for name in _LOOKS.names))))


def are_under(paths: pa.ChunkedArray, roots: Sequence[bytes]) -> NDArray[np.bool_]:
    """Return whether each path, binary (n,), is one of the roots or inside one of them; bool (n,)."""
    inside = np.zeros(len(paths), bool)
    for root in roots:
        folder = root.rstrip(b"/") + b"/"
        inside |= pc.equal(paths, pa.scalar(root, pa.binary())).to_numpy() | pc.starts_with(paths, folder).to_numpy()
    return inside


def count_changes(before: pa.Table, tables: Iterable[pa.Table], gone: Sequence[bytes]) -> Counter[str]:
    """Return how many photos are new, changed, touched, moved, copied and deleted.

    A photo is touched when its bytes are the same under the same path, moved when they stand under another path and
    the old one is gone, copied when the old one is there too; changed also when it could not be read before.

    Args:
        before: tables.PHOTOS_VIEW of the generation before; empty where there was none.
        tables: tables.PHOTOS of the photos that were read.
        gone: paths that are no more.
    """
    rows = pa.concat_tables([before.slice(0, 0).select(_COLUMNS), *(table.select(_COLUMNS) for table in tables)])
    if not rows.num_rows and not gone:
        return Counter()
    wanted = pa.array([*rows["path"].to_pylist(), *gone], pa.binary())
    ids = rows["photo_id"].drop_null().unique()
    near = pc.or_(pc.is_in(before["path"], value_set=wanted), pc.is_in(before["photo_id"], value_set=ids))
    known = before.filter(near)
    id_of = dict(zip(known["path"].to_pylist(), known["photo_id"].to_pylist(), strict=True))
    left: Counter[bytes] = Counter(id_of[path] for path in gone if id_of.get(path))
    seen = {photo_id for photo_id in id_of.values() if photo_id}
    found: Counter[str] = Counter(deleted=len(gone))
    for path, photo_id in zip(rows["path"].to_pylist(), rows["photo_id"].to_pylist(), strict=True):
        if path in id_of:
            found["touched" if photo_id and id_of[path] == photo_id else "changed"] += 1
        elif photo_id and left[photo_id]:
            left[photo_id] -= 1
            found["moved"] += 1
            found["deleted"] -= 1
        else:
            found["copied" if photo_id in seen and photo_id else "new"] += 1
        seen.add(photo_id)
    return found
