"""The files of a catalog without some faces: data files, tables of a generation, the index, pages of runs."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from faceindex.catalog import generations, layout
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.checksums import write_entry
from faceindex.catalog.erased import Erasure
from faceindex.catalog.files import Files
from faceindex.catalog.generations import BatchFiles, Generation
from faceindex.catalog.live import open_view, write_view
from faceindex.catalog.missing import open_missing, write_missing
from faceindex.catalog.parquet import open_arrow, read_table, write_arrow, write_table
from faceindex.decisions.calibrate import calibrated
from faceindex.gallery.renew import with_gallery
from faceindex.tables import ID, IMPORTED, PHOTOS, completed
from faceindex.types import PhotoState

PICTURE = re.compile(rb"data:image/jpeg;base64,[A-Za-z0-9+/=]*")


def published(catalog: Catalog, served: Generation, erasure: Erasure) -> Generation:
    """Publish a generation that never knew the faces.

    Args:
        catalog: whose writer lock is held, and whose ledger knows nothing of the person any more.
        served: the generation that is served.
        erasure: what is to go.

    Raises:
        RefusedError: the index loses too much without them; the served generation stays.
    """
    files, number = catalog.files, served.number + 1
    wanted = pa.array(erasure.faces, ID)
    counts = _faces_of_photos(files, served, wanted)
    batches: dict[str, BatchFiles] = {}
    renamed: dict[str, str] = {}
    for batch, entries in served.batches.items():
        renamed[batch], rewritten = _batch(files, batch, entries, wanted, counts, erasure)
        batches[renamed[batch]] = rewritten
    view = _rows(open_view(files, served), renamed, counts, erasure)
    draft = replace(
        served,
        number=number,
        previous=served.number,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        batches=batches,
        view=write_view(files, number, view),
        missing=write_missing(files, number, _rows(open_missing(files, served), renamed, counts, erasure)),
        photo_counts={row["values"]: row["counts"] for row in pc.value_counts(view["state"]).to_pylist()},
        calibration={},
    )
    if served.clusters is not None:
        left = _unmentioned(open_arrow(files, served.clusters), wanted)
        written = write_arrow(files, layout.clusters_path(number), left)
        draft = replace(draft, clusters=written, cluster_count=len(left["cluster"].unique()))
    if served.links is not None:
        left = _unmentioned(open_arrow(files, served.links), wanted)
        draft = replace(draft, links=write_arrow(files, layout.links_path(number), left))
    renewed = with_gallery(files, draft, catalog.settings.index, compact=True)
    finished = calibrated(catalog, renewed, served)
    generations.publish(files, finished)
    return finished


def without_thumbnails(files: Files, served: Generation) -> Generation:
    """Take the pictures out of all pages of runs, as nobody knows who is in a photo that could not be read.

    Returns:
        The generation as it names the pages then.
    """
    runs = dict(served.runs)
    for run, entries in served.runs.items():
        page = files.read(layout.page_path(run)) if files.exists(layout.page_path(run)) else b""
        if PICTURE.search(page):
            blank = write_entry(files, layout.page_path(run), PICTURE.sub(b"", page))
            runs[run] = tuple(blank if entry.path == blank.path else entry for entry in entries)
    return replace(served, runs=runs)


def _faces_of_photos(files: Files, served: Generation, wanted: pa.Array) -> dict[bytes, int]:
    """Return how many faces go from each photo."""
    seen: dict[bytes, bytes] = {}
    for entries in served.batches.values():
        table = read_table(files, entries.faces, ["face_id", "photo_id"])
        found = table.filter(pc.is_in(table["face_id"], value_set=wanted))
        seen |= dict(zip(found["face_id"].to_pylist(), found["photo_id"].to_pylist(), strict=True))
    counts: dict[bytes, int] = {}
    for photo in seen.values():
        counts[photo] = counts.get(photo, 0) + 1
    return counts


def _batch(
    files: Files, batch: str, entries: BatchFiles, wanted: pa.Array, counts: dict[bytes, int], erasure: Erasure
) -> tuple[str, BatchFiles]:
    """Return the name and files of a batch without the faces; as they are if it has nothing of the person."""
    photos = completed(read_table(files, entries.photos), PHOTOS)
    left = _rows(photos, {}, counts, erasure)
    ids = read_table(files, entries.faces, ["face_id"])["face_id"]
    if left.equals(photos) and not pc.any(pc.is_in(ids, value_set=wanted)).as_py():
        return batch, entries
    faces = _unmentioned(read_table(files, entries.faces), wanted)
    crops = _unmentioned(read_table(files, entries.crops), wanted) if entries.crops else None
    hasher = blake3(b"erased" + batch.encode())
    for face in faces["face_id"].to_pylist():
        hasher.update(face)
    name = hasher.hexdigest()[:32]
    crops_entry = write_table(files, layout.crops_path(name), crops) if crops is not None else None
    faces_entry = write_table(files, layout.faces_path(name), faces)
    return name, BatchFiles(write_table(files, layout.photos_path(name), left), faces_entry, crops_entry)


def _unmentioned(table: pa.Table, wanted: pa.Array) -> pa.Table:
    """Return the rows of a table that are of other faces."""
    for column in ("face_id", "other_id"):
        if column in table.column_names:
            table = table.filter(pc.invert(pc.is_in(table[column], value_set=wanted)))
    return table.combine_chunks()


def _rows(photos: pa.Table, renamed: Mapping[str, str], counts: Mapping[bytes, int], erasure: Erasure) -> pa.Table:
    """Return rows of photos, in any of their tables, as they are without the faces; those of imported faces go."""
    gone = _looked_up(photos["photo_id"], counts, pa.int32(), pa.scalar(0, pa.int32()))
    left = pc.subtract(photos["face_count"], gone)
    emptied = pc.and_(pc.greater(gone, 0), pc.equal(left, 0))
    of_person = pc.fill_null(pc.is_in(photos["person"], value_set=pa.array(erasure.names, pa.string())), False)
    columns = {
        "face_count": left,
        "state": pc.if_else(emptied, PhotoState.NO_FACE.value, photos["state"]),
        "person": pc.if_else(of_person, pa.scalar(None, pa.string()), photos["person"]),
    }
    if "batch" in photos.column_names:
        columns["batch"] = _looked_up(photos["batch"], renamed, pa.string(), photos["batch"])
    for name, column in columns.items():
        place = photos.schema.get_field_index(name)
        photos = photos.set_column(place, photos.schema.field(name), column.cast(photos.schema.field(name).type))
    imported = pc.starts_with(photos["path"].cast(pa.large_binary()), IMPORTED)
    return photos.filter(pc.invert(pc.and_(imported, emptied))).combine_chunks()


def _looked_up(column: pa.ChunkedArray, values: Mapping[Any, Any], kind: pa.DataType, otherwise: Any) -> Any:
    """Return the value of each key of a column, and another where it has none."""
    places = pc.index_in(column, value_set=pa.array(list(values), column.type))
    return pc.coalesce(pa.array(list(values.values()), kind).take(places), otherwise)
