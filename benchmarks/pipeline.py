"""What Dask costs and gains on one machine: start-up of the cluster, overhead of a batch, two workers against none.

    python benchmarks/pipeline.py lfw-dev --rounds 3

Networks use one thread a process, so `--workers 0` has one core for them, and two workers have one each.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from report import machine, publish

from faceindex.catalog.catalog import Catalog
from faceindex.config import Settings
from faceindex.pipeline import cluster
from faceindex.pipeline.batches import Batch
from faceindex.pipeline.worker import Job, Receipt
from faceindex.types import FileEntry, PhotoRef

BATCHES = 500
PHOTOS = 64
WORKERS = 2
IMPORT = [sys.executable, "-c", "import faceindex.pipeline.worker, time; start = time.perf_counter(); "
          "import faceindex.pipeline.cluster; print(time.perf_counter() - start)"]  # fmt: skip


def nothing(batch: Batch, _: object) -> Receipt:
    """Do a batch in no time, and return a receipt of the usual size."""
    files = tuple(FileEntry(f"{name}/ab/{batch.batch_id}.parquet", 10**6, "0" * 32) for name in ("a", "b", "c"))
    return Receipt(batch.batch_id, files, {"ok": PHOTOS}, PHOTOS, {"detect": 1.0})  # type: ignore[arg-type]


def starting(job: Job) -> dict[str, float]:
    """Return the seconds until workers are there, and until they hold the networks; and those of importing Dask."""
    importing = float(subprocess.run(IMPORT, check=True, capture_output=True, text=True).stdout)
    start = time.perf_counter()
    with cluster.dask.config.set(cluster.CONFIG), cluster.local_cluster(WORKERS):
        there = time.perf_counter() - start
    start = time.perf_counter()
    with cluster.connected(job, WORKERS, None):
        ready = time.perf_counter() - start
    return {"import": importing, "cluster": there, "ready": ready}


def overhead(job: Job) -> float:
    """Return the seconds that a batch takes in which nothing is done, from plan to receipt, of all workers together."""
    photos = tuple(PhotoRef(b"/photos/2024/a folder/%08d.jpg" % number, 10**6, 10**18) for number in range(PHOTOS))
    batches = [Batch(f"{number:032x}", photos) for number in range(BATCHES + 1)]
    real, cluster.run_batch = cluster.run_batch, nothing
    try:
        receipts = cluster.run_on_cluster(batches, job, workers=WORKERS, scheduler=None, stopping=lambda: False)
        next(receipts)  # the cluster is there now
        start = time.perf_counter()
        count = sum(1 for _ in receipts)
        return (time.perf_counter() - start) / count
    finally:
        cluster.run_batch = real


def run(photos: Path, workers: int) -> dict[str, Any]:
    """Return the document of a whole `faceindex index`, with the seconds of the whole process."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "faceindex.cli.main", "index", str(photos), "-c", f"{folder}/catalog"]
        start = time.perf_counter()
        ended = subprocess.run(
            [*words, "--workers", str(workers), "--json"], check=False, capture_output=True, text=True
        )
        if ended.returncode not in (0, 3):
            raise SystemExit(ended.stderr)
        return {**json.loads(ended.stdout), "process_seconds": time.perf_counter() - start}


def main() -> None:
    """Print and write a table of one row a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    about = machine()
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        job = Job(Catalog.create(f"{folder}/catalog", Settings()).root, guard=True, processes=WORKERS)
        for _ in range(arguments.rounds):
            started = starting(job)
            figures.setdefault("import of Dask s", []).append(started["import"])
            figures.setdefault("start-up of the cluster s (<= 3)", []).append(started["cluster"])
            figures.setdefault("the same until its workers hold the networks s", []).append(started["ready"])
            figures.setdefault("overhead of a batch ms (<= 5)", []).append(1000 * overhead(job))
    for _ in range(arguments.rounds):
        none, two = run(arguments.photos, 0), run(arguments.photos, WORKERS)
        figures.setdefault("--workers 0 photos/s", []).append(none["photos_per_second"])
        figures.setdefault("--workers 2 photos/s", []).append(two["photos_per_second"])
        ratio = two["photos_per_second"] / none["photos_per_second"]
        figures.setdefault("--workers 2 / --workers 0 (>= 1.7)", []).append(ratio)
        figures.setdefault("the same with the start of Python", []).append(
            none["process_seconds"] / two["process_seconds"]
        )
    rows = [
        {"figure": name, "median": median(values), "all": ", ".join(f"{value:.3g}" for value in values)}
        for name, values in figures.items()
    ]
    recipe = (
        f"Two spawned workers on one machine, one thread each. Whole runs of `faceindex index` of "
        f"{arguments.photos.name}, into a new catalog each, start-up and publishing included; {BATCHES} batches of "
        f"{PHOTOS} photos in which nothing is done; {arguments.rounds} rounds."
    )
    publish("pipeline", "Dask on one machine", recipe, rows, about)


if __name__ == "__main__":
    main()
