"""Compaction: a generation of the same photos in fewer, larger files, without what is dead.

Small data files are merged and small shards too. Everything new is written before the generation that names it is
published, and files have names made of what they hold: killed anywhere, the same command does it again. What the old
generation needs is removed once no reader can be using it any more (`upkeep.collect`).
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from faceindex.arrays import ID_BYTES
from faceindex.catalog import generations
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.files import Files
from faceindex.catalog.generations import BatchFiles, Generation
from faceindex.catalog.layout import crops_path, faces_path, photos_path
from faceindex.catalog.live import open_view, write_view
from faceindex.catalog.missing import open_missing, within_grace, write_missing
from faceindex.catalog.parquet import read_table, write_table
from faceindex.decisions.calibrate import calibrated
from faceindex.gallery.renew import with_gallery
from faceindex.identities.ledger import Ledger
from faceindex.tables import CROPS, PHOTOS, PHOTOS_VIEW, completed, from_id_column

MERGED_BYTES = 32 << 20
"""Data files are merged up to about this size, photos, faces and crops together: to read one photo's rows stays quick,
and ten million photos need some thousand files."""


DUE_BATCHES = 64
DUE_SHARDS = 8
"""More than so many small data files, or shards, are worth merging."""


def is_due(catalog: Catalog, served: Generation) -> bool:
    """Tell whether to compact: there are many small files or shards, or rows of photos that are to be forgotten."""
    small = sum(2 * _bytes_of(batch) <= MERGED_BYTES for batch in served.batches.values())
    if small > DUE_BATCHES or len(served.shards) > DUE_SHARDS:
        return True
    ids = _Live(*_kept(catalog, served)).photo_ids
    stored = (read_table(catalog.files, batch.photos, ["photo_id"])["photo_id"] for batch in served.batches.values())
    return any(pc.any(pc.invert(pc.is_in(column.drop_null(), value_set=ids))).as_py() for column in stored)


class _Live:
    """What is alive in a generation, batch by batch: the rows of its view, and of photos that may yet come back."""

    def __init__(self, view: pa.Table, missing: pa.Table) -> None:
        view = pa.concat_tables([view, missing.select(PHOTOS_VIEW.names).cast(view.schema)])
        self.photo_ids = view["photo_id"].drop_null().unique()
        encoded = view["batch"].combine_chunks().dictionary_encode()
        codes = encoded.indices.to_numpy()
        order = np.argsort(codes, kind="stable")
        self._paths = view["path"].combine_chunks().take(pa.array(order))
        ends = np.cumsum(np.bincount(codes, minlength=len(encoded.dictionary)))
        starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
        self._parts = dict(zip(encoded.dictionary.to_pylist(), zip(starts, ends, strict=True), strict=True))

    def count(self, batch: str) -> int:
        """Return how many photos the generation takes from a batch."""
        start, end = self._parts.get(batch, (0, 0))
        return int(end - start)

    def rows_of(self, batch: str, photos: pa.Table) -> pa.Table:
        """Return those rows of a batch's photos that the generation still takes from it."""
        start, _ = self._parts.get(batch, (0, 0))
        return photos.filter(pc.is_in(photos["path"], value_set=self._paths.slice(start, self.count(batch))))


def compact(catalog: Catalog, served: Generation, *, rebuild: bool = False) -> Generation:
    """Publish the served generation anew in fewer files; return it as it is when there is nothing to merge or drop.

    Args:
        catalog: the catalog, whose writer lock is held.
        served: the generation that is served.
        rebuild: train and build the index anew from the data files, whatever state the shards are in.

    Raises:
        RefusedError: the index loses too much; the served generation stays.
        DamagedError: a data file is missing or differs from what the generation recorded.
    """
    files = catalog.files
    view, missing = _kept(catalog, served)
    live = _Live(view, missing)
    merged = dict(served.batches)
    moved: dict[str, str] = {}
    for group in _groups(files, served, live):
        made = _merge(files, served, group, live)
        for batch in group:
            del merged[batch]
        if made is not None:
            batch_id, entries = made
            merged[batch_id] = entries
            moved |= dict.fromkeys(group, batch_id)
    unchanged = merged.keys() == served.batches.keys()
    if unchanged and not rebuild and len(served.shards) < 2 and served.tombstones is None:
        return served
    number = served.number + 1
    draft = replace(
        served,
        number=number,
        previous=served.number,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        batches=merged,
        view=served.view if unchanged else write_view(files, number, _in_batches(view, moved)),
        missing=served.missing if unchanged else write_missing(files, number, _in_batches(missing, moved)),
    )
    if rebuild:
        draft = replace(draft, shards=(), tombstones=None, quality=None)
    renewed = with_gallery(files, draft, catalog.settings.index, compact=True)
    if unchanged and renewed.shards == served.shards and not rebuild:
        return served
    # Drift is told against thresholds that a rebuild may be there to replace.
    finished = calibrated(catalog, renewed, None if rebuild else served)
    generations.publish(files, finished)
    Ledger(files).backup(finished.number)
    return finished


