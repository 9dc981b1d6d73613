from pathlib import Path

import pytest

from faceindex.catalog.files import open_files
from faceindex.errors import DamagedError
from faceindex.pipeline.batches import Batch
from faceindex.pipeline.plans import Plan, new_run, read_plan, unfinished_plans, write_plan
from faceindex.types import PhotoRef


def plan(run: str = "20260101T000000Z-0000") -> Plan:
    photos = [PhotoRef(b"/photos/%d-caf\xe9.jpg" % index, index, 10**18 + index) for index in range(5)]
    return Plan(run, "digest", (Batch("aa", tuple(photos[:2])), Batch("bb", tuple(photos[2:]))), (b"/photos/gone.jpg",))


def test_a_plan_comes_back_as_it_was_written(tmp_path: Path) -> None:
    files = open_files(str(tmp_path))
    write_plan(files, plan())

    assert read_plan(files, plan().run) == plan()
    assert plan().photo_count == 5


def test_plans_that_never_published_are_found_oldest_first(tmp_path: Path) -> None:
    files = open_files(str(tmp_path))
    for run in ("20260102T000000Z-0000", "20260101T000000Z-0000"):
        write_plan(files, plan(run))

    assert [found.run for found in unfinished_plans(files, None)] == ["20260101T000000Z-0000", "20260102T000000Z-0000"]


def test_a_damaged_plan_is_not_followed(tmp_path: Path) -> None:
    files = open_files(str(tmp_path))
    entry = write_plan(files, plan())
    path = tmp_path / entry.path
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(DamagedError, match=r"plan\.parquet"):
        read_plan(files, plan().run)


def test_runs_are_named_by_their_start_and_differ() -> None:
    assert len({new_run() for _ in range(20)}) == 20
