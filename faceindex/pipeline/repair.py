"""What is left of a catalog when files of its served generation are damaged, published as the next generation.

Nothing is in a data file that photos cannot bring back. So a generation is made without the damaged files, and of the
photos that they held faces of nothing is known any more: the next `faceindex index` finds them new, and embeds these
and no others. Ids, which the photos' bytes give, and what people said, which is in the ledger, stay.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from faceindex.catalog import generations, layout
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.checksums import verify
from faceindex.catalog.files import Files
from faceindex.catalog.generations import BatchFiles, Generation
from faceindex.catalog.live import open_view, write_view
from faceindex.catalog.missing import open_missing, write_missing
from faceindex.catalog.parquet import read_table
from faceindex.decisions.calibrate import calibrated
from faceindex.errors import DamagedError
from faceindex.gallery.renew import with_gallery
from faceindex.pipeline.plans import unfinished_plans
from faceindex.tables import PHOTOS_VIEW
from faceindex.types import FileEntry, PhotoState


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a repair did."""

    generation: Generation
    photo_count: int
    """Photos that the next run embeds again."""
    clusters_lost: bool


def repair(catalog: Catalog) -> Repaired | None:
    """Publish a generation without the damaged files of the served one; None where there are none.

    Args:
        catalog: whose writer lock is held.

    Raises:
        DamagedError: which generation is served cannot be told.
        RefusedError: the index made anew loses too much; the served generation stays.
    """
    files, served = catalog.files, catalog.current()
    if served is None:
        return None
    damaged = {entry for entry in set(served.entries()) if not _is_whole(files, entry)}
    if not damaged:
        return None
    number = served.number + 1
    batches = {
        name: batch
        for name, batch in served.batches.items()
        if damaged.isdisjoint(entry for entry in (batch.photos, batch.faces, batch.crops) if entry)
    }
    embedded = _photos_with_faces(files, batches.values())
    before = _view(files, served, damaged)
    view = _whole_rows(before, batches, embedded)
    missing = open_missing(files, replace(served, missing=_kept(served.missing, damaged)))
    counts = {row["values"]: row["counts"] for row in pc.value_counts(view["state"]).to_pylist()}
    has_clusters = not damaged & {served.clusters, served.links}
    draft = replace(
        served,
        number=number,
        previous=served.number,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        photo_counts=counts,
        batches=batches,
        view=write_view(files, number, view),
        missing=write_missing(files, number, _whole_rows(missing, batches, embedded)),
        shards=tuple(shard for shard in served.shards if damaged.isdisjoint(shard.files)),
        tombstones=None,
        runs={run: tuple(entry for entry in entries if entry not in damaged) for run, entries in served.runs.items()},
        clusters=served.clusters if has_clusters else None,
        links=served.links if has_clusters else None,
        cluster_count=served.cluster_count if has_clusters else 0,
    )
    renewed = with_gallery(files, draft, catalog.settings.index)
    told = None if damaged & set(served.calibration.values()) else served
    finished = calibrated(catalog, renewed, told)
    generations.publish(files, finished)
    for entry in damaged:
        if entry.path.startswith(f"{layout.RUNS}/"):
            files.delete(entry.path)  # a plan that no generation names is that of a run to be finished
    for plan in list(unfinished_plans(files, finished)):
        files.delete(plan.path)  # what it has done may rely on faces that are gone
    return Repaired(finished, sum(served.photo_counts.values()) - len(view), not has_clusters)


def _is_whole(files: Files, entry: FileEntry) -> bool:
    try:
        verify(files, entry)
    except DamagedError:
        return False
    return True


def _kept(entry: FileEntry | None, damaged: set[FileEntry]) -> FileEntry | None:
    return None if entry in damaged else entry


def _photos_with_faces(files: Files, batches: Iterable[BatchFiles]) -> pa.Array:
    """Return the ids of all photos whose faces the batches hold."""
    parts = [read_table(files, batch.faces, ["photo_id"])["photo_id"] for batch in batches]
    chunks = [chunk for part in parts for chunk in part.chunks]
    return pa.chunked_array(chunks, PHOTOS_VIEW.field("photo_id").type).unique()


def _view(files: Files, served: Generation, damaged: set[FileEntry]) -> pa.Table:
    """Return the live photos; where they are damaged, those of the newest generation whose view is whole."""
    if served.view not in damaged:
        return open_view(files, served)
    for number in reversed(generations.numbers(files)):
        try:
            if number < served.number:
                return open_view(files, generations.load(files, number))
        except DamagedError:
            continue
    return PHOTOS_VIEW.empty_table()


def _whole_rows(rows: pa.Table, batches: Mapping[str, BatchFiles], embedded: pa.Array) -> pa.Table:
    """Return the rows whose batch is there, and whose faces are if they have any."""
    there = pc.is_in(rows["batch"], value_set=pa.array(list(batches), pa.string()))
    without = pc.or_(pc.not_equal(rows["state"], PhotoState.OK.value), pc.equal(rows["face_count"], 0))
    return rows.filter(pc.and_(there, pc.or_(without, pc.is_in(rows["photo_id"], value_set=embedded))))
