"""The scripts in jobs/ run against the package, and stay short enough to be read as an explanation."""

import subprocess
import sys
from pathlib import Path

import pytest

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
    assert "5 photos embedded, 4 faces, generation 1" in job.stdout
    assert "truncated" in job.stderr
    assert data_files(tmp_path / "job") == data_files(tmp_path / "command")


def test_cluster_faces_does_what_the_command_does(tmp_path: Path) -> None:
    faceindex("index", make_archive(tmp_path / "photos", 4), "-c", tmp_path / "catalog", "--workers", 0)
    command = [sys.executable, ROOT / "jobs" / "cluster_faces.py", "--catalog", tmp_path / "catalog"]

    job = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)

    assert job.returncode == 0, job.stderr
    done = faceindex("cluster", "-c", tmp_path / "catalog")
    assert done.stdout.startswith(job.stdout.strip())


def night(settings: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "jobs" / "nightly.py", settings]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_a_night_indexes_clusters_and_reports_and_the_next_one_finds_nothing_new(tmp_path: Path) -> None:
    photos = make_archive(tmp_path / "photos", 4)
    settings = tmp_path / "nightly.toml"
    settings.write_text(f"catalog = '{tmp_path / 'catalog'}'\nphotos = ['{photos}']\n[index]\nworkers = 0\n")

    first, second = night(settings), night(settings)

    assert (first.returncode, second.returncode) == (3, 0), first.stderr
    assert "5 photos embedded, 0 unchanged, 0 removed" in first.stdout
    assert "truncated" in first.stderr
    assert "by themselves" in first.stdout
    assert "0 photos embedded" in second.stdout


def test_settings_of_a_night_that_make_no_sense_are_one_line(tmp_path: Path) -> None:
    settings = tmp_path / "nightly.toml"
    settings.write_text("catalog = 'here'\nphotos = ['there']\n[index]\nwokers = 2\n")
    done = night(settings)
    assert done.returncode == 2
    assert "wokers" in done.stderr
    assert "Traceback" not in done.stderr


def test_build_gallery_does_what_the_command_does(tmp_path: Path) -> None:
    faceindex("index", make_archive(tmp_path / "photos", 4), "-c", tmp_path / "catalog", "--workers", 0)
    command = [sys.executable, ROOT / "jobs" / "build_gallery.py", "--catalog", tmp_path / "catalog", "--rebuild"]

    job = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)

    assert job.returncode == 0, job.stderr
    assert "4 faces in 1 shards, exact; generation 2" in job.stdout
    assert faceindex("check", "--deep", "-c", tmp_path / "catalog").returncode == 0
