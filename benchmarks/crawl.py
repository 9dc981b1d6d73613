"""Looking through an archive of 100,000 photos: what is new is crawled and planned, what is unchanged is left alone.

    python benchmarks/crawl.py LFW --photos 100000

The photos are small copies of real ones, each with bytes of its own behind the picture, in folders of 1,000. They are
really indexed once, which takes most of the time.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image
from report import machine, publish

from faceindex.pipeline.run import IndexOptions, index_photos

SIDE = 48
SOURCES = 500
A_FOLDER = 1000
FIND = ["find", "{folder}", "-printf", r"%s %T@\n"]

PLANNED = """
import resource, sys, time
from faceindex.catalog.catalog import Catalog
from faceindex.config import Settings
from faceindex.images.crawl import crawl
from faceindex.pipeline.batches import make_batches
from faceindex.pipeline.changes import compare
from faceindex.pipeline.plans import Plan, new_run, write_plan
from faceindex.pipeline.publish import known_photos
photos, catalog = sys.argv[1:]
catalog = Catalog.create(catalog, Settings())
start = time.perf_counter()
changes = compare(crawl(photos), known_photos(catalog, None), [photos.encode()], retry_failed=False)
write_plan(catalog.files, Plan(new_run(), "digest", tuple(make_batches(changes.todo, catalog.settings, "digest")), ()))
print(len(changes.todo), time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def make(sources: Path, folder: Path, count: int) -> None:
    """Write `count` small photos, no two the same."""
    small = []
    for path in sorted(sources.rglob("*.jpg"))[:SOURCES]:
        data = io.BytesIO()
        Image.open(path).convert("RGB").resize((SIDE, SIDE)).save(data, "JPEG")
        small.append(data.getvalue())
    for number in range(count):
        path = folder / f"{number // A_FOLDER:04d}" / f"IMG_{number:07d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(small[number % len(small)] + number.to_bytes(4, "little"))


def planned(folder: Path, catalog: Path) -> tuple[float, float]:
    """Return the seconds and the peak memory, in MB, of a process that crawls and plans a new archive."""
    words = [sys.executable, "-c", PLANNED, str(folder), str(catalog)]
    _, seconds, size = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    return float(seconds), float(size) / 1e6


def found(folder: Path) -> float:
    """Return the seconds that `find` takes to say sizes and times."""
    start = time.perf_counter()
    subprocess.run([word.format(folder=folder) for word in FIND], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def unchanged(folder: Path, catalog: Path, count: int) -> float:
    """Return the seconds of a run that has nothing to do, in a process that did one before."""
    start = time.perf_counter()
    report = index_photos(str(catalog), [str(folder)], IndexOptions())
    seconds = time.perf_counter() - start
    if (report.unchanged, report.attempted) != (count, 0):
        raise SystemExit(f"{report.unchanged:,} of {count:,} photos unchanged")
    return seconds


def index(folder: Path, catalog: Path) -> tuple[float, dict[str, Any]]:
    """Return the seconds and the document of a whole `faceindex index`."""
    words = [sys.executable, "-m", "faceindex.cli.main", "index", str(folder), "-c", str(catalog), "--json"]
    start = time.perf_counter()
    ended = subprocess.run(words, check=True, capture_output=True, text=True)
    return time.perf_counter() - start, json.loads(ended.stdout)


def main() -> None:
    """Print and write a table of one row a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", type=Path)
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder, catalog = Path(scratch, "photos"), Path(scratch, "catalog")
        make(arguments.sources, folder, arguments.photos)
        _, document = index(folder, catalog)
        about = machine()
        unchanged(folder, catalog, arguments.photos)  # loads what a process loads once
        for number in range(arguments.rounds):
            seconds, size = planned(folder, Path(scratch, f"planned-{number}"))
            figures.setdefault("new: crawled and planned s (<= 10)", []).append(seconds)
            figures.setdefault("new: peak memory of the process MB (<= 300)", []).append(size)
            finding = found(folder)
            checking = unchanged(folder, catalog, arguments.photos)
            figures.setdefault("find -printf '%s %T@' s", []).append(finding)
            figures.setdefault("unchanged: checked s", []).append(checking)
            figures.setdefault("unchanged: checked / find (<= 3)", []).append(checking / finding)
            figures.setdefault("unchanged: the whole command s", []).append(index(folder, catalog)[0])
    rows = [
        {"figure": name, "median": median(values), "all": ", ".join(f"{value:.3g}" for value in values)}
        for name, values in figures.items()
    ]
    recipe = (
        f"{arguments.photos:,} JPEGs of {SIDE}x{SIDE} made of {SOURCES} photos of {arguments.sources.name}, no two the "
        f"same, {A_FOLDER:,} a folder; {document['photos']} when they were indexed. Files and folders are in the "
        f"system's cache, for find as for the check; {arguments.rounds} rounds, one after the other in each."
    )
    publish("crawl", "An archive looked through", recipe, rows, about)


if __name__ == "__main__":
    main()
