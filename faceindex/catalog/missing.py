"""Photos that are gone from their folders and may come back: a disk that was away, a folder that is moved in two steps.

They are in no view, so no search, count or cluster knows of them. Their rows and faces stay in the data files for a
time, so that they come back as they were, under the same ids, without being read anew.
"""

import pyarrow as pa
import pyarrow.compute as pc

from faceindex.catalog import layout
from faceindex.catalog.files import Files
from faceindex.catalog.generations import Generation
from faceindex.catalog.parquet import open_arrow, write_arrow
from faceindex.tables import MISSING, PHOTOS_VIEW
from faceindex.types import DONE_STATES, FileEntry

DAY_S = 86_400


def open_missing(files: Files, generation: Generation | None) -> pa.Table:
    """Return the photos that are gone, `tables.MISSING`.

    Raises:
        DamagedError: the file is missing or differs from what the generation recorded.
    """
    if generation is None or generation.missing is None:
        return MISSING.empty_table()
    return open_arrow(files, generation.missing)


def write_missing(files: Files, number: int, rows: pa.Table) -> FileEntry | None:
    """Write them for a generation, in any order; None when there are none."""
    if not len(rows):
        return None
    ordered = rows.sort_by([("photo_id", "ascending"), ("path", "ascending")])
    return write_arrow(files, layout.missing_path(number), ordered)


def still_missing(missing: pa.Table, gone: pa.Table, view: pa.Table, now_s: int, grace_days: float) -> pa.Table:
    """Return what is missing after a run, `tables.MISSING`.

    Args:
        missing: what was before.
        gone: rows of the last view whose paths are no more.
        view: the photos there are now; whose bytes are among them is not missing.
        now_s: seconds since 1970.
        grace_days: how long photos stay missing before they are forgotten.
    """
    done = pc.is_in(gone["state"], value_set=pa.array([state.value for state in DONE_STATES]))
    since = pa.array([now_s] * len(gone), pa.int64())
    fresh = gone.select(PHOTOS_VIEW.names).append_column(MISSING.field("since"), since).filter(done)
    rows = pa.concat_tables([fresh.cast(MISSING), missing])
    there = pc.is_in(rows["photo_id"], value_set=view["photo_id"].drop_null().unique())
    return within_grace(rows.filter(pc.invert(there)), now_s, grace_days)


def within_grace(missing: pa.Table, now_s: int, grace_days: float) -> pa.Table:
    """Return the rows that are not yet to be forgotten."""
    return missing.filter(pc.greater(missing["since"], int(now_s - grace_days * DAY_S)))
