"""Fixtures shared by all tests; threads are fixed before any numeric library is imported."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # no test may depend on how busy the machine is
settings.load_profile("untimed")

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photos and weights, which are not part of the project."""
    path = Path(os.environ.get("FACEINDEX_SHARED") or ROOT.parent / "shared" / "data")
    if not (path / "README.md").is_file():
        pytest.skip(f"real photos and weights are not at {path}; set FACEINDEX_SHARED to run this test")
    return path
