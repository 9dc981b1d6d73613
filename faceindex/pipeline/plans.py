"""What a run will do, written down before it does it: `runs/<run>/plan.parquet`."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, groupby

import pyarrow as pa

from faceindex.catalog import layout
from faceindex.catalog.files import Files
from faceindex.catalog.generations import Generation
from faceindex.catalog.parquet import entry_of_whole, read_table, write_table
from faceindex.errors import DamagedError
from faceindex.pipeline.batches import Batch
from faceindex.tables import PLAN
from faceindex.types import FileEntry, PhotoRef


@dataclass(frozen=True, slots=True)
class Plan:
    """Batches to do and paths to forget."""

    run: str
    digest: str
    """Of the settings and models the batches are made with."""
    batches: tuple[Batch, ...]
    gone: tuple[bytes, ...]

    @property
    def path(self) -> str:
        return layout.plan_path(self.run)

    @property
    def photo_count(self) -> int:
        return sum(len(batch.photos) for batch in self.batches)


def new_run() -> str:
    """Return the name of a new run: its start in UTC, and four random digits."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def write_plan(files: Files, plan: Plan) -> FileEntry:
    """Write a plan; from then on the run can be finished by anyone."""
    names = [batch.batch_id for batch in plan.batches for _ in batch.photos]
    looks = chain((ref for batch in plan.batches for ref in batch.photos), (PhotoRef(path, 0, 0) for path in plan.gone))
    columns = zip(PLAN.types[1:], zip(*looks, strict=True), strict=True)
    arrays = [pa.array(values, kind) for kind, values in columns]
    table = pa.Table.from_arrays([pa.array(names + [None] * len(plan.gone), PLAN.types[0]), *arrays], schema=PLAN)
    described = {**(PLAN.metadata or {}), b"faceindex.digest": plan.digest.encode()}
    return write_table(files, layout.plan_path(plan.run), table.replace_schema_metadata(described))


def read_plan(files: Files, run: str) -> Plan:
    """Return the plan of a run; raises `DamagedError` when the file is not what was written."""
    table = read_table(files, layout.plan_path(run))
    rows = table.to_pylist()
    batches = [
        Batch(batch, tuple(PhotoRef(row["path"], row["size_bytes"], row["mtime_ns"]) for row in group))
        for batch, group in groupby(rows, key=lambda row: row["batch"])
        if batch is not None
    ]
    digest = (table.schema.metadata or {})[b"faceindex.digest"].decode()
    return Plan(run, digest, tuple(batches), tuple(row["path"] for row in rows if row["batch"] is None))


def unfinished_plans(files: Files, served: Generation | None) -> Iterator[Plan]:
    """Yield the plans of runs that never published, oldest first; damaged ones are dropped.

    Nothing is lost with them: their photos are found again, and planned into the same batches.
    """
    published = set(served.runs) if served else set()
    runs = {path.split("/")[1] for path in files.paths(layout.RUNS) if path.endswith("/plan.parquet")}
    for run in sorted(runs - published):
        try:
            entry_of_whole(files, layout.plan_path(run))
            yield read_plan(files, run)
        except DamagedError:
            files.delete(layout.plan_path(run))
