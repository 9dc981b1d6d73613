"""Processes that are killed while they write what somebody says."""

import json
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults.runs import PROJECT, kill
from faceindex.catalog.files import LocalFiles
from faceindex.errors import CatalogError
from faceindex.identities.ledger import Ledger, ledger_problems

WRITER = """
import sys
from pathlib import Path
from faceindex.catalog.files import LocalFiles
from faceindex.identities.events import Event, FaceRef, Kind
from faceindex.identities.ledger import Ledger

ledger = Ledger(LocalFiles(Path(sys.argv[1])))
print("ready", flush=True)
for number in range(int(sys.argv[2]), int(sys.argv[2]) + 100_000):
    face = FaceRef(number.to_bytes(16, "big"), bytes(16), (0.0, 0.0, 1.0, 1.0))
    [event] = ledger.write(lambda _: [Event(Kind.NAME, "writer", (face,), person="Anna " * 10 + str(number))])
    print(event.event_id, flush=True)
"""
"""Says one thing after another, and prints the id of each once it is taken."""

COMMAND = """
import sys
import faceindex.people, faceindex.identities.opening, faceindex.identities.labelling
from faceindex.cli.main import cli
print("ready", flush=True)
cli(sys.argv[1:])
"""
"""A command line that has everything imported."""


@dataclass
class Writes:
    """What was seen; the last three must stay at nothing."""

    kills: int = 0
    acknowledged: int = 0
    unacknowledged: int = 0
    """Events that are there though the writer was killed before it could say so."""
    lost: int = 0
    doubled: int = 0
    damaged: list[str] = field(default_factory=list)

    def wrong(self) -> dict[str, object]:
        """Return what must not be."""
        return {name: getattr(self, name) for name in ("lost", "doubled", "damaged") if getattr(self, name)}


def ledger_killed(root: Path, kills: int, seed: int, longest_s: float = 0.05) -> Writes:
    """Kill a process that writes events, at a random moment of its writing, so many times; one ledger for all."""
    root.mkdir(exist_ok=True)
    seen, moments = Writes(), random.Random(seed)
    acknowledged: list[str] = []
    for number in range(kills):
        words = [sys.executable, "-c", WRITER, str(root), str(100_000 * number)]
        acknowledged += _killed(words, moments.uniform(0, longest_s), seen)
        _look(root, acknowledged, seen)
    return seen


def command_killed(root: Path, faces: list[str], kills: int, seed: int) -> Writes:
    """Kill `faceindex people name` at random moments, once for each of so many faces of a catalog."""
    seen, moments = Writes(), random.Random(seed)
    acknowledged: list[str] = []
    started = time.monotonic()
    _run([*_command(root, faces[0])], acknowledged)
    took = time.monotonic() - started
    for face in faces[1 : 1 + kills]:
        printed = _killed(_command(root, face), moments.uniform(0, took), seen)
        if printed:
            acknowledged.append(json.loads("".join(printed))["event"])
        _look(root, acknowledged, seen)
    return seen


def _command(root: Path, face: str) -> list[str]:
    return [sys.executable, "-c", COMMAND, "people", "name", face, f"Anna {face}", "-c", str(root), "--json"]


def _run(words: list[str], acknowledged: list[str]) -> None:
    printed = subprocess.run(words, cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    acknowledged.append(json.loads(printed.removeprefix("ready\n"))["event"])


def _killed(words: list[str], after_s: float, seen: Writes) -> list[str]:
    """Start a process, kill it some time after it is ready, and return the whole lines that it printed since."""
    with subprocess.Popen(words, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(after_s)
        seen.kills += kill(process.pid)
        lines = process.stdout.read().splitlines(keepends=True)
    return [line.strip() for line in lines if line.endswith("\n")]


def _look(root: Path, acknowledged: list[str], seen: Writes) -> None:
    """Open the ledger as the next process does, and hold it against what was acknowledged."""
    files = LocalFiles(root)
    seen.damaged += [problem.detail for problem in ledger_problems(files)]
    try:
        kept = [event.event_id for event in Ledger(files).events()]
    except CatalogError as error:
        seen.damaged.append(str(error))
        return
    seen.acknowledged = len(acknowledged)
    seen.lost = len(set(acknowledged) - set(kept))
    seen.doubled = len(kept) - len(set(kept))
    seen.unacknowledged = len(set(kept) - set(acknowledged))
