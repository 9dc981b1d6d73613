"""Short forms of the fault trials, on real photographs; `python -m benchmarks.faults` runs the long ones."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from benchmarks.faults import damages, disks, kills, mutations, runs, soak, workers, writers
from faceindex.catalog.catalog import Catalog
from faceindex.cli.main import cli
from faceindex.pipeline.run import IndexOptions, index_photos
from tests.support.archives import data_files, faceindex, make_archive
from tests.support.disk import memory_folder, small_disk
from tests.support.imports import INDEXED, VECTORS, make_imported
from tests.support.pictures import ENCODINGS, seed


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("archive") / "photos")


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "count"), [(0, 3), (2, 1)])
def test_runs_killed_at_random_moments_end_as_one_that_nobody_disturbed(
    photos: Path, tmp_path: Path, processes: int, count: int
) -> None:
    seen = kills.trial(photos, tmp_path, kills=count, workers=processes, batch_photos=1, seed=processes)

    assert seen.count >= count
    assert seen.wrong() == {}


@pytest.mark.slow
def test_a_scheduler_that_dies_is_told_in_one_line_and_the_same_command_goes_on(photos: Path, tmp_path: Path) -> None:
    catalog, place = runs.new_catalog(tmp_path / "catalog", 1), tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(place), "--no-dashboard"],
        **quiet,
    )
    words = ["--scheduler-file", str(place), "--nthreads", "1", "--no-dashboard", "--death-timeout", "5", "--no-nanny"]
    worker = subprocess.Popen([*dask, "worker", *words], cwd=runs.PROJECT, **quiet)
    while not place.exists():
        time.sleep(0.05)
    address = json.loads(place.read_text())["address"]
    driver = runs.started([*runs.command(photos, catalog, 0)[:-2], "--scheduler", address])
    while driver.poll() is None and not list(catalog.glob("photos/*/*.parquet")):
        time.sleep(0.01)
    scheduler.kill()
    _, errors = driver.communicate()
    worker.kill()
    for process in (scheduler, worker):
        process.wait()

    assert driver.returncode == 1
    assert errors.splitlines()[-1].startswith(f"faceindex: the connection to the Dask scheduler {address} was lost")
    assert "Traceback" not in errors
    assert faceindex("index", photos, "-c", catalog, "--workers", 0).returncode == 3
    undisturbed = runs.new_catalog(tmp_path / "undisturbed", 1)
    disks.index(photos, undisturbed)
    assert runs.difference(catalog, runs.content(undisturbed)) == []


STARTS = """
import os, signal
from faceindex.faces.recogniser import Recogniser
def once():
    try:
        os.open({flag!r}, os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
def deadly(*arguments, load=Recogniser.load):
    once()
    return load(*arguments)
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["once()", "Recogniser.load = deadly"], ids=["starts", "loads the networks"])
def test_a_worker_that_dies_before_it_is_ready_is_replaced(photos: Path, tmp_path: Path, moment: str) -> None:
    preload, flag = tmp_path / "deadly.py", tmp_path / "died"
    preload.write_text(STARTS.format(flag=str(flag)) + moment)
    environment = {**os.environ, "DASK_DISTRIBUTED__WORKER__PRELOAD": str(preload)}

    run = faceindex("index", photos, "-c", tmp_path / "catalog", "--workers", 2, "--json", env=environment)
    index_photos(str(tmp_path / "undisturbed"), [str(photos)], IndexOptions(workers=0))

    assert flag.exists()
    assert run.returncode == 3, run.stderr
    assert data_files(tmp_path / "catalog") == data_files(tmp_path / "undisturbed")


def test_each_of_two_thousand_mutated_images_ends_in_one_state(tmp_path: Path) -> None:
    seeds = [(f".{encoding.split()[-1].lower()}", seed(encoding)) for encoding in ENCODINGS]

    seen = mutations.trial(seeds, tmp_path, count=2000, workers=1, seed=5)

    assert (seen.images, seen.states.total()) == (2000, 2000)
    assert len(seen.states) >= 4


@pytest.mark.parametrize("kind", ["photos", "embeddings"])
def test_every_damaged_file_is_named_and_no_answer_is_wrong(photos: Path, tmp_path: Path, kind: str) -> None:
    root = tmp_path / "catalog"
    if kind == "photos":
        index_photos(str(root), [str(photos)], IndexOptions(workers=0))
        shutil.copy(photos / "00.jpg", tmp_path / "another.jpg")
        index_photos(str(root), [str(tmp_path / "another.jpg")], IndexOptions(workers=0))
        named = faceindex("people", "name", photos / "00.jpg", "Anna", "-c", root)
        assert named.returncode == 0, named.stderr
        assert faceindex("cluster", "-c", root).returncode == 0
        probes = np.eye(8, 128, dtype=np.float32)
    else:
        make_imported(root, INDEXED)
        probes = VECTORS[::30]
    np.save(tmp_path / "probes.npy", probes)

    seen = damages.trial(root, tmp_path / "probes.npy", count=100, seed=6)

    assert seen.refused > 20
    assert seen.right > 20
    assert (seen.unnoticed, seen.wrong, seen.failed, seen.unadvised) == ([], [], [], [])


