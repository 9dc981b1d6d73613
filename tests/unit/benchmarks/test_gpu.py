import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "gpu.py"


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(SCRIPT), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1]), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_without_a_gpu_it_says_so_in_one_line() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")

    ended = run()

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == "gpu.py needs a CUDA GPU and torch finds none; --smoke tries the script on the CPU\n"


@pytest.mark.slow
def test_every_part_works_at_tiny_sizes() -> None:
    ended = run("--smoke")

    assert ended.returncode == 0, ended.stderr
    rows = {row["figure"]: row for row in json.loads(ended.stdout)}
    assert set(rows) >= {
        "InceptionResnetV1 faces/s",
        "dlib-resnet29 faces/s",
        "detection 1 MP photos/s",
        "detection LFW-size photos/s",
        "LFW index photos/s",
        "12 MP index photos/s",
    }
    assert all(row["median"] > 0 for row in rows.values())
    assert rows["InceptionResnetV1 faces/s"]["H100 limit"] == "208,333"
    assert rows["detection 1 MP photos/s"]["target"] == "3,000"
