"""What is alive in a generation: the view of photos, the live faces, and the tombstones of those that are not.

The view is the one table read to tell what changed and to find a face's photo; it is sorted by photo id and
memory-mapped, so that both cost little on any number of photos.
"""

import io

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES, require
from faceindex.catalog import layout
from faceindex.catalog.checksums import read_verified, write_entry
from faceindex.catalog.files import Files
from faceindex.catalog.generations import Generation
from faceindex.catalog.parquet import open_arrow, read_table, write_arrow
from faceindex.tables import PHOTOS_VIEW, completed, embedding_model, faces_schema, from_id_column, require_model
from faceindex.types import FileEntry, PhotoState


def write_view(files: Files, number: int, rows: pa.Table) -> FileEntry:
    """Write a generation's table of live photos, one row per path, in any order and with the columns of PHOTOS_VIEW."""
    ordered = completed(rows, PHOTOS_VIEW).sort_by([("photo_id", "ascending"), ("path", "ascending")])
    return write_arrow(files, layout.view_path(number), ordered)


def open_view(files: Files, generation: Generation) -> pa.Table:
    """Return a generation's live photos, memory-mapped, by photo id and path; those never read come last.

    Raises:
        DamagedError: the file is missing or differs from what the generation recorded.
    """
    return completed(open_arrow(files, generation.view), PHOTOS_VIEW)


def rows_of(view: pa.Table, photo_ids: NDArray[np.void]) -> NDArray[np.int64]:
    """Return the first row of `view` with each photo id, int64 (n,); -1 where no live photo has it.

    Args:
        photo_ids: V16 (n,).
    """
    require("photo_ids", photo_ids, f"V{ID_BYTES}", (None,))
    column = view.column("photo_id")
    known = from_id_column(column.slice(0, len(column) - column.null_count))
    return _positions(known, photo_ids)


BATCH = "batch"
"""A column that `live_faces` adds where it is asked for, int32: which of the generation's batches, by name, it is."""


def live_faces(
    files: Files,
    generation: Generation,
    columns: list[str] | None = None,
    among: NDArray[np.void] | None = None,
    batches: NDArray[np.int32] | None = None,
) -> pa.Table:
    """Return the faces of all live photos by face id, each once, however many copies of its photo there are.

    Args:
        columns: columns of `faces`, in this order; all by default. Embeddings are read only when asked for.
        among: V16 (n,), ascending: faces wanted, of those alive; all by default. Memory grows with what is wanted.
        batches: which batches to look in, as BATCH numbers them; all by default. Others are not read.

    Raises:
        DamagedError: a file is missing or differs from what the generation recorded.
        ModelMismatchError: a batch holds embeddings of another model than the generation's.
    """
    view = open_view(files, generation)
    live_ids = from_id_column(view.filter(pc.equal(view["state"], PhotoState.OK.value))["photo_id"])
    schema = faces_schema(generation.dimension, generation.model)
    columns = columns or schema.names
    needed = [name for name in dict.fromkeys(["face_id", "photo_id", *columns]) if name != BATCH]
    parts = [_numbered(schema.empty_table().select(needed), 0)]
    for number, (_, batch) in enumerate(sorted(generation.batches.items())):
        if batches is not None and number not in batches:
            continue
        part = read_table(files, batch.faces, needed)
        if "embedding" in needed:
            require_model(generation.model, embedding_model(part.schema))
        wanted = _positions(live_ids, from_id_column(part["photo_id"])) >= 0
        if among is not None:
            wanted &= _positions(among, from_id_column(part["face_id"])) >= 0
        parts.append(_numbered(part.filter(pa.array(wanted)), number))
    faces = pa.concat_tables(parts)
    _, first = np.unique(_sortable(from_id_column(faces["face_id"])), return_index=True)
    return faces.select(columns).take(first)


def _numbered(part: pa.Table, batch: int) -> pa.Table:
    return part.append_column(BATCH, pa.array(np.full(len(part), batch, np.int32)))


def write_tombstones(files: Files, number: int, face_ids: NDArray[np.void]) -> FileEntry:
    """Write the ids of faces, V16 (n,), that stand in a generation's shards and are no longer live."""
    require("face_ids", face_ids, f"V{ID_BYTES}", (None,))
    sink = io.BytesIO()
    np.save(sink, np.sort(_sortable(face_ids)).view(f"V{ID_BYTES}"), allow_pickle=False)
    return write_entry(files, layout.tombstones_path(number), sink.getvalue())


def read_tombstones(files: Files, generation: Generation) -> NDArray[np.void]:
    """Return the ids of faces in a generation's shards that are no longer live, V16 (n,), ascending.

    Raises:
        DamagedError: the file is missing or differs from what the generation recorded.
    """
    if generation.tombstones is None:
        return np.empty(0, dtype=f"V{ID_BYTES}")
    ids: NDArray[np.void] = np.load(io.BytesIO(read_verified(files, generation.tombstones)), allow_pickle=False)
    return ids


def _positions(ascending: NDArray[np.void], wanted: NDArray[np.void]) -> NDArray[np.int64]:
    """Return where each wanted id first stands among ascending ones, int64 (n,); -1 where it does not."""
    known, wanted_keys = _sortable(ascending), _sortable(wanted)
    positions = np.searchsorted(known, wanted_keys)
    found = positions < len(known)
    found[found] = known[positions[found]] == wanted_keys[found]
    return np.where(found, positions, -1)


def _sortable(ids: NDArray[np.void]) -> NDArray[np.bytes_]:
    """Return ids as fixed-width byte strings; as such they compare byte by byte."""
    return ids.view(f"S{ID_BYTES}")
