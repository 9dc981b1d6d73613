"""Indexing speed against the naive loop, the second run, and what a user waits for at the command line.

    python benchmarks/first_mark.py lfw-dev --rounds 3

Whole processes are timed, start-up included, in turn: naive loop, `faceindex index`, naive loop, ... The naive loop
does a sample of the photos and its rate leaves its start-up out, which is in its favour.
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

HERE = Path(__file__).parent
COMMAND = [sys.executable, "-m", "faceindex.cli.main"]


def timed(command: list[str]) -> tuple[float, str, str]:
    """Return the seconds a command took, its stdout and its stderr; 0, 3 and 4 are good ends."""
    started = time.perf_counter()
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode not in (0, 3, 4):
        raise SystemExit(f"{' '.join(command)} failed: {run.stderr}")
    return time.perf_counter() - started, run.stdout, run.stderr


def one_round(folder: str, photos: int, min_face: int) -> dict[str, float]:
    """Return the figures of one round; every catalog starts empty."""
    naive = [sys.executable, str(HERE / "naive.py"), folder, "--photos", str(photos), "--min-face", str(min_face)]
    figures = {"naive photos/s": float(json.loads(timed(naive)[1])["rate"])}
    with tempfile.TemporaryDirectory() as temporary:
        index = [*COMMAND, "index", folder, "-c", f"{temporary}/catalog"]
        first, printed, _ = timed([*index, "--json"])
        document: dict[str, Any] = json.loads(printed)
        figures["index photos/s"] = sum(document["photos"].values()) / first
        figures["index s"] = first
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
    parser.add_argument("--naive-photos", type=int, default=300)
    parser.add_argument("--min-face", type=int, default=20, help="of the naive loop; faceindex's default is 20")
    arguments = parser.parse_args()
    about = machine()
    rounds = [one_round(arguments.folder, arguments.naive_photos, arguments.min_face) for _ in range(arguments.rounds)]
    rows = [
        {"figure": name, "median": median(figures[name] for figures in rounds), "all": _all(rounds, name)}
        for name in rounds[0]
    ]
    ratios = {
        "index / naive": [figures["index photos/s"] / figures["naive photos/s"] for figures in rounds],
        "first / second run": [figures["index s"] / figures["second run s"] for figures in rounds],
    }
    for name, values in ratios.items():
        rows.append({"figure": name, "median": median(values), "all": ", ".join(f"{value:.1f}" for value in values)})
    recipe = (
        f"{Path(arguments.folder).name}: whole `faceindex index`, start-up to published generation, default settings, "
        f"against {arguments.naive_photos} random photos (seed 0) in a loop over facenet-pytorch's MTCNN "
        f"(min face {arguments.min_face}) and InceptionResnetV1; {arguments.rounds} rounds in turn."
    )
    publish("first_mark", "First mark: indexing, second run, start-up", recipe, rows, about)


def _all(rounds: list[dict[str, float]], name: str) -> str:
    return ", ".join(f"{figures[name]:.3g}" for figures in rounds)


if __name__ == "__main__":
    main()
