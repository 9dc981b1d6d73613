"""The commit rules of a catalog, tried by killing, filling the disk, failing every call and cutting the power."""

import errno
import os
import random
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faceindex.catalog.catalog import Catalog
from faceindex.catalog.checksums import verify
from faceindex.catalog.files import open_files
from faceindex.catalog.parquet import read_table
from faceindex.catalog.upkeep import check, collect
from faceindex.config import Settings
from faceindex.errors import CatalogError, DamagedError
from tests.support.catalogs import all_bytes, make_catalog, publish_next
from tests.support.disk import PowerCut, memory_folder, small_disk, watched

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    with memory_folder(tmp_path) as folder:
        yield folder


def damage(root: Path) -> list[str]:
    return [problem.detail for problem in check(open_files(str(root))) if problem.damaged]


def half_written(root: Path) -> list[Path]:
    return list(root.rglob(".tmp-*"))


def contents(root: Path) -> dict[str, bytes]:
    """Return every file but the lock, whose text names the process."""
    return {path: data for path, data in all_bytes(open_files(str(root))) if path != "lock"}


def start_writer(root: Path, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.catalog_writer", str(root), str(count)]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_writer_killed_20_times_at_random_moments_loses_no_acknowledged_generation(tmp_path: Path) -> None:
    root = tmp_path / "catalog"
    moments = random.Random(20)
    acknowledged = 0
    for _ in range(20):
        with start_writer(root, 10**6) as writer:
            assert writer.stdout
            first = writer.stdout.readline()
            timer = threading.Timer(moments.uniform(0, 0.25), writer.kill)
            timer.start()
            lines = [first, *writer.stdout.readlines()]
            timer.join()
        # A line cut by the kill acknowledges nothing.
        acknowledged = max([acknowledged, *(int(line) for line in lines if line.endswith("\n"))])

        served = Catalog.open(str(root)).current()
        assert served
        assert acknowledged <= served.number <= acknowledged + 1
        assert damage(root) == []
        for path in root.rglob("*.parquet"):
            if not path.name.startswith(".tmp-"):
                read_table(open_files(str(root)), str(path.relative_to(root)))
    assert acknowledged >= 20


def test_writers_at_the_same_time_take_turns_and_none_is_lost(tmp_path: Path) -> None:
    root = tmp_path / "catalog"
    Catalog.create(str(root), Settings())

    writers = [start_writer(root, 5) for _ in range(4)]
    numbers = [int(line) for writer in writers for line in writer.communicate()[0].splitlines()]

    assert sorted(numbers) == list(range(1, 21))
    served = Catalog.open(str(root)).current()
    assert served
    assert len(served.batches) == 20
    assert damage(root) == []


def test_a_reader_sees_whole_generations_while_others_are_published_and_collected(memory: Path) -> None:
    catalog = make_catalog(str(memory / "catalog"), generation_count=1)
    done = threading.Event()
    seen: set[int] = set()
    failures: list[Exception] = []

    def read() -> None:
        reader = Catalog.open(catalog.root)
        while not failures and not (done.is_set() and seen):
            try:
                generation = reader.current()
                assert generation
                for entry in generation.entries():
                    verify(reader.files, entry)
                seen.add(generation.number)
            except Exception as error:  # noqa: BLE001 whatever a reader gets is the result of this test
                failures.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(25):
        publish_next(catalog, photo_count=4)
        collect(catalog.files, keep=2)
    done.set()
    thread.join()

    assert failures == []
    assert seen


def fill(catalog: Catalog) -> None:
    while True:
        publish_next(catalog)


def test_a_full_disk_is_one_clear_line_and_the_last_generation_is_still_served(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "1m"):
        root = disk / "catalog"
        catalog = make_catalog(str(root), generation_count=1)
        with pytest.raises(CatalogError) as caught:
            fill(catalog)

        assert str(caught.value).startswith(f"cannot write {root}/")
        assert "no space left on the device; free some and run the same command again" in str(caught.value)
        assert "\n" not in str(caught.value)
        served = Catalog.open(str(root)).current()
        assert served
        assert served.number > 1
        assert damage(root) == []
        assert half_written(root) == []

        collect(catalog.files, keep=1, grace_s=-1)
        assert publish_next(catalog).number == served.number + 1
        assert damage(root) == []


def test_a_file_that_may_not_grow_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from faceindex.catalog.files import LocalFiles\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (1000, {resource.RLIM_INFINITY}))\n"
        "LocalFiles(Path(sys.argv[1])).write('shards/s1/index.faiss', bytes(5000))\n"
    )
    run = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=False)

    assert f"CatalogError: cannot write {tmp_path}/shards/s1/index.faiss: File too large" in run.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


class FailedCall:
    """Refuses the n-th system call, counted from 1."""

    def __init__(self, number: int, code: int) -> None:
        self.left = number
        self._code = code

    def before(self, _name: str, _arguments: tuple[Any, ...]) -> None:
        self.left -= 1
        if self.left == 0:
            raise OSError(self._code, os.strerror(self._code))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_whichever_call_fails_the_old_generation_is_served_and_trying_again_succeeds(memory: Path, code: int) -> None:
    base, undisturbed, root = memory / "base", memory / "undisturbed", memory / "tried"
    make_catalog(str(base), generation_count=1)
    shutil.copytree(base, undisturbed)
    publish_next(Catalog.open(str(undisturbed)))
    expected = contents(undisturbed)

    for number in range(1, 1000):
        shutil.copytree(base, root)
        catalog = Catalog.open(str(root))
        failure = FailedCall(number, code)
        try:
            with watched(root, failure.before):
                publish_next(catalog)
        except CatalogError as error:
            message = str(error)
        else:
            break
        assert f" {root}/" in message
        assert "\n" not in message
        assert damage(root) == []
        assert half_written(root) == []
        served = catalog.current()
        assert served
        # When only the last flush failed, the new generation is in its place already.
        if served.number == 1:
            publish_next(catalog)
        assert contents(root) == expected
        shutil.rmtree(root)

    assert failure.left > 0, "a call failed and nobody heard of it"
    assert number > 50, "every step of eleven files was to be tried"
    assert contents(root) == expected


def recorded_publish(memory: Path) -> PowerCut:
    """Return the calls of a publish that starts from the catalog `before`."""
    make_catalog(str(memory / "before"), generation_count=1)
    shutil.copytree(memory / "before", memory / "live")
    cut = PowerCut(memory / "live")
    catalog = Catalog.open(str(memory / "live"))
    with watched(memory / "live", cut.record):
        publish_next(catalog, photo_count=3)
    return cut


def served_number(root: Path) -> int | None:
    try:
        generation = Catalog.open(str(root)).current()
    except DamagedError:
        return None
    return generation.number if generation else None


def test_after_a_power_cut_at_any_moment_a_whole_generation_is_served(memory: Path) -> None:
    cut = recorded_publish(memory)
    after = memory / "after"

    for count in cut.outcomes(memory / "before", after):
        assert damage(after) == []
        assert served_number(after) in ((2,) if count == len(cut.events) else (1, 2))


@pytest.mark.parametrize("missing", ["flush", "flush_folder"])
def test_the_power_cut_shows_what_a_missing_flush_would_lose(memory: Path, missing: str) -> None:
    cut = recorded_publish(memory)
    cut.events = [event for event in cut.events if event[0] != missing]
    after = memory / "after"

    results = [(served_number(after), damage(after)) for count in cut.outcomes(memory / "before", after) if count]

    assert any(damaged for _, damaged in results) or results[-len(PowerCut.LOSSES)][0] != 2
