"""What a user waits for: the first run and the second, one search from a cold start, `--help`.

    python benchmarks/waiting.py lfw-dev --rounds 3

Whole processes are timed, start-up included.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from report import machine, publish

COMMAND = [sys.executable, "-m", "faceindex.cli.main"]


def timed(command: list[str]) -> tuple[float, str, str]:
    """Return the seconds a command took, its stdout and its stderr; 0, 3 and 4 are good ends."""
    started = time.perf_counter()
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode not in (0, 3, 4):
        raise SystemExit(f"{' '.join(command)} failed: {run.stderr}")
    return time.perf_counter() - started, run.stdout, run.stderr


def one_round(folder: str) -> dict[str, float]:
    """Return the figures of one round; every catalog starts empty."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        index = [*COMMAND, "index", folder, "-c", f"{temporary}/catalog"]
        first, printed, _ = timed([*index, "--json"])
        document: dict[str, Any] = json.loads(printed)
        figures["first run photos/s"] = sum(document["photos"].values()) / first
        figures["first run s"] = first
        figures["second run s"] = timed(index)[0]
        query = str(next(path for path in sorted(Path(folder).rglob("*")) if path.suffix.lower() == ".jpg"))
        search = [*COMMAND, "search", query, "-c", f"{temporary}/catalog", "--timings"]
        figures["search s"], _, timings = timed(search)
        parts = re.findall(r"^ *(\S.*?) +([0-9.]+) s\b", timings, re.MULTILINE)
        figures |= {f"search, {part} s": float(seconds) for part, seconds in parts}
    figures["--help s"] = median(timed([*COMMAND, "--help"])[0] for _ in range(5))
    return figures


def main() -> None:
    """Print and write the medians over the rounds, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    about = machine()
    rounds = [one_round(arguments.folder) for _ in range(arguments.rounds)]
    rows = [
        {"figure": name, "median": median(figures[name] for figures in rounds), "all": _all(rounds, name)}
        for name in rounds[0]
    ]
    ratios = [figures["first run s"] / figures["second run s"] for figures in rounds]
    shown = ", ".join(f"{ratio:.1f}" for ratio in ratios)
    rows.append({"figure": "first / second run", "median": median(ratios), "all": shown})
    recipe = f"{Path(arguments.folder).name}, default settings, {arguments.rounds} rounds, each into a new catalog."
    publish("waiting", "What a user waits for", recipe, rows, about)


def _all(rounds: list[dict[str, float]], name: str) -> str:
    return ", ".join(f"{figures[name]:.3g}" for figures in rounds)


if __name__ == "__main__":
    main()
