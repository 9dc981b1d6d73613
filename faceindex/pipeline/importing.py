"""Enrolment of embeddings made elsewhere: a file of vectors becomes batches of a catalog, and is published.

The file is read twice: once to see that all of it can be enrolled, then to store what is new. Only what tells its rows
apart is kept of it in between, some 300 bytes of a row.

Every vector stands as a face of a photo of its own that is on no disk; its path says where it came from. Batches have
names made of what they hold, and the plan is written when all of them are there: killed anywhere, the same command does
what is left, and an index run in between may publish it as it publishes the work of any interrupted run.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from blake3 import blake3
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.checksums import entry_of
from faceindex.catalog.files import open_files
from faceindex.catalog.generations import BatchFiles
from faceindex.catalog.layout import SETTINGS, crops_path, faces_path, photos_path
from faceindex.catalog.parquet import write_table
from faceindex.catalog.upkeep import collect
from faceindex.errors import ConfigError
from faceindex.faces.loading import detector_id
from faceindex.gallery.filters import require_date
from faceindex.pipeline.batches import Batch, batch_id, settings_digest
from faceindex.pipeline.changes import compare
from faceindex.pipeline.import_model import model_for, settings_for
from faceindex.pipeline.plans import Plan, new_run, write_plan
from faceindex.pipeline.publish import known_photos, publish_plan
from faceindex.pipeline.report import RunReport
from faceindex.tables import CROPS, IMPORTED, PHOTOS, face_id, faces_schema, to_float16_column, to_id_column
from faceindex.types import ModelId, PhotoRef, PhotoState
from faceindex.vector_files import VectorFile, VectorRows, stated_model

BATCH_ROWS = 4096

UNKNOWN = np.nan
"""Confidence and quality of faces whose picture nobody here has seen."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: `faceindex.import/1`."""

    catalog: str
    generation: int
    imported: int
    """Vectors that are new, or another than before under their id."""
    unchanged: int
    renormalised: bool
    """Whether vectors had to be scaled to unit length."""


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """One vector of the file."""

    ref: PhotoRef
    vector: NDArray[np.float16]
    """float16 (d,), unit length."""
    person: str | None
    date: str | None


def import_vectors(
    catalog: str, path: str, model: str | None = None, progress: Callable[..., None] = lambda *_: None
) -> Imported:
    """Enrol the vectors of a file.

    Args:
        catalog: folder or URL; made when there is none and the file can be enrolled.
        path: see `VectorFile`.
        model: the embedder that made the vectors, by the name `faceindex index --model` takes, or any name for one that
            faceindex does not have; a new catalog needs it unless the file says it.
        progress: called with (phase, rows done, rows in all).

    Raises:
        ConfigError: the file holds anything but vectors of that model's dimension, or ids that are not unique.
        ModelMismatchError: the file, or `model`, names another model than the catalog's.
        LockedError: a run is going on.
    """
    opened = Catalog.open(catalog) if open_files(catalog).exists(SETTINGS) else None
    told = stated_model(path)
    settings = settings_for(catalog, opened, model or (None if opened else told))
    wanted, dimension = model_for(settings, opened.current() if opened else None, model, told)
    file = VectorFile(path, dimension)
    file.require_model(wanted, settings.embedder)
    refs = _survey(file, wanted, progress)
    if opened is None:
        opened = Catalog.create(catalog, settings)
    with opened.lock(f"faceindex import {path}"):
        served = opened.current()
        todo = set(compare(refs, known_photos(opened, served), (), retry_failed=False).todo)
        digest = settings_digest(settings, detector_id(settings.detector), wanted)
        done: dict[str, BatchFiles] = {}
        batches: list[Batch] = []
        imported = 0
        for part in _batches(file, wanted, todo):
            batch = tuple(row.ref for row in part)
            name = batch_id(batch, f"{digest}-import")
            done[name] = _written(opened, name, part, wanted)
            batches.append(Batch(name, batch))
            imported += len(part)
            progress("importing", imported, len(todo))
        if imported != len(todo):
            raise ConfigError(f"{path} changed while it was read; run the same command again")
        if batches:
            plan = Plan(new_run(), digest, tuple(batches), ())
            write_plan(opened.files, plan)
            progress("building the index", imported, imported)
            served = publish_plan(opened, served, plan, done, RunReport(catalog=opened.root))
            collect(opened.files)
    assert served is not None
    return Imported(opened.root, served.number, imported, len(refs) - imported, file.renormalised)


