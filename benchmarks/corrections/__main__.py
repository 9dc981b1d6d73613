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

from benchmarks.corrections import nights, sequences, writes
from benchmarks.corrections.talk import exported
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


def sequenced(arguments: argparse.Namespace, scratch: Path) -> tuple[str, dict[str, Any]]:
    """Try many random sequences, of a ledger alone and of a small catalog."""
    sequences.conversations(arguments.count, steps=30)
    base = sequences.small_catalog(scratch / "base")
    found = list(sequences.corrected(base, scratch, arguments.count, acts=16))
    for seen in found:
        print(*seen.wrong, sep="\n", end="", file=sys.stderr)
    figures = {
        "sequences of events of two processes, up to 30 each: undo(do(x)) is not x, or export and import differ (0)": 0,
        "such sequences": arguments.count,
        "sequences of 16 things said of a catalog, clustered, exported and imported": len(found),
        "things said": sum(seen.said for seen in found),
        LOST: sum(len(seen.wrong) for seen in found),
    }
    what = (
        "Sequences of all kinds of events in random order (`tests/property/test_ledger.py`, seeded), ended with export "
        "and import into an empty ledger; and random things said of 150 synthetic faces of 30 people, clustered "
        "before, between and after, exported, and imported into a catalog where nothing had been said."
    )
    return what, figures


def killed(arguments: argparse.Namespace, scratch: Path) -> tuple[str, dict[str, Any]]:
    """Kill processes that write what somebody says."""
    ledger = writes.ledger_killed(scratch / "ledger", arguments.count, arguments.seed)
    root = sequences.small_catalog(scratch / "catalog")
    faces = [row["face_id"] for row in exported(root)]
    commands = writes.command_killed(root, faces, min(arguments.count, len(faces) - 1), arguments.seed)
    figures: dict[str, Any] = {}
    for name, seen in {"a process that writes event after event": ledger, "`faceindex people name`": commands}.items():
        figures |= {
            f"{name}: SIGKILLs": seen.kills,
            f"{name}: events acknowledged": seen.acknowledged,
            f"{name}: events that were there before anybody was told": seen.unacknowledged,
            f"{name}: acknowledged events lost (0)": seen.lost,
            f"{name}: events twice (0)": seen.doubled,
            f"{name}: damaged or unopenable ledgers (0)": len(seen.damaged),
        }
        if seen.wrong():
            print(name, seen.wrong(), file=sys.stderr)
    return f"Killed at random moments of writing; one ledger for all of them. Seed {arguments.seed}.", figures


TRIALS = {"clustered": clustered, "kept": kept, "sequences": sequenced, "kills": killed}


def main() -> None:
    """Run one trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trial", choices=list(TRIALS))
    parser.add_argument("photos", type=Path, nargs="?", help="kept: archive of photos")
    parser.add_argument("--catalog", type=Path, help="clustered: catalog, which is copied")
    parser.add_argument("--weights", type=Path, nargs="*", default=[], help="kept: ONNX files of other embedders")
    parser.add_argument("--count", type=int, help="things said, sequences (500), or kills; 200 by default")
    parser.add_argument("--sample", type=int, default=600, help="kept: photos taken of the archive")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scratch", type=Path, help="folder for what is made meanwhile")
    arguments = parser.parse_args()
    arguments.count = arguments.count or (500 if arguments.trial == "sequences" else 200)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
        what, figures = TRIALS[arguments.trial](arguments, Path(folder))
    figures["seconds"] = time.perf_counter() - started
    results.keep(arguments.trial, what, results.command_of("corrections"), figures, report="corrections")


if __name__ == "__main__":
    main()
