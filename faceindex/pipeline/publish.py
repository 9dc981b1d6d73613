"""From finished batches to a served generation: the view of live photos, the gallery over live faces, the manifest."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from faceindex import __version__
from faceindex.catalog import generations
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.checksums import entry_of, write_entry
from faceindex.catalog.generations import BatchFiles, Generation
from faceindex.catalog.layout import page_path, plan_path, report_path
from faceindex.catalog.live import open_view, write_view
from faceindex.catalog.missing import open_missing, still_missing, write_missing
from faceindex.catalog.parquet import read_table
from faceindex.decisions.calibrate import calibrated
from faceindex.gallery.recipe import EXACT
from faceindex.gallery.renew import BUILD_BYTES, with_gallery
from faceindex.identities.ledger import Ledger
from faceindex.pipeline.changes import count_changes
from faceindex.pipeline.plans import Plan
from faceindex.pipeline.report import RunReport
from faceindex.pipeline.run_page import run_page, thumbnails
from faceindex.tables import PHOTOS_VIEW, completed, embedding_model, photo_results, require_model
from faceindex.types import IndexRecipe, ModelId


def known_photos(catalog: Catalog, served: Generation | None) -> pa.Table:
    """Return every live photo of the served generation, tables.PHOTOS_VIEW."""
    return open_view(catalog.files, served) if served else PHOTOS_VIEW.empty_table()


def publish_plan(
    catalog: Catalog,
    served: Generation | None,
    plan: Plan,
    done: Mapping[str, BatchFiles],
    report: RunReport,
    build_bytes: int = BUILD_BYTES,
    device: str = "auto",
) -> Generation:
    """Publish the generation in which a plan's photos are done and its gone ones forgotten.

    Args:
        catalog: the catalog, whose writer lock is held.
        served: the generation the plan was made against.
        plan: all of its batches are done.
        done: their files.
        report: is given what became of each photo, and stored with the run.
        build_bytes: memory that building shards may take.
        device: cpu for building without GPUs.
    """
    files = catalog.files
    tables = {batch.batch_id: read_table(files, done[batch.batch_id].photos) for batch in plan.batches}
    seen: dict[str, str] = {}
    for table in tables.values():
        results = photo_results(table)
        report.of_results(results)
        seen |= thumbnails(results)
    before = known_photos(catalog, served)
    report.changes.update(count_changes(before, tables.values(), plan.gone))
    view = _view(before, plan, tables)
    # What a photo was before it changed may come back too: files are damaged, and mended from a backup.
    replaced = [ref.path for batch in plan.batches for ref in batch.photos]
    gone = before.filter(pc.is_in(before["path"], value_set=pa.array([*plan.gone, *replaced], pa.binary())))
    grace = catalog.settings.removal_grace_days
    missing = still_missing(open_missing(files, served), gone, view, int(time.time()), grace)
    number = served.number + 1 if served else 1
    model, dimension = _model(catalog, served, done)
    counts = {row["values"]: row["counts"] for row in pc.value_counts(view["state"]).to_pylist()}
    report.run, report.generation, report.path = plan.run, number, f"{files.root}/{report_path(plan.run)}"
    draft = Generation(
        number=number,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        faceindex=__version__,
        model=model,
        dimension=dimension,
        settings_digest=plan.digest,
        photo_counts=counts,
        face_count=0,
        batches={**(served.batches if served else {}), **done},
        view=write_view(files, number, view),
        missing=write_missing(files, number, missing),
        recipe=served.recipe if served else IndexRecipe(EXACT),
        quality=served.quality if served else None,
        shards=served.shards if served else (),
        runs=served.runs if served else {},
        clusters=served.clusters if served else None,
        links=served.links if served else None,
        cluster_count=served.cluster_count if served else 0,
        previous=served.number if served else None,
    )
    renewed = with_gallery(catalog.files, draft, catalog.settings.index, build_bytes=build_bytes, device=device)
    finished = calibrated(catalog, renewed, served)
    report.stop()
    report.of_generation(finished)
    document = report.to_json()
    shown = [{**row, "thumbnail": seen.get(row["photo"], "")} for row in document["quarantined"]]
    page = run_page({**document, "quarantined": shown}, finished, report.timeline).encode()
    entries = (
        entry_of(files, plan_path(plan.run)),
        write_entry(files, report_path(plan.run), json.dumps(document, ensure_ascii=False, indent=1).encode()),
        write_entry(files, page_path(plan.run), page),
    )
    finished = replace(finished, runs={**finished.runs, plan.run: entries})
    _serve(catalog, finished)
    return finished


def publish_gallery(
    catalog: Catalog, served: Generation, *, build_bytes: int = BUILD_BYTES, device: str = "auto"
) -> Generation:
    """Publish a generation of the same photos with the kind of index the settings now ask for.

    Args:
        catalog: the catalog, whose writer lock is held.
        served: the generation that is served.
        build_bytes: memory that building shards may take.
        device: cpu for building without GPUs.

    Raises:
        RefusedError: the index loses too much; the served generation stays.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    draft = replace(served, number=served.number + 1, previous=served.number, created_at=now)
    renewed = with_gallery(catalog.files, draft, catalog.settings.index, build_bytes=build_bytes, device=device)
    finished = calibrated(catalog, renewed, served)
    _serve(catalog, finished)
    return finished


def publish_calibration(catalog: Catalog, served: Generation) -> Generation:
    """Publish a generation with thresholds learnt anew; return the served one where nothing has changed.

    Args:
        catalog: the catalog, whose writer lock is held.
        served: the generation that is served.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    draft = replace(served, number=served.number + 1, previous=served.number, created_at=now)
    finished = calibrated(catalog, draft, served)
    if {name: entry.xxh3 for name, entry in finished.calibration.items()} == {
        name: entry.xxh3 for name, entry in served.calibration.items()
    }:
        return served
    _serve(catalog, finished)
    return finished


def _serve(catalog: Catalog, finished: Generation) -> None:
    """Publish a generation, and copy what people said beside it."""
    generations.publish(catalog.files, finished)
    Ledger(catalog.files).backup(finished.number)


def _view(before: pa.Table, plan: Plan, tables: Mapping[str, pa.Table]) -> pa.Table:
    """Return the live photos: those before, without the plan's paths, and the plan's own."""
    paths = [ref.path for batch in plan.batches for ref in batch.photos]
    replaced = pc.is_in(before["path"], value_set=pa.array([*paths, *plan.gone], pa.binary()))
    parts = [before.filter(pc.invert(replaced))]
    for batch, table in tables.items():
        named = table.append_column("batch", pa.array([batch] * len(table), pa.string()))
        parts.append(completed(named, PHOTOS_VIEW))
    return pa.concat_tables(parts)


def _model(catalog: Catalog, served: Generation | None, done: Mapping[str, BatchFiles]) -> tuple[ModelId, int]:
    """Return the model and dimension that the batches say they hold."""
    if not done:
        assert served is not None
        return served.model, served.dimension
    schema = read_table(catalog.files, next(iter(done.values())).faces, ["embedding"]).schema
    model = embedding_model(schema)
    if served is not None:
        require_model(served.model, model)
    return model, schema.field("embedding").type.byte_width // 2
