"""Searches of many embeddings go to GPUs when they may, as a user sees it; `StandIns` take their place."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from faceindex.cli.main import cli
from faceindex.gallery import gpu_search
from faceindex.gallery.gpus import Gpus
from tests.support.gpus import StandIns
from tests.support.imports import VECTORS, make_imported


class Found(StandIns):
    """GPUs that a device other than cpu finds."""

    def __init__(self, device: str) -> None:
        super().__init__(*([] if device == "cpu" else [5.0, 4.0]))


def search(folder: Path, *arguments: object) -> Result:
    command = ["search", "--vectors", folder / "probes.npy", "-c", folder / "catalog", "--threshold", "0.9"]
    words = [str(word) for word in (*command, "--ndjson", "--timings", *arguments)]
    return CliRunner().invoke(cli, words, catch_exceptions=False)


def test_answers_are_the_same_and_timings_tell_where_they_were_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_imported(tmp_path / "catalog", "exact")
    np.save(tmp_path / "probes.npy", VECTORS[::3])
    without = search(tmp_path)
    monkeypatch.setattr("faceindex.query.Gpus", Found)
    monkeypatch.setattr(gpu_search, "COPY_BYTES_PER_SECOND", 1e12)

    late = search(tmp_path)
    monkeypatch.setattr(gpu_search, "START_SECONDS", 0.0)
    on_gpus, on_cpu = search(tmp_path), search(tmp_path, "--device", "cpu")
    monkeypatch.setattr(gpu_search, "SPARE_BYTES", 5 << 30)
    full = search(tmp_path)

    answers = [json.loads(line) for line in without.stdout.splitlines()]
    assert len(answers) == len(VECTORS[::3])
    assert all(one.stdout == without.stdout for one in (late, on_gpus, on_cpu, full))
    assert "100 searched on GPUs, 0 on the CPU\n" in on_gpus.stderr
    assert "0 searched on GPUs, 100 on the CPU (0.0 GB of vectors do not fit into the memory of 2 GPUs)" in full.stderr
    assert not any("on GPUs" in one.stderr for one in (without, late, on_cpu))


@pytest.mark.gpu
def test_real_gpus_give_the_answers_of_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Gpus().count:
        pytest.skip("no GPU here")
    make_imported(tmp_path / "catalog", "exact")
    np.save(tmp_path / "probes.npy", VECTORS[::3])
    monkeypatch.setattr(gpu_search, "START_SECONDS", 0.0)
    monkeypatch.setattr(gpu_search, "COPY_BYTES_PER_SECOND", 1e12)

    on_gpus, on_cpu = search(tmp_path), search(tmp_path, "--device", "cpu")

    assert "100 searched on GPUs, 0 on the CPU\n" in on_gpus.stderr
    assert on_gpus.stdout == on_cpu.stdout