@pytest.fixture(scope="module")
def unpublished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog whose next generation is ready to be published; not to be changed."""
    return disks.unpublished(photos, tmp_path_factory.mktemp("base") / "catalog", 6, batches=True)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    with memory_folder(tmp_path) as folder:
        yield folder


def test_whichever_call_of_a_run_that_publishes_fails_it_says_so_and_the_next_one_succeeds(
    photos: Path, unpublished: Path, memory: Path
) -> None:
    publish = partial(disks.index, photos)

    changing = [disks.failing_calls(unpublished, memory, publish, code, step=4) for code in disks.CODES]
    reading = disks.failing_calls(unpublished, memory, publish, errno.EIO, step=7, reading=True)

    assert [seen.wrong() for seen in (*changing, reading)] == [{}] * 4
    assert min(seen.calls for seen in (*changing, reading)) > 10


def test_a_run_whose_writes_take_only_half_of_what_they_are_given_writes_everything(
    photos: Path, unpublished: Path, tmp_path: Path
) -> None:
    short, whole = (Path(shutil.copytree(unpublished, tmp_path / name)) for name in ("short", "whole"))
    disks.index(photos, whole)

    with disks.short_writes():
        disks.index(photos, short)

    assert runs.difference(short, runs.content(whole)) == []


def test_after_a_power_cut_at_any_moment_of_a_run_that_publishes_a_whole_generation_is_served(
    photos: Path, unpublished: Path, memory: Path
) -> None:
    seen = disks.power_cuts(unpublished, memory, partial(disks.index, photos))

    assert seen.wrong() == {}
    assert seen.calls > 40


def test_a_full_disk_is_told_nothing_is_lost_and_with_room_the_same_command_succeeds(
    photos: Path, unpublished: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "8m"):
        publishing = disks.full_disks(unpublished, disk, partial(disks.index, photos), 4096)
        labelling = disks.label_on_full_disk(unpublished, disk)

    assert (publishing.wrong(), labelling.wrong()) == ({}, {})
    assert publishing.calls > 5


def test_searches_while_generations_are_published_never_fail_or_mix_them(tmp_path: Path) -> None:
    seen = soak.trial(tmp_path, seconds=1, idle_s=0.2, pause_s=0.1, least=3)

    assert (seen.errors, seen.mixed, seen.wrong) == ([], 0, 0)
    assert seen.published >= 3
    assert len(seen.busy) > 10


@pytest.mark.slow
def test_of_processes_that_index_into_one_catalog_at_once_one_wins_and_the_others_say_who(
    photos: Path, tmp_path: Path
) -> None:
    seen = writers.trial(photos, tmp_path, rounds=1, processes=3)

    assert seen.wrong() == {}
    assert (seen.processes, seen.won) == (3, 1)


@pytest.mark.slow
def test_a_photo_that_bloats_its_worker_costs_only_itself(tmp_path: Path) -> None:
    marked = workers.marked(make_archive(tmp_path / "photos"), workers.HOG)

    seen = workers.trial(marked, tmp_path, batch_photos=1, kill_s=0, stops=0, seed=1)

    assert seen.others == []
    assert seen.states == {"01.jpg": "crashed_decoder", "broken.jpg": "truncated", "text.jpg": "unsupported"}


@pytest.mark.parametrize("folder", ["photos", "faces", "crops", "runs"])
@pytest.mark.parametrize("place", [0.35, 0.9])
def test_what_was_damaged_after_a_run_was_interrupted_is_done_again(
    photos: Path, unpublished: Path, tmp_path: Path, folder: str, place: float
) -> None:
    undisturbed, root = (Path(shutil.copytree(unpublished, tmp_path / name)) for name in ("undisturbed", "damaged"))
    disks.index(photos, undisturbed)
    served = Catalog.open(str(root)).current()
    assert served
    named = {entry.path for entry in served.entries()}
    paths = [str(path.relative_to(root)) for path in sorted(root.glob(f"{folder}/*/*.parquet"))]
    path = root / next(path for path in paths if path not in named)
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 16
    path.write_bytes(data)

    disks.index(photos, root)

    assert runs.difference(root, runs.content(undisturbed)) == []
    assert runs.unopenable(root) == []


REBUILT = [
    "index.faiss",
    "vectors.npy",
    "vectors.xxh3",
    "faces.arrow",
    "manifest.json",
    "tombstones.npy",
]


@pytest.mark.parametrize("kind", [*REBUILT, "people.arrow", "CURRENT", "of a superseded generation"])
def test_what_check_says_to_run_mends_the_catalog(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "catalog"
    make_imported(root, INDEXED)
    np.save(tmp_path / "probes.npy", VECTORS[::30])
    served = Catalog.open(str(root)).current()
    assert served
    expected = damages.answers(root, tmp_path / "probes.npy")
    if kind == "CURRENT":
        path = kind
    elif kind in REBUILT or kind == "people.arrow":
        [path, *_] = [entry.path for entry in served.entries() if entry.path.endswith(kind)]
    else:
        path = f"generations/{served.number - 1:06d}.json"
    (root / path).write_bytes(b"damaged")

    found = run("check", "-c", root)
    for command in re.findall(r"`faceindex ([^`]*)`", found.stdout):
        assert run(*command.split(), "-c", root).exit_code in (0, 5)

    assert found.exit_code == 5
    assert path in found.stdout
    assert run("check", "--deep", "-c", root).exit_code == 0
    # The number of the generation is the last thing told.
    told, before = (text.rpartition(",")[0] for text in (damages.answers(root, tmp_path / "probes.npy"), expected))
    assert told == before
