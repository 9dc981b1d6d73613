"""What workers of a machine are given."""

import os
from pathlib import Path

import pytest

from faceindex.catalog.catalog import Catalog
from faceindex.config import Settings
from faceindex.faces.networks import gpu_names
from faceindex.pipeline.cluster import connected
from faceindex.pipeline.run import default_workers
from faceindex.pipeline.worker import Job


def test_each_worker_has_a_gpu_of_its_own(tmp_path: Path) -> None:
    catalog = Catalog.create(str(tmp_path / "catalog"), Settings())

    with connected(Job(catalog.root, "cpu", processes=2, gpus=("3", "GPU-5a")), 2, None) as (client, count):
        seen = client.run(os.getenv, "CUDA_VISIBLE_DEVICES")

    assert count == 2
    assert sorted(seen.values()) == ["3", "GPU-5a"]


def test_a_cpu_has_a_worker_a_core_and_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")

    assert gpu_names("cpu") == ()
    assert default_workers("cpu") == len(os.sched_getaffinity(0))
