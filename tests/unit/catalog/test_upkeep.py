import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faceindex.catalog import layout
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import current, load, numbers, publish
from faceindex.catalog.upkeep import check, collect, sweep_temporaries
from faceindex.config import Settings
from faceindex.errors import ConfigError, DamagedError
from tests.support.catalogs import all_bytes, make_catalog, make_generation, photo_results, publish_next, write_batch

NO_GRACE = -3600.0
"""A grace that ended before anything was written."""


def damaged_paths(catalog: Catalog) -> list[str]:
    return [problem.path for problem in check(catalog.files) if problem.damaged]


def test_a_whole_catalog_has_no_problem_before_and_after_publishing(root: str) -> None:
    catalog = Catalog.create(root, Settings())
    assert list(check(catalog.files)) == []

    publish_next(catalog)
    publish_next(catalog)
    assert list(check(catalog.files)) == []


def test_one_damaged_file_of_any_kind_is_the_one_named(root: str) -> None:
    catalog = make_catalog(root)
    generator = np.random.default_rng(11)
    for path, data in list(all_bytes(catalog.files)):
        if path == "lock":
            continue
        damages = [b"", data[: len(data) // 2], data + b"\0", bytes(len(data))]
        for at in generator.integers(0, len(data), 8):
            damages.append(data[:at] + bytes([data[at] ^ int(generator.integers(1, 256))]) + data[at + 1 :])
        for content in damages:
            catalog.files.write(path, content)
            assert damaged_paths(catalog) == [path]
        catalog.files.write(path, data)
    assert list(check(catalog.files)) == []


def test_one_missing_file_of_any_kind_is_the_one_named(root: str) -> None:
    catalog = make_catalog(root)
    for path, data in list(all_bytes(catalog.files)):
        if path in ("lock", "generations/000001.json"):
            continue
        catalog.files.delete(path)
        expected = "CURRENT" if path == "generations/000002.json" else path
        assert damaged_paths(catalog) == [expected]
        catalog.files.write(path, data)


def test_a_superseded_manifest_that_is_gone_was_collected_not_damaged(root: str) -> None:
    catalog = make_catalog(root)
    catalog.files.delete("generations/000001.json")

    assert damaged_paths(catalog) == []


def test_swapped_files_are_both_named(root: str) -> None:
    catalog = make_catalog(root)
    swaps = [("shards/shard-1/index.faiss", "shards/shard-2/index.faiss")]
    swaps += [
        ("generations/000001.json", "generations/000002.json"),
        ("runs/run-1/plan.parquet", "runs/run-2/plan.parquet"),
    ]
    for one, other in swaps:
        contents = catalog.files.read(one), catalog.files.read(other)
        catalog.files.write(one, contents[1])
        catalog.files.write(other, contents[0])
        assert set(damaged_paths(catalog)) >= {one, other}
        catalog.files.write(one, contents[0])
        catalog.files.write(other, contents[1])


def test_all_damage_is_reported_not_only_the_first(root: str) -> None:
    catalog = make_catalog(root)
    batches = list(load(catalog.files, 2).batches.values())
    broken = [
        "catalog.toml",
        "CURRENT",
        batches[0].faces.path,
        batches[1].photos.path,
        "generations/000001.photos.arrow",
        "shards/shard-2/index.faiss",
    ]
    for path in broken[:-1]:
        catalog.files.write(path, b"broken")
    catalog.files.delete(broken[-1])

    problems = [problem for problem in check(catalog.files) if problem.damaged]

    assert sorted(problem.path for problem in problems) == sorted(broken)
    assert all(problem.path in problem.detail and "\n" not in problem.detail for problem in problems)


def test_files_nobody_needs_are_notes_not_damage(root: str) -> None:
    catalog = make_catalog(root)
    catalog.files.write("faces/ab/.tmp-1x", b"half")
    catalog.files.write("runs/run-9/plan.parquet", b"plan")
    catalog.files.write("photos/ab/abab.parquet", b"rows")
    catalog.files.write("ledger.sqlite-wal", b"")

    problems = list(check(catalog.files))

    assert [(problem.path, problem.damaged) for problem in problems] == [
        ("faces/ab/.tmp-1x", False),
        ("photos/ab/abab.parquet", False),
        ("runs/run-9/plan.parquet", False),
    ]


def test_collecting_keeps_the_newest_generations_whole_and_removes_the_rest(root: str) -> None:
    catalog = make_catalog(root, generation_count=4)
    served = catalog.current()

    removed = collect(catalog.files, keep=2, grace_s=NO_GRACE)

    assert sorted(removed) == sorted(
        f"{stem}"
        for number in (1, 2)
        for stem in (
            layout.generation_path(number),
            layout.view_path(number),
            layout.tombstones_path(number),
            layout.calibration_path(number, "thresholds.json"),
            layout.shard_path(f"shard-{number}", "faces.arrow"),
            layout.shard_path(f"shard-{number}", "index.faiss"),
        )
    )
    assert numbers(catalog.files) == [3, 4]
    assert catalog.current() == served
    assert list(check(catalog.files)) == []
    assert collect(catalog.files, keep=2, grace_s=NO_GRACE) == []


def test_nothing_is_collected_within_the_grace_time(root: str) -> None:
    catalog = make_catalog(root, generation_count=4)
    before = list(all_bytes(catalog.files))

    assert collect(catalog.files, keep=1) == []
    assert list(all_bytes(catalog.files)) == before


def test_grace_runs_from_when_a_generation_was_superseded_not_from_when_it_was_made(tmp_path: Path) -> None:
    catalog = make_catalog(str(tmp_path / "catalog"), generation_count=3)
    for path in catalog.files.paths():
        if "00003" not in path and "shard-3" not in path:
            os.utime(catalog.files.local_path(path), (1e9, 1e9))

    removed = collect(catalog.files, keep=1)

    assert "generations/000001.json" in removed
    assert numbers(catalog.files) == [2, 3]
    assert list(check(catalog.files)) == []


def test_thresholds_are_no_generation_neither_published_ones_nor_those_left_by_a_run_that_published_none(
    tmp_path: Path,
) -> None:
    catalog = make_catalog(str(tmp_path), generation_count=4)
    for number in range(1, 6):
        catalog.files.write(layout.calibration_path(number, "thresholds.json"), b"{}")
    os.utime(tmp_path / layout.generation_path(2), (1e9, 1e9))  # made long ago, superseded just now

    assert numbers(catalog.files) == [1, 2, 3, 4]
    assert layout.generation_path(2) not in collect(catalog.files)


def test_a_shard_shared_with_a_kept_generation_stays(root: str) -> None:
    catalog = make_catalog(root, generation_count=1)
    first = catalog.current()
    assert first
    second = replace(make_generation(catalog.files, dict(first.batches), first), shards=first.shards)
    publish(catalog.files, second)

    removed = collect(catalog.files, keep=1, grace_s=NO_GRACE)

    assert "generations/000001.json" in removed
    assert not any(path.startswith("shards/shard-1/") for path in removed)
    assert damaged_paths(catalog) == []


def test_data_files_no_generation_names_are_collected_unless_a_run_waits_to_be_finished(root: str) -> None:
    catalog = make_catalog(root)
    leftover = write_batch(catalog.files, "ff" * 16, photo_results(0, 5))
    paths = {leftover.photos.path, leftover.faces.path, leftover.crops.path if leftover.crops else ""}
    catalog.files.write("runs/run-9/plan.parquet", b"plan")

    assert collect(catalog.files, grace_s=NO_GRACE) == []
    catalog.files.delete("runs/run-9/plan.parquet")
    assert set(collect(catalog.files, grace_s=NO_GRACE)) == paths


def test_collecting_stops_before_removing_anything_when_a_manifest_is_damaged(root: str) -> None:
    catalog = make_catalog(root, generation_count=4)
    catalog.files.write("generations/000003.json", catalog.files.read("generations/000003.json")[:-1])
    before = list(all_bytes(catalog.files))

    with pytest.raises(DamagedError, match=r"generations/000003\.json is damaged"):
        collect(catalog.files, keep=2, grace_s=NO_GRACE)
    assert list(all_bytes(catalog.files)) == before


def test_the_served_generation_cannot_be_collected(root: str) -> None:
    catalog = make_catalog(root)

    with pytest.raises(ConfigError, match="at least 1 generation"):
        collect(catalog.files, keep=0, grace_s=NO_GRACE)


def test_only_old_temporaries_are_swept(tmp_path: Path) -> None:
    catalog = Catalog.create(str(tmp_path / "catalog"), Settings())
    for name in ("faces/ab/.tmp-old", ".tmp-young"):
        catalog.files.write(name, b"half")
    os.utime(catalog.files.local_path("faces/ab/.tmp-old"), (1e9, 1e9))

    assert sweep_temporaries(catalog.files, 3600) == ["faces/ab/.tmp-old"]
    assert collect(catalog.files, grace_s=NO_GRACE) == [".tmp-young"]
    assert current(catalog.files) is None
