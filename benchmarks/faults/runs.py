"""Real runs of `faceindex index` to be disturbed, and what tells whether a catalog is that of an undisturbed one."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from faceindex.catalog.catalog import Catalog
from faceindex.catalog.files import open_files
from faceindex.catalog.generations import Generation
from faceindex.catalog.layout import is_temporary
from faceindex.catalog.live import open_view
from faceindex.catalog.parquet import read_table
from faceindex.catalog.upkeep import check
from faceindex.config import Settings

PROJECT = Path(__file__).resolve().parents[2]
GOOD_ENDS = (0, 3)
"""Done; done, but for photos that cannot be read."""


def sample(photos: Path, folder: Path, count: int, seed: int) -> Path:
    """Copy random photos of an archive into a new folder, and return it."""
    paths = sorted(path for path in photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    chosen = np.random.default_rng(seed).choice(len(paths), min(count, len(paths)), replace=False)
    folder.mkdir(parents=True)
    for number, index in enumerate(sorted(chosen.tolist())):
        shutil.copy2(paths[index], folder / f"{number:05d} {paths[index].name}")
    return folder


def new_catalog(root: Path, batch_photos: int, **settings: Any) -> Path:
    """Make an empty catalog of small batches: many moments at which to be disturbed."""
    Catalog.create(str(root), replace(Settings(), batch_photos=batch_photos, **settings))
    return root


def command(photos: Path, catalog: Path, workers: int, *more: str) -> list[str]:
    """Return the command of a user who indexes photos."""
    program = [sys.executable, "-m", "faceindex.cli.main", "index", str(photos), "-c", str(catalog)]
    return [*program, "--workers", str(workers), *more]


def started(words: Sequence[str], **environment: str) -> subprocess.Popen[str]:
    """Start a command in a process group of its own."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        words,
        cwd=PROJECT,
        env=variables,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(words: Sequence[str], **environment: str) -> dict[str, Any]:
    """Run a command that prints a document to its end, and return that."""
    process = started([*words, "--json"], **environment)
    printed, errors = process.communicate()
    if process.returncode not in GOOD_ENDS:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}: {errors}")
    document: dict[str, Any] = json.loads(printed)
    return document


def ran(*words: str) -> None:
    """Run another command to its end."""
    subprocess.run([sys.executable, "-m", "faceindex.cli.main", *words], cwd=PROJECT, check=True, capture_output=True)


def spawned(process: int) -> set[int]:
    """Return the worker processes that a process has started, which Linux tells."""
    found = set()
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):
            found |= {int(child) for child in path.read_text().split() if is_worker(int(child))}
    return found


def is_worker(process: int) -> bool:
    """Return whether a process is there and was spawned by `multiprocessing`."""
    try:
        return b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def kill(process: int) -> bool:
    """Kill a process at once; return whether it was there."""
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def unopenable(root: Path) -> list[str]:
    """Return what a catalog has that a reader could not use, given that anybody may have been killed."""
    files = open_files(str(root))
    found = [f"{problem.path}: {problem.detail}" for problem in check(files) if problem.damaged]
    for path in files.paths():
        if path.endswith(".parquet") and not is_temporary(path):
            read_table(files, path)  # also those that no generation names yet
    return found


def content(root: Path) -> dict[str, Any]:
    """Return everything in a catalog that does not tell when it was made: bytes of files, rows, and the manifest."""
    catalog = Catalog.open(str(root))
    served = catalog.current()
    assert served is not None
    files = {
        path: catalog.files.read(path)
        for folder in ("photos", "faces", "crops", "shards")
        for path in catalog.files.paths(folder)
        if not is_temporary(path)
    }
    view = open_view(catalog.files, served)
    return {"files": files, "photos": view.to_pylist(), "manifest": _timeless(served)}


def difference(root: Path, expected: dict[str, Any]) -> list[str]:
    """Return how a catalog differs from `content` of an undisturbed one."""
    found = content(root)
    differences = [
        path
        for path in found["files"].keys() | expected["files"].keys()
        if found["files"].get(path) != expected["files"].get(path)
    ]
    differences += [part for part in ("photos", "manifest") if found[part] != expected[part]]
    return sorted(differences)


def lost_and_doubled(root: Path, photos: Path) -> tuple[int, int]:
    """Return how many photos of a folder a catalog does not know, and how many it knows more than once."""
    catalog = Catalog.open(str(root))
    served = catalog.current()
    assert served is not None
    paths = open_view(catalog.files, served)["path"].to_pylist()
    there = {os.fsencode(path) for path in photos.iterdir()}
    return len(there - set(paths)), len(paths) - len(set(paths))


def _timeless(served: Generation) -> Generation:
    return replace(served, created_at="", runs={}, settings_digest="")
