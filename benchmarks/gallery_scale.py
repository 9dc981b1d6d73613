"""How a gallery grows: publishes of ever more faces, as a run does them from Parquet, and searches in what they made.

    for people in 10000 100000 400000; do
        python synthetic_faces.py faces-$people.npz --people $people --faces 10 --probes 4000
    done
    python benchmarks/gallery_scale.py faces-*.npz

Each size is a process of its own. Larger sizes are extrapolated from the two largest measured, as a power of the number
of faces: exact for bytes, which grow with it, and a guess for times.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from galleries import MODEL, Faces, PeakMemory, draft_of, held_bytes, seconds_of, temporary, write_faces
from report import FOLDER, machine, publish

from faceindex.arrays import l2_normalize
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import Generation
from faceindex.config import Settings
from faceindex.gallery.exact import search_exact
from faceindex.gallery.opening import open_gallery
from faceindex.gallery.renew import with_gallery

K = 10
ADDED = 10_000
BATCH_FACES = 50_000
TRUTH_PROBES = 1000
EXTRAPOLATED = (100_000_000, 1_000_000_000)
PLOTTED = ("build s", "q/s", "resident MB", "disk MB")


def measured(path: Path, threads: int) -> dict[str, Any]:
    """Return a row of the table: one size, published, searched, added to."""
    faces = Faces.load(path)
    dimension, probes = faces.vectors.shape[1], l2_normalize(faces.probes)
    with temporary() as folder:
        files = Catalog.create(folder, Settings()).files
        # Face ids are random: the first faces are a sample of all.
        parts = [slice(start, start + BATCH_FACES) for start in range(ADDED, len(faces.ids), BATCH_FACES)]
        batches = [write_faces(files, faces, part) for part in parts]
        added = write_faces(files, faces, slice(0, ADDED))
        del faces
        with PeakMemory() as peak:
            start = time.perf_counter()
            served = with_gallery(files, draft_of(files, batches, dimension, None), "auto")
            build = time.perf_counter() - start
        start = time.perf_counter()
        grown = with_gallery(files, draft_of(files, [*batches, added], dimension, served), "auto")
        adding = time.perf_counter() - start

        before = held_bytes()
        start = time.perf_counter()
        gallery = open_gallery(files, grown)
        gallery.search(probes[:1], MODEL, K)
        opening = time.perf_counter() - start
        seconds = [seconds_of(lambda: gallery.search(probes, MODEL, K, threads)) for _ in range(3)]
        resident = held_bytes() - before
        single = [1000 * seconds_of(lambda n=n: gallery.search(probes[n : n + 1], MODEL, K)) for n in range(500)]
        chosen = probes[:: len(probes) // TRUTH_PROBES]
        truth = search_exact(gallery.blocks(), chosen, MODEL, K).face_ids.view("S16")
        found = gallery.search(chosen, MODEL, K, threads).face_ids.view("S16")
    return {
        "faces": gallery.size,
        "factory": grown.recipe.factory,
        "nprobe": grown.recipe.nprobe,
        "rerank": grown.recipe.rerank,
        "shards": len(grown.shards),
        "build s": round(build, 1),
        "peak MB": round(peak.bytes / 1e6),
        f"adding {ADDED:,} s": round(adding, 2),
        "q/s": round(len(probes) / statistics.median(seconds)),
        "p99 ms": float(np.percentile(single, 99)),
        "recall@10": float((truth[:, :, np.newaxis] == found[:, np.newaxis, :]).any(axis=2).mean()),
        "first as exact": float((truth[:, 0] == found[:, 0]).mean()),
        "open s": round(opening, 2),
        "resident MB": round(resident / 1e6),
        "disk MB": round(_disk_bytes(grown) / 1e6),
    }


def _disk_bytes(generation: Generation) -> int:
    return sum(entry.size_bytes for shard in generation.shards for entry in shard.files)


def extrapolated(rows: list[dict[str, Any]], faces: int) -> str:
    """Return, in words, what this many faces take if things go on as between the two largest sizes."""
    small, large = rows[-2:]
    said = []
    for name in ("build s", "peak MB", "q/s", "resident MB", "disk MB"):
        power = math.log(large[name] / small[name]) / math.log(large["faces"] / small["faces"])
        said.append(f"{name} {large[name] * (faces / large['faces']) ** power:,.0f} (power {power:.2f})")
    return f"{faces:,} faces: {', '.join(said)}"


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw each figure against the number of faces."""
    mpl.use("svg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "gallery"
    figure, axes = plt.subplots(1, len(PLOTTED) + 1, figsize=(3 * (len(PLOTTED) + 1), 2.8), layout="constrained")
    sizes = [row["faces"] for row in rows]
    for axis, name in zip(axes, PLOTTED, strict=False):
        axis.loglog(sizes, [row[name] for row in rows], "o-")
        axis.set_title(name)
    for name in ("recall@10", "first as exact"):
        axes[-1].semilogx(sizes, [row[name] for row in rows], "o-", label=name)
    axes[-1].set_ylim(0.9, 1.0)
    axes[-1].legend()
    for axis in axes:
        axis.set_xlabel("faces")
        axis.grid(visible=True, which="major", alpha=0.3)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Print and write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", action="store_true", help="Print the row of one file as JSON.")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measured(arguments.faces[0], arguments.threads)))
        return
    about = machine()
    again = [sys.executable, __file__, "--one", "--threads", str(arguments.threads)]
    rows = []
    for path in arguments.faces:
        made = subprocess.run([*again, str(path)], check=True, stdout=subprocess.PIPE, text=True)
        rows.append(json.loads(made.stdout.splitlines()[-1]))
        print(rows[-1], file=sys.stderr)
    rows.sort(key=lambda row: row["faces"])
    plot(rows, FOLDER / "gallery_scale.svg")
    recipe = (
        f"Synthetic faces of 128 numbers, published by the product from Parquet (reading, training, filling, writing, "
        f"tuning and the gate), searched by {arguments.threads} threads; {TRUTH_PROBES} probes held against exact "
        f"search, half of them strangers. peak: private memory of the publish beyond what the process held before; "
        f"resident: of the opened gallery while searching; disk: its shards.\n\n![curves](gallery_scale.svg)"
    )
    if len(rows) > 1:
        recipe += "\n\nExtrapolated: " + "; ".join(extrapolated(rows, faces) for faces in EXTRAPOLATED) + "."
    publish("gallery_scale", "The gallery at ever larger sizes", recipe, rows, about)


if __name__ == "__main__":
    main()
