import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "churn.py"


@pytest.mark.slow
def test_no_dropped_face_is_found_while_faces_come_and_go(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(3000, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    people = np.arange(3000) // 3
    probes = {"probes": vectors[:10], "probe_person": people[:10]}
    np.savez(tmp_path / "faces.npz", vectors=vectors, person=people, **probes)
    command = [sys.executable, str(SCRIPT), str(tmp_path / "faces.npz"), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}

    ended = subprocess.run(
        [*command, "--live", "2000", "--change", "100", "--rounds", "8"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    row = json.loads(ended.stdout)
    assert (row["wrong answers"], row["exit code"], row["rounds"]) == (0, 0, 8)
    assert row["searches"] > 0