def _survey(file: VectorFile, model: ModelId, progress: Callable[..., None]) -> list[PhotoRef]:
    """Return what tells the rows of a file from those that a catalog knows; reads all of it.

    Raises:
        ConfigError: a row cannot be enrolled, or two have one id.
    """
    refs = []
    for rows in file.batches():
        for number, date in enumerate(rows.dates):
            require_date(f"row {rows.start + number} of {file.path}: its date", date)
        refs += [row.ref for row in _rows(file, rows, model)]
        progress("reading", len(refs), len(file))
    if len({ref.path for ref in refs}) < len(refs):
        [(commonest, times)] = Counter(ref.path for ref in refs).most_common(1)
        name = os.fsdecode(commonest.removeprefix(IMPORTED))
        raise ConfigError(f"{file.path}: each id once wanted, got {name!r} {times} times; leave the others out")
    return refs


def _batches(file: VectorFile, model: ModelId, todo: set[PhotoRef]) -> Iterator[list[_Row]]:
    """Yield the rows of a file that are to be enrolled, so many at a time as a batch holds."""
    waiting: list[_Row] = []
    for rows in file.batches():
        waiting += [row for row in _rows(file, rows, model) if row.ref in todo]
        while len(waiting) >= BATCH_ROWS:
            yield waiting[:BATCH_ROWS]
            waiting = waiting[BATCH_ROWS:]
    if waiting:
        yield waiting


def _rows(file: VectorFile, rows: VectorRows, model: ModelId) -> list[_Row]:
    place = os.path.abspath(file.path)  # noqa: PTH100 - a Path cannot hold every name
    made = []
    for number, vector in enumerate(rows.vectors.astype(np.float16)):
        name, person, date = rows.ids[number], rows.people[number], rows.dates[number]
        path = IMPORTED + os.fsencode(f"{place}#{rows.start + number}" if name is None else name)
        # In place of the times a file has: changed when anything that is stored of the vector is.
        told = f"{model}\n{person}\n{date}\n".encode() + vector.tobytes()
        stamp = int.from_bytes(blake3(told).digest(7), "little")
        made.append(_Row(PhotoRef(path, vector.nbytes, stamp), vector, person, date))
    return made


def _written(catalog: Catalog, name: str, rows: Sequence[_Row], model: ModelId) -> BatchFiles:
    """Write a batch as a run does, its photos last; one that is there is done."""
    files = catalog.files
    paths = crops_path(name), faces_path(name), photos_path(name)
    if files.exists(paths[2]):
        crops, faces, photos = (entry_of(files, path) for path in paths)
        return BatchFiles(photos, faces, crops)
    photo_ids = [_photo_id(row) for row in rows]
    nowhere = np.zeros(4, np.float32)
    face_ids = [face_id(photo, nowhere) for photo in photo_ids]
    vectors = np.array([row.vector for row in rows], np.float32)
    zero, unknown = (pa.array(np.full(len(rows), value, np.float32)) for value in (0.0, UNKNOWN))
    landmarks = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(10 * len(rows), np.float32)), 10)
    ids = (to_id_column(np.frombuffer(b"".join(column), f"V{ID_BYTES}")) for column in (face_ids, photo_ids))
    columns = [*ids, zero, zero, zero, zero, unknown, unknown, landmarks, to_float16_column(vectors)]
    told = [
        {
            "path": row.ref.path,
            "size_bytes": row.ref.size_bytes,
            "mtime_ns": row.ref.mtime_ns,
            "state": str(PhotoState.OK),
            "detail": "imported",
            "photo_id": identity,
            "captured_at": row.date,
            "face_count": 1,
            "person": row.person,
        }
        for row, identity in zip(rows, photo_ids, strict=True)
    ]
    crops = write_table(files, paths[0], CROPS.empty_table())
    faces = write_table(files, paths[1], pa.table(columns, schema=faces_schema(vectors.shape[1], model)))
    return BatchFiles(write_table(files, paths[2], pa.Table.from_pylist(told, schema=PHOTOS)), faces, crops)


def _photo_id(row: _Row) -> bytes:
    """Return the id of a row's photo: of its path and what is stored of it."""
    return blake3(row.ref.path + b"\0" + row.ref.mtime_ns.to_bytes(8, "little")).digest(ID_BYTES)
