"""Small catalogs with everything in them, made the way a run makes them: batches, view, shard, report, generation."""

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from faceindex.catalog import generations, layout
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.checksums import write_entry
from faceindex.catalog.files import Files
from faceindex.catalog.generations import BatchFiles, Generation, Shard
from faceindex.catalog.live import live_faces, write_tombstones, write_view
from faceindex.catalog.parquet import read_table, write_arrow, write_table
from faceindex.config import Settings
from faceindex.tables import FACE_ROWS, PHOTOS_VIEW, PLAN, faces_tables, photos_table
from faceindex.types import (
    Detections,
    ImageFacts,
    IndexRecipe,
    ModelId,
    PhotoFaces,
    PhotoRef,
    PhotoResult,
    PhotoState,
)

MODEL = ModelId("demo@0123456789ab")
DIMENSION = 8
CREATED_AT = "2026-01-02T03:04:05+00:00"
EXACT = IndexRecipe("exact")


def photo_results(first: int, count: int) -> list[PhotoResult]:
    """Return photos numbered from `first`; every fifth cannot be read, the others hold 0, 1 or 2 faces."""
    return [photo_result(number) for number in range(first, first + count)]


def photo_result(number: int, path: bytes | None = None) -> PhotoResult:
    ref = PhotoRef(path or b"/photos/caf\xe9 %04d.jpg" % number, 1000 + number, 1_700_000_000_000_000_000 + number)
    if number % 5 == 4:
        return PhotoResult(ref, PhotoState.UNREADABLE, "not a picture")
    generator = np.random.default_rng(number)
    count = number % 3
    corners = generator.uniform(0, 500, (count, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + 100], axis=1)
    vectors = generator.normal(size=(count, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    detections = Detections(boxes, np.zeros((count, 5, 2), np.float32), np.full(count, 0.9, np.float32))
    crops = [generator.bytes(50) for _ in range(count)]
    faces = PhotoFaces(detections, np.full(count, 0.5, np.float32), vectors, crops)
    state = PhotoState.OK if count else PhotoState.NO_FACE
    facts = ImageFacts("JPEG", 640, 480, 1, "2020-05-06T07:08:09", "Camera")
    return PhotoResult(ref, state, "", generator.bytes(16), facts, count, faces)


def write_batch(files: Files, batch: str, results: list[PhotoResult]) -> BatchFiles:
    """Write a batch's files in the order a run does: its photos last."""
    faces, crops = faces_tables(results, DIMENSION, MODEL)
    crops_entry = write_table(files, layout.crops_path(batch), crops)
    faces_entry = write_table(files, layout.faces_path(batch), faces)
    return BatchFiles(write_table(files, layout.photos_path(batch), photos_table(results)), faces_entry, crops_entry)


def view_rows(files: Files, batches: dict[str, BatchFiles]) -> pa.Table:
    parts = [PHOTOS_VIEW.empty_table()]
    for batch, entries in batches.items():
        photos = read_table(files, entries.photos)
        photos = photos.append_column(PHOTOS_VIEW.field("batch"), pa.array([batch] * len(photos)))
        parts.append(photos.select(PHOTOS_VIEW.names).cast(PHOTOS_VIEW))
    return pa.concat_tables(parts)


def make_generation(files: Files, batches: dict[str, BatchFiles], previous: Generation | None) -> Generation:
    """Write everything the next generation names and return it, not yet published."""
    number = previous.number + 1 if previous else 1
    run = f"run-{number}"
    rows = view_rows(files, batches)
    plan = rows.select(["batch", "path", "size_bytes", "mtime_ns"]).cast(PLAN)
    plan_entry = write_table(files, layout.plan_path(run), plan)
    generation = Generation(
        number=number,
        created_at=CREATED_AT,
        faceindex="0.1.0",
        model=MODEL,
        dimension=DIMENSION,
        settings_digest="00" * 8,
        photo_counts={"ok": rows.num_rows},
        face_count=0,
        batches=batches,
        view=write_view(files, number, rows),
        recipe=EXACT,
        previous=previous.number if previous else None,
    )
    faces = live_faces(files, generation, FACE_ROWS.names)
    shard = f"shard-{number}"
    shard_files = (
        write_arrow(files, layout.shard_path(shard, "faces.arrow"), faces.cast(FACE_ROWS)),
        write_entry(files, layout.shard_path(shard, "index.faiss"), np.random.default_rng(number).bytes(3000)),
    )
    report = write_entry(files, layout.report_path(run), json.dumps({"schema": "faceindex.run/1", "run": run}).encode())
    thresholds = write_entry(files, layout.calibration_path(number, "thresholds.json"), b"{}")
    return replace(
        generation,
        calibration={"thresholds": thresholds},
        face_count=faces.num_rows,
        shards=(Shard(shard, shard_files, faces.num_rows, EXACT),),
        tombstones=write_tombstones(files, number, np.zeros(2, "V16")),
        runs={**(previous.runs if previous else {}), run: (plan_entry, report)},
    )


def publish_next(catalog: Catalog, photo_count: int = 20) -> Generation:
    """Do what a run does: one more batch, and a generation with it."""
    previous = catalog.current()
    batches = dict(previous.batches) if previous else {}
    number = previous.number + 1 if previous else 1
    batch = f"{number:02x}" * 16
    batches[batch] = write_batch(catalog.files, batch, photo_results(1000 * number, photo_count))
    generation = make_generation(catalog.files, batches, previous)
    generations.publish(catalog.files, generation)
    return generation


def make_catalog(root: str, generation_count: int = 2) -> Catalog:
    """Return a new catalog with as many generations, each with a batch of its own."""
    catalog = Catalog.create(root, Settings(roots=("/photos",)))
    for _ in range(generation_count):
        publish_next(catalog)
    return catalog


def all_bytes(files: Files) -> Iterator[tuple[str, bytes]]:
    """Yield the path and content of every file, by path."""
    for path in sorted(files.paths()):
        yield path, files.read(path)
