"""The scripts in jobs/ run against the package, and stay short enough to be read as an explanation."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from faceindex.catalog.catalog import Catalog
from faceindex.catalog.parquet import read_table
from faceindex.config import Settings
from tests.support.archives import ROOT, data_files, faceindex, make_archive

JOBS = sorted((ROOT / "jobs").glob("*.py"))


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_a_job_is_at_most_60_lines(job: Path) -> None:
    assert len(job.read_text().splitlines()) <= 60


def test_index_photos_does_what_the_command_does(tmp_path: Path) -> None:
    photos = make_archive(tmp_path / "photos", 4)
    command = [
        sys.executable,
        ROOT / "jobs" / "index_photos.py",
        photos,
        "--catalog",
        tmp_path / "job",
        "--workers",
        "1",
    ]

    job = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    faceindex("index", photos, "-c", tmp_path / "command", "--workers", 0)

    assert job.returncode == 3, job.stderr
    assert "5 photos embedded, 0 unchanged, 0 removed: 1 no_face, 4 ok, 1 truncated, 1 unsupported" in job.stdout
    assert "4 faces in generation 1" in job.stdout
    assert "truncated" in job.stderr
    assert data_files(tmp_path / "job") == data_files(tmp_path / "command")


def test_cluster_faces_does_what_the_command_does(tmp_path: Path) -> None:
    faceindex("index", make_archive(tmp_path / "photos", 4), "-c", tmp_path / "catalog", "--workers", 0)
    command = [sys.executable, ROOT / "jobs" / "cluster_faces.py", "--catalog", tmp_path / "catalog"]

    job = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)

    assert job.returncode == 0, job.stderr
    done = faceindex("cluster", "-c", tmp_path / "catalog")
    assert done.stdout.startswith(job.stdout.strip())


def night(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "jobs" / "nightly.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_a_night_indexes_clusters_and_reports_and_the_next_one_finds_nothing_new(tmp_path: Path) -> None:
    photos = make_archive(tmp_path / "photos", 4)
    settings = tmp_path / "nightly.toml"
    settings.write_text(
        f"catalog = '{tmp_path / 'catalog'}'\nphotos = ['{photos}']\n[index]\nworkers = 0\n"
        f"[watching]\nmetrics = '{tmp_path / 'night.prom'}'\n"
    )

    first, second = night(settings), night(settings, "--log-file", "-")

    assert (first.returncode, second.returncode) == (3, 0), (first.stderr, second.stderr)
    assert "5 photos embedded, 0 unchanged, 0 removed" in first.stdout
    assert "truncated" in first.stderr
    assert "by themselves" in first.stdout
    assert "0 photos embedded" in second.stdout
    events = [json.loads(line) for line in second.stderr.splitlines()]
    assert (events[0]["event"], events[-1]["event"], events[-1]["exit_code"]) == ("run_started", "run_ended", 0)
    metrics = (tmp_path / "night.prom").read_text()
    generation = json.loads(faceindex("status", "-c", tmp_path / "catalog", "--json").stdout)["generation"]
    assert f'faceindex_catalog_generation{{catalog="{tmp_path}/catalog"}} {float(generation)}' in metrics
    assert 'reason="done"} 0.0' in metrics


def test_what_is_due_is_compacted_at_night(tmp_path: Path) -> None:
    photos = make_archive(tmp_path / "photos", 4)
    asked = ("--catalog", tmp_path / "catalog", "--workers", 0)
    night("--photos", photos, *asked)
    opened = Catalog.open(str(tmp_path / "catalog"))
    opened.with_settings(replace(opened.settings, removal_grace_days=0))
    (photos / "03.jpg").unlink()

    done = night("--photos", photos, *asked, "--allow-removals")

    assert done.returncode == 0, done.stderr
    assert "1 removed" in done.stdout
    catalog = Catalog.open(str(tmp_path / "catalog"))
    served = catalog.current()
    assert served is not None
    left = [len(read_table(catalog.files, batch.faces)) for batch in served.batches.values()]
    assert sum(left) == 3


def test_settings_of_a_night_that_make_no_sense_are_one_line(tmp_path: Path) -> None:
    settings = tmp_path / "nightly.toml"
    settings.write_text("catalog = 'here'\nphotos = ['there']\n[index]\nwokers = 2\n")
    done = night(settings)
    assert done.returncode == 2
    assert "wokers" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("job", ["cluster_faces", "build_gallery"])
def test_a_catalog_without_faces_is_one_line(job: str, tmp_path: Path) -> None:
    Catalog.create(str(tmp_path / "catalog"), Settings())
    command = [sys.executable, ROOT / "jobs" / f"{job}.py", "--catalog", tmp_path / "catalog"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (4, 1)


def test_build_gallery_does_what_the_command_does(tmp_path: Path) -> None:
    faceindex("index", make_archive(tmp_path / "photos", 4), "-c", tmp_path / "catalog", "--workers", 0)
    command = [sys.executable, ROOT / "jobs" / "build_gallery.py", "--catalog", tmp_path / "catalog", "--rebuild"]

    job = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)

    assert job.returncode == 0, job.stderr
    assert "4 faces in 1 shards, exact; generation 2" in job.stdout
    assert faceindex("check", "--deep", "-c", tmp_path / "catalog").returncode == 0
