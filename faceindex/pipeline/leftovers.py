"""Batches whose files stand in a catalog before they are done: by a killed run, or long ago.

A batch that exists is done, unless one of its files was damaged, or it relies on faces that are gone: photos that were
known when it was done have theirs in the file of another batch.
"""

import numpy as np

from faceindex.arrays import ID_BYTES
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import BatchFiles, Generation
from faceindex.catalog.layout import crops_path, faces_path, photos_path
from faceindex.catalog.live import open_view, rows_of
from faceindex.catalog.missing import open_missing
from faceindex.catalog.parquet import entry_of_whole, read_table
from faceindex.errors import DamagedError
from faceindex.types import PhotoState


def files_of(catalog: Catalog, batch: str) -> BatchFiles | None:
    """Return the files of a batch that is done; None when one of them was lost or damaged since: it is done again."""
    try:
        return BatchFiles(
            *(entry_of_whole(catalog.files, path(batch)) for path in (photos_path, faces_path, crops_path))
        )
    except DamagedError:
        return None


def stands_in_the_way(catalog: Catalog, served: Generation, batch: str) -> bool:
    """Return whether a batch that is to be done has files that are not what doing it would give.

    They are not written over: generations may name them.
    """
    if not catalog.files.exists(photos_path(batch)):
        return False
    found = files_of(catalog, batch)
    if found is None:
        return True
    photos = read_table(catalog.files, found.photos, ["photo_id", "state", "face_count"]).to_pylist()
    with_faces = {row["photo_id"] for row in photos if row["state"] == PhotoState.OK and row["face_count"]}
    elsewhere = with_faces - set(read_table(catalog.files, found.faces, ["photo_id"])["photo_id"].to_pylist())
    if not elsewhere:
        return False
    ids = np.array(sorted(elsewhere), f"V{ID_BYTES}")
    known = [
        rows_of(view, ids) >= 0 for view in (open_view(catalog.files, served), open_missing(catalog.files, served))
    ]
    return not bool(np.all(known[0] | known[1]))
