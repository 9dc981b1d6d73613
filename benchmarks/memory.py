"""Peak memory of `faceindex index` on large photos, against --memory.

    python benchmarks/memory.py --photos photos/human-samples

Proportional set size (pages that processes share are divided among them) of the run and all its workers, sampled
twenty times a second. What the processes take without photos is measured on thumbnails of the same photos.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from PIL import Image
from report import machine, publish

INDEX = [sys.executable, "-m", "faceindex.cli.main", "index"]
MEBIBYTE = 2**20
LARGE = {"24 MP JPEG": (24, 16, "jpg"), "100 MP JPEG": (100, 6, "jpg"), "100 MP PNG": (100, 4, "png")}
"""Megapixels, photos and format."""


def make(sources: list[Path], folder: Path) -> None:
    """Write the large photos, each of another size, and thumbnails of them."""
    (folder / "large").mkdir()
    (folder / "small").mkdir()
    index = 0
    for megapixels, count, suffix in LARGE.values():
        for _ in range(count):
            picture = Image.open(sources[index % len(sources)]).convert("RGB")
            factor = ((megapixels * 1e6 - 5e4 * index) / (picture.width * picture.height)) ** 0.5
            size = round(picture.width * factor), round(picture.height * factor)
            picture.resize(size, Image.Resampling.BILINEAR).save(folder / "large" / f"{index:02d}.{suffix}", quality=90)
            picture.thumbnail((200 + index, 200 + index))
            picture.save(folder / "small" / f"{index:02d}.jpg")
            index += 1


def peak(folder: Path, *options: str) -> tuple[float, dict[str, int]]:
    """Return the largest proportional set size of a run and its workers, in MiB, and what became of the photos."""
    with tempfile.TemporaryDirectory() as catalog:
        command = [*INDEX, str(folder), "-c", f"{catalog}/catalog", "--json", *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        highest = 0
        while process.poll() is None:
            highest = max(highest, pss(process.pid))
            time.sleep(0.05)
        assert process.stdout is not None
        return highest / MEBIBYTE, json.loads(process.stdout.read())["photos"]


def pss(pid: int) -> int:
    """Return the proportional set size of a process and its descendants in bytes."""
    total = 0
    try:
        family = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return 0
    for member in family:
        try:
            lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # it has just ended
        total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def main() -> None:
    """Print and write a table with a row for each limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder whose photos are enlarged")
    parser.add_argument("--limits", default="2GiB,1GiB,512MiB")
    arguments = parser.parse_args()
    about = machine()
    sources = sorted(path for path in arguments.photos.rglob("*") if path.suffix.lower() == ".jpg")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        make(sources, Path(temporary))
        without, _ = peak(Path(temporary) / "small")
        for limit in arguments.limits.split(","):
            highest, states = peak(Path(temporary) / "large", "--memory", limit)
            rows.append(
                {
                    "--memory": limit,
                    "peak MiB": round(highest),
                    "of that without photos MiB": round(without),
                    "for photos MiB": round(highest - without),
                    "photos": ", ".join(f"{count} {state}" for state, count in states.items()),
                }
            )
            print(rows[-1], flush=True)
    recipe = (
        f"{', '.join(f'{count} {name}' for name, (_, count, _) in LARGE.items())}, enlarged from photos of "
        f"{arguments.photos.name}; {len(os.sched_getaffinity(0))} workers. Proportional set size of all processes."
    )
    publish("memory", "Peak memory of indexing", recipe, rows, about)


if __name__ == "__main__":
    main()
