"""Several processes that want to write one catalog at the same time."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults.runs import (
    GOOD_ENDS,
    PROJECT,
    command,
    content,
    difference,
    finished,
    lost_and_doubled,
    new_catalog,
    unopenable,
)
from faceindex.catalog.catalog import Catalog

BUSY = 75
GATE = (
    "import sys\n"
    "from faceindex.cli.main import cli\n"
    "import faceindex.pipeline.run\n"
    "print('ready', flush=True)\n"
    "sys.stdin.readline()\n"
    "cli(sys.argv[1:])\n"
)
"""A command line that has everything imported, and waits to begin."""


@dataclass(slots=True)
class Writers:
    """What was seen; the lists and the last two must stay at nothing."""

    processes: int = 0
    won: int = 0
    """Processes that did the work."""
    refused: int = 0
    """Processes that ended with exit code 75 and said who writes."""
    late: int = 0
    """Processes that came when the work was done, and found nothing to do."""
    others: list[str] = field(default_factory=list)
    """Other ends."""
    different: list[str] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0

    def wrong(self) -> dict[str, object]:
        """Return what must not be."""
        names = ("others", "different", "lost", "doubled")
        return {name: getattr(self, name) for name in names if getattr(self, name)}


def trial(photos: Path, folder: Path, *, rounds: int, processes: int) -> Writers:
    """Let processes index the same photos into the same new catalog, all at once, so many times."""
    undisturbed = new_catalog(folder / "undisturbed", 4)
    finished(command(photos, undisturbed, 0))
    expected = content(undisturbed)
    seen = Writers()
    for number in range(rounds):
        root = new_catalog(folder / f"catalog-{number}", 4)
        _race(photos, root, processes, seen)
        seen.different += [*difference(root, expected), *unopenable(root)]
        lost, doubled = lost_and_doubled(root, photos)
        seen.lost, seen.doubled = seen.lost + lost, seen.doubled + doubled
        shutil.rmtree(root)
    shutil.rmtree(undisturbed)
    return seen


def _race(photos: Path, root: Path, processes: int, seen: Writers) -> None:
    words = [sys.executable, "-c", GATE, *command(photos, root, 0)[3:], "--json"]
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen(words, cwd=PROJECT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(processes)
    ]
    for one in started:
        assert one.stdout
        one.stdout.readline()
    for one in started:
        assert one.stdin
        one.stdin.write("go\n")
        one.stdin.flush()
    seen.processes += processes
    ends: Counter[str] = Counter()
    for one in started:
        printed, errors = one.communicate()
        if one.returncode in GOOD_ENDS:
            ends["won" if json.loads(printed)["embedded"] else "late"] += 1
        elif one.returncode == BUSY and "is being written by `" in errors:
            ends["refused"] += 1
        else:
            seen.others.append(f"exit code {one.returncode}: {errors.strip()[-300:]}")
    if ends["won"] != 1:
        seen.others.append(f"{ends['won']} processes did the work")
    seen.won += ends["won"]
    seen.refused += ends["refused"]
    seen.late += ends["late"]


def publishers(folder: Path, *, processes: int, generations: int) -> list[str]:
    """Let processes publish so many generations each, in turn as they get the lock; return what is wrong."""
    root = folder / "published"
    new_catalog(root, 4)
    words = [sys.executable, "-m", "tests.support.catalog_writer", str(root), str(generations)]
    started = [subprocess.Popen(words, cwd=PROJECT, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    numbers = sorted(int(line) for one in started for line in one.communicate()[0].splitlines())
    served = Catalog.open(str(root)).current()
    wrong = unopenable(root)
    if numbers != list(range(1, processes * generations + 1)):
        wrong.append("numbers of generations that are missing or were given twice")
    if served is None or len(served.batches) != processes * generations:
        wrong.append(f"batches in the last generation: {len(served.batches) if served else 0}")
    shutil.rmtree(root)
    return wrong
