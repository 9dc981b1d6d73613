"""Trials of what becomes of corrections; the figures go into `benchmarks/reports/corrections.md`.

    python -m benchmarks.corrections clustered --catalog CAT       an index of lfw, made by `faceindex index`
    python -m benchmarks.corrections kept LFW --weights face-reid.onnx edgeface.onnx --detector yunet.onnx
    python -m benchmarks.corrections sequences
    python -m benchmarks.corrections kills

CAT is copied. Everything is done in a scratch folder, which is removed.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.corrections import nights
from benchmarks.faults import results, runs

LOST = "decisions lost or contradicted (0)"


def clustered(arguments: argparse.Namespace, scratch: Path) -> tuple[str, dict[str, Any]]:
    """Cluster a large catalog again after random corrections."""
    root = scratch / "catalog"
    shutil.copytree(arguments.catalog, root)
    said, seen = nights.talked(root, arguments.count, arguments.seed)
    figures = {**_talk(seen), **_figures({"clustered again": nights.clustered_again(root, said, seen)})}
    what = (
        f"A catalog of {arguments.catalog.name}: {arguments.count} random things said by `faceindex people` of faces "
        f"in 30 clusters and 30 faces by themselves, clustering before, after half of them and at the end. Held "
        f"against a plain model of what was said: exported faces, lists, clusters, searches, questions. "
        f"Seed {arguments.seed}."
    )
    return what, figures


def kept(arguments: argparse.Namespace, scratch: Path) -> tuple[str, dict[str, Any]]:
    """Re-embed with other models, compact, and move all photos after random corrections."""
    photos = runs.sample(arguments.photos, scratch / "photos", arguments.sample, arguments.seed)
    root = scratch / "catalog"
    runs.new_catalog(root, 32)
    nights.done("index", photos, "-c", root, "--workers", 0)
    said, seen = nights.talked(root, arguments.count, arguments.seed)
    steps = {"clustered again": nights.clustered_again(root, said, seen)}
    for file in arguments.weights:
        model = ["--model", f"onnx:{file}"]
        steps[f"embedded by {file.stem}"] = nights.reembedded(photos, root, scratch / file.stem, said, model)
    steps["compacted and rebuilt"] = nights.compacted(root, said)
    steps["all photos moved"] = nights.moved(photos, root, said)
    what = (
        f"{arguments.sample} random photos of {arguments.photos.name}: {arguments.count} random things said; then "
        f"clustered, indexed by other models into new catalogs that take in an export of what was said, compacted and "
        f"rebuilt, and all photos moved into other folders under other names and indexed there; everything held "
        f"against a plain model of what was said each time. Seed {arguments.seed}."
    )
    return what, {**_talk(seen), **_figures(steps)}


def _talk(seen: nights.Seen) -> dict[str, Any]:
    return {"acknowledged": seen.said, "kinds": seen.kinds, "refused, as they made no sense": seen.refused}


def _figures(steps: Mapping[str, nights.Seen]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name, seen in steps.items():
        what = name if seen.clustered else f"{name} (no constants for clustering)"
        figures[f"{what}: checked"] = seen.checked
        if name == "all photos moved":
            figures[f"{what}: photos embedded again (0)"] = seen.embedded
        figures[f"{what}: {LOST}"] = len(seen.wrong)
        for problem in seen.wrong:
            print(f"{name}: {problem}", file=sys.stderr)
    return figures


TRIALS = {"clustered": clustered, "kept": kept}


def main() -> None:
    """Run one trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trial", choices=list(TRIALS))
    parser.add_argument("photos", type=Path, nargs="?", help="kept: archive of photos")
    parser.add_argument("--catalog", type=Path, help="clustered: catalog, which is copied")
    parser.add_argument("--weights", type=Path, nargs="*", default=[], help="kept: ONNX files of other embedders")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--sample", type=int, default=600, help="kept: photos taken of the archive")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scratch", type=Path, help="folder for what is made meanwhile")
    arguments = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
        what, figures = TRIALS[arguments.trial](arguments, Path(folder))
    figures["seconds"] = time.perf_counter() - started
    results.keep(arguments.trial, what, results.command_of("corrections"), figures, report="corrections")


if __name__ == "__main__":
    main()
