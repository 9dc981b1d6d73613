"""Photos that crash or bloat the worker that decodes them, workers killed all the time, and a driver told to stop.

Crashes of libjpeg are outside our reach, so files that end with a mark stand for photos that cause them.
"""

import json
import random
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.faults.runs import GOOD_ENDS, command, content, difference, kill, new_catalog, spawned, started

POISON, HOG = b"THIS PICTURE KILLS ITS DECODER", b"THIS PICTURE TAKES ALL MEMORY"
PRELOAD = f"""
import os, signal, time
import simplejpeg
def deadly(payload, *arguments, decode=simplejpeg.decode_jpeg, **options):
    if payload.endswith({POISON!r}):
        os.kill(os.getpid(), signal.SIGSEGV)
    if payload.endswith({HOG!r}):
        taken = []
        while True:
            taken.append(b"x" * (64 << 20))
            time.sleep(0.02)
    return decode(payload, *arguments, **options)
simplejpeg.decode_jpeg = deadly
"""
MEMORY_BYTES = 4 << 30
"""What Dask takes for the memory of the machine; it ends a worker that has 95 % of its share."""
LIMITED = (
    "import resource, sys\n"
    f"resource.setrlimit(resource.RLIMIT_RSS, ({MEMORY_BYTES}, {MEMORY_BYTES}))\n"
    "from faceindex.cli.main import cli\n"
    "cli(sys.argv[1:])\n"
)
MOST = 50
"""Runs that may give up before the trial does."""
STOPPED = (128 + signal.SIGTERM, 128 + signal.SIGINT)


@dataclass(slots=True)
class Workers:
    """What was seen."""

    runs: int = 0
    killed: int = 0
    """Workers killed from outside."""
    stopped: int = 0
    """Runs told to stop by SIGTERM, which ended with exit code 143 and said how to go on."""
    gave_up: int = 0
    """Runs that ended with exit code 1 and said why, in a line: workers die again and again."""
    states: dict[str, str] = field(default_factory=dict)
    """Of the photos that crash or bloat their worker."""
    others: list[str] = field(default_factory=list)
    """Other ends; none."""
    different: list[str] = field(default_factory=list)
    """Differences from a run that nobody disturbed; none."""


def marked(photos: Path, *marks: bytes) -> Path:
    """Put marks into a photo each, from the second on, and return the folder."""
    chosen = [path for path in sorted(photos.iterdir()) if path.suffix == ".jpg"][1:]
    for path, mark in zip(chosen, marks, strict=False):
        with path.open("ab") as file:
            file.write(mark)
    return photos


def trial(photos: Path, folder: Path, *, batch_photos: int, kill_s: float, stops: int, seed: int) -> Workers:
    """Index photos of which one crashes its worker and one bloats it, disturbed and not.

    Args:
        photos: of `marked`.
        folder: scratch.
        batch_photos: photos in a batch.
        kill_s: a worker is killed so often; 0 for never.
        stops: runs told to stop, at random moments, before one is let go on to its end.
        seed: of who is killed and when.
    """
    dice = random.Random(seed)
    seen = Workers()
    preload = folder / "deadly.py"
    preload.write_text(PRELOAD)
    plain = new_catalog(folder / "undisturbed", batch_photos)
    code, printed, errors = _run(photos, plain, preload, None)
    if code not in GOOD_ENDS:
        seen.others.append(f"exit code {code}: {errors.strip()[-800:]}")
        return seen
    rows = json.loads(printed)["quarantined"]
    seen.states = {Path(row["photo"]).name: row["state"] for row in rows}
    if not kill_s and not stops:
        return seen
    root = new_catalog(folder / "catalog", batch_photos)
    while not _ended(photos, root, preload, dice, kill_s, stops, seen):
        pass
    if not seen.others:
        seen.different = difference(root, content(plain))
    shutil.rmtree(root)
    shutil.rmtree(plain)
    return seen


def _ended(
    photos: Path, root: Path, preload: Path, dice: random.Random, kill_s: float, stops: int, seen: Workers
) -> bool:
    seen.runs += 1
    stop_after = dice.uniform(2, 12) if seen.stopped < stops else None
    disturbing = _Disturbing(dice, kill_s, stop_after)
    code, _, errors = _run(photos, root, preload, disturbing)
    seen.killed += disturbing.killed
    if code in STOPPED and "run the same command again" in errors:
        seen.stopped += 1
    elif code == 1 and "try fewer --workers" in errors and "Traceback" not in errors and seen.gave_up < MOST:
        seen.gave_up += 1
    elif code in GOOD_ENDS:
        return True
    else:
        seen.others.append(f"exit code {code}: {errors.strip()[-800:]}")
        return True
    return False


class _Disturbing:
    """Kills a worker every so often, and tells the driver to stop once."""

    def __init__(self, dice: random.Random, kill_s: float, stop_after: float | None) -> None:
        self._dice, self._kill_s, self._stop_after = dice, kill_s, stop_after
        self._over = threading.Event()
        self.killed = 0

    def disturb(self, process: "subprocess.Popen[str]") -> None:
        """Go on until `end`."""
        waited = 0.0
        step = self._kill_s or 1.0
        while not self._over.wait(step):
            waited += step
            if self._stop_after is not None and waited >= self._stop_after:
                process.send_signal(signal.SIGTERM)
                self._stop_after = None
            alive = sorted(spawned(process.pid))
            if self._kill_s and alive:
                self.killed += kill(self._dice.choice(alive))

    def end(self) -> None:
        """Disturb no more."""
        self._over.set()


def _run(photos: Path, root: Path, preload: Path, disturbing: _Disturbing | None) -> tuple[int, str, str]:
    words: list[Any] = [sys.executable, "-c", LIMITED, *command(photos, root, 2)[3:], "--json"]
    process = started(words, DASK_DISTRIBUTED__WORKER__PRELOAD=str(preload))
    thread = threading.Thread(target=disturbing.disturb, args=(process,)) if disturbing else None
    if thread:
        thread.start()
    printed, errors = process.communicate()
    if disturbing and thread:
        disturbing.end()
        thread.join()
    return process.returncode, printed, errors