def _kept(catalog: Catalog, served: Generation) -> tuple[pa.Table, pa.Table]:
    """Return the live photos, and those that are gone and not yet to be forgotten."""
    missing = open_missing(catalog.files, served)
    grace = catalog.settings.removal_grace_days
    return open_view(catalog.files, served), within_grace(missing, int(time.time()), grace)


def _groups(files: Files, served: Generation, live: _Live) -> Iterator[list[str]]:
    """Yield the batches that are merged with one another, or written again alone because some of them is dead."""
    group: list[str] = []
    size, dead = 0, False
    for batch, entries in sorted(served.batches.items()):
        some_dead = live.count(batch) < len(read_table(files, entries.photos, ["path"]))
        own = _bytes_of(entries)
        if 2 * own > MERGED_BYTES and not some_dead:
            continue
        if group and size + own > MERGED_BYTES:
            if len(group) > 1 or dead:
                yield group
            group, size, dead = [], 0, False
        group.append(batch)
        size, dead = size + own, dead or some_dead
    if len(group) > 1 or dead:
        yield group


def _bytes_of(batch: BatchFiles) -> int:
    return sum(entry.size_bytes for entry in (batch.photos, batch.faces, batch.crops) if entry)


def _merge(files: Files, served: Generation, group: list[str], live: _Live) -> tuple[str, BatchFiles] | None:
    """Write the live rows of some batches as one; None when nothing of them is alive."""
    photos, faces, crops = [], [], []
    for batch in group:
        entries = served.batches[batch]
        photos.append(live.rows_of(batch, completed(read_table(files, entries.photos), PHOTOS)))
        part = read_table(files, entries.faces)
        # A photo's faces stand where its bytes were first seen, which may not be where its path is now.
        faces.append(part.filter(pc.is_in(part["photo_id"], value_set=live.photo_ids)))
        if entries.crops:
            pictures = read_table(files, entries.crops)
            crops.append(
                pictures.filter(pc.is_in(pictures["face_id"], value_set=faces[-1]["face_id"].combine_chunks()))
            )
    kept_photos, kept_faces = pa.concat_tables(photos), _first_of_each(pa.concat_tables(faces))
    if not len(kept_photos) and not len(kept_faces):
        return None
    batch_id = _name(group, kept_photos, kept_faces)
    kept_crops = _first_of_each(pa.concat_tables([CROPS.empty_table(), *crops]))
    # In the order of a run: photos last, because they mark a batch as done.
    crops_entry = write_table(files, crops_path(batch_id), kept_crops.cast(CROPS))
    faces_entry = write_table(files, faces_path(batch_id), kept_faces)
    photos_entry = write_table(files, photos_path(batch_id), kept_photos)
    return batch_id, BatchFiles(photos_entry, faces_entry, crops_entry)


def _first_of_each(faces: pa.Table) -> pa.Table:
    """Return the rows of a table with each face id once, in their order."""
    _, first = np.unique(from_id_column(faces["face_id"]).view(f"S{ID_BYTES}"), return_index=True)
    return faces.take(np.sort(first)).combine_chunks()


def _name(group: list[str], photos: pa.Table, faces: pa.Table) -> str:
    hasher = blake3(b"compacted")
    for text in group:
        hasher.update(text.encode())
    for column in (photos["path"], faces["face_id"]):
        for value in column.to_pylist():
            hasher.update(len(value).to_bytes(4, "little") + value)
    return hasher.hexdigest()[:32]


def _in_batches(view: pa.Table, moved: Mapping[str, str]) -> pa.Table:
    """Return the live photos with the batches they are in now."""
    encoded = view["batch"].combine_chunks().dictionary_encode()
    names = pa.array([moved.get(name, name) for name in encoded.dictionary.to_pylist()], pa.string())
    position = view.schema.get_field_index("batch")
    return view.set_column(position, view.schema.field(position), names.take(encoded.indices))
