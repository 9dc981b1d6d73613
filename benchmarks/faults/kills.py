"""Runs whose driver and workers are killed at random moments, begun again with the same command until they are done."""

import random
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.faults.runs import (
    GOOD_ENDS,
    command,
    content,
    difference,
    finished,
    is_worker,
    kill,
    lost_and_doubled,
    new_catalog,
    spawned,
    started,
    unopenable,
)

GONE_S = 30.0
"""Time in which workers must notice that their driver is gone."""
WORKER_SHARE = 0.5
"""Of the kills of a run that has workers, those that are of one of them."""


@dataclass(slots=True)
class Kills:
    """What was seen; all but the first four must stay at nothing."""

    driver: int = 0
    workers: int = 0
    runs: int = 0
    """Runs of the command."""
    catalogs: int = 0
    """Catalogs that were brought to their end."""
    lost: int = 0
    doubled: int = 0
    unopenable: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """Runs that nobody killed and that did not end well."""
    orphans: int = 0
    """Workers that outlived their driver."""

    @property
    def count(self) -> int:
        return self.driver + self.workers

    def wrong(self) -> dict[str, Any]:
        """Return what must not be."""
        found = {name: getattr(self, name) for name in ("lost", "doubled", "unopenable", "different", "failed")}
        return {name: value for name, value in {**found, "orphans": self.orphans}.items() if value}


def trial(photos: Path, folder: Path, *, kills: int, workers: int, batch_photos: int, seed: int) -> Kills:
    """Kill until so many kills were done, and bring the last catalog to its end.

    Args:
        photos: a folder of photos without folders in it.
        folder: scratch.
        kills: how many.
        workers: of each run; 0 for none but the driver.
        batch_photos: photos in a batch.
        seed: of the moments and of who is killed.
    """
    moments = random.Random(seed)
    undisturbed = new_catalog(folder / "undisturbed", batch_photos)
    took = finished(command(photos, undisturbed, workers))["seconds"] + 1.0  # and the start of Python
    expected = content(undisturbed)
    seen = Kills()
    while seen.count < kills:
        root = new_catalog(folder / f"catalog-{seen.catalogs}", batch_photos)
        done = False
        while not done:
            seen.runs += 1
            left = kills - seen.count
            done = _run(command(photos, root, workers), seen, moments if left > 0 else None, took)
            seen.unopenable += unopenable(root)
        seen.catalogs += 1
        lost, doubled = lost_and_doubled(root, photos)
        seen.lost, seen.doubled = seen.lost + lost, seen.doubled + doubled
        seen.different += difference(root, expected)
        shutil.rmtree(root)
    shutil.rmtree(undisturbed)
    return seen


def _run(words: list[str], seen: Kills, moments: random.Random | None, took: float) -> bool:
    """Start a run and let it be killed; return whether it came to its end."""
    process = started(words)
    # Pipes of a killed driver stay open in workers that live a moment longer: read beside.
    reader = _Reader(process)
    workers: set[int] = set()
    while moments is not None and _still(process, moments.uniform(0, took)):
        alive = spawned(process.pid)
        workers |= alive
        if alive and moments.random() < WORKER_SHARE:
            seen.workers += kill(moments.choice(sorted(alive)))
            continue
        if kill(process.pid):
            seen.driver += 1
        break
    process.wait()
    orphans = _outlive(workers)
    seen.orphans += len(orphans)
    errors = reader.text()
    if process.returncode < 0:
        return False
    if process.returncode not in GOOD_ENDS:
        seen.failed.append(f"exit code {process.returncode}: {errors.strip()[-500:]}")
        # Begun again like one that was killed, up to a point.
        return len(seen.failed) > seen.count + 3
    return True


def _still(process: "subprocess.Popen[str]", seconds: float) -> bool:
    """Return whether a process still runs after a while."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def _outlive(processes: set[int]) -> list[int]:
    """Return those of the workers that do not end with their driver."""
    limit = time.monotonic() + GONE_S
    while (alive := [one for one in processes if is_worker(one)]) and time.monotonic() < limit:
        time.sleep(0.02)
    return alive


class _Reader:
    """Reads what a process prints until all who could print have ended."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._printed = ""
        self._process = process
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        _, self._printed = self._process.communicate()

    def text(self) -> str:
        self._thread.join(GONE_S)
        return self._printed
