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
