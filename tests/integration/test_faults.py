"""Short forms of the fault trials, on real photographs; `python -m benchmarks.faults` runs the long ones."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.faults import damages, kills, mutations
from faceindex.pipeline.run import IndexOptions, index_photos
from tests.support.archives import data_files, faceindex, make_archive
from tests.support.imports import INDEXED, VECTORS, make_imported
from tests.support.pictures import ENCODINGS, seed


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("archive") / "photos")


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "count"), [(0, 4), (2, 2)])
def test_runs_killed_at_random_moments_end_as_one_that_nobody_disturbed(
    photos: Path, tmp_path: Path, workers: int, count: int
) -> None:
    seen = kills.trial(photos, tmp_path, kills=count, workers=workers, batch_photos=1, seed=workers)

    assert seen.count >= count
    assert seen.wrong() == {}


@pytest.mark.slow
def test_a_worker_that_dies_while_it_loads_the_networks_is_replaced(photos: Path, tmp_path: Path) -> None:
    preload = tmp_path / "deadly.py"
    preload.write_text(
        "import os, signal\n"
        "from faceindex.faces.recogniser import Recogniser\n"
        "def deadly(*arguments, load=Recogniser.load):\n"
        "    try:\n"
        f"        os.open({str(tmp_path / 'died')!r}, os.O_CREAT | os.O_EXCL)\n"
        "    except FileExistsError:\n"
        "        return load(*arguments)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "Recogniser.load = deadly\n"
    )
    environment = {**os.environ, "DASK_DISTRIBUTED__WORKER__PRELOAD": str(preload)}

    run = faceindex("index", photos, "-c", tmp_path / "catalog", "--workers", 2, "--json", env=environment)
    index_photos(str(tmp_path / "undisturbed"), [str(photos)], IndexOptions(workers=0))

    assert (tmp_path / "died").exists()
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
    assert (seen.unnoticed, seen.wrong, seen.failed) == ([], [], [])
