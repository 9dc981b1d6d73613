"""Trials of what faults do to a catalog, in their long form; the figures go into `benchmarks/reports/faults.md`.

    python -m benchmarks.faults kills LFW --count 100 --workers 2
    python -m benchmarks.faults mutations --count 100000

LFW is any archive of photos. Everything is done in a scratch folder, which is removed.
"""

import argparse
import errno
import functools
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.faults import damages, disks, kills, mutations, results, runs, soak, workers, writers
from tests.support.disk import memory_folder, small_disk
from tests.support.pictures import ENCODINGS, seed


def killed(arguments: argparse.Namespace, scratch: Path) -> tuple[str, dict[str, Any]]:
    """Kill the driver and workers of runs at random moments."""
    photos = runs.sample(arguments.photos, scratch / "photos", arguments.sample, arguments.seed)
    seen = kills.trial(
        photos,
        scratch,
        kills=arguments.count,
        workers=arguments.workers,
        batch_photos=arguments.batch,
        seed=arguments.seed,
    )
    figures = {
        "SIGKILLs of the driver": seen.driver,
        "SIGKILLs of workers": seen.workers,
        "runs": seen.runs,
        "catalogs brought to their end": seen.catalogs,
        "photos lost (0)": seen.lost,
        "photos done twice (0)": seen.doubled,
        "catalogs that do not open, after any kill (0)": len(seen.unopenable),
        "catalogs that differ from an undisturbed one in any byte of data (0)": len(seen.different),
        "runs that failed though their driver was not killed (0)": len(seen.failed),
        "workers that outlived their driver (0)": seen.orphans,
    }
    what = (
        f"{arguments.sample} random photos of {arguments.photos.name}, batches of {arguments.batch}, --workers "
        f"{arguments.workers}; killed at random moments from the start of Python to the end, and the same command run "
        f"again until it is done. Seed {arguments.seed}."
    )
    if seen.wrong():
        print(seen.wrong(), file=sys.stderr)
    return what, figures


def mutated(arguments: argparse.Namespace, scratch: Path) -> tuple[str, dict[str, Any]]:
    """Index mutated images."""
    seeds = [(f".{encoding.split()[-1].lower()}", seed(encoding)) for encoding in ENCODINGS]
    whole = []
    if arguments.photos:
        sample = runs.sample(arguments.photos, scratch / "seeds", 20, arguments.seed)
        whole = [(path.suffix, path.read_bytes()) for path in sorted(sample.iterdir())]
    seen = mutations.trial(
        seeds + whole, scratch, count=arguments.count, workers=arguments.workers, seed=arguments.seed
    )
    figures = {
        "images": seen.images,
        "in states": seen.states.total(),
        "states": dict(seen.states.most_common()),
        "runs, each of which came to its end": seen.runs,
        "deaths of the driver (0)": 0,
        "images/s": seen.images / seen.seconds,
    }
    what = (
        f"{len(seeds)} small images in every format that is read and {len(whole)} photos, with one to four damages "
        f"each: bytes set, inserted or taken out, or the end cut off; `faceindex index --workers {arguments.workers}` "
        f"of them. Seed {arguments.seed}."
    )
    return what, figures


def damaged(arguments: argparse.Namespace, scratch: Path) -> tuple[str, dict[str, Any]]:
    """Damage the files of a catalog."""
    root, probes = _whole_catalog(arguments, scratch)
    seen = damages.trial(root, probes, count=arguments.count, seed=arguments.seed)
    figures = {
        "damages": seen.count,
        "named by `faceindex check`": seen.count - seen.idle - len(seen.unnoticed),
        "in bits of an SQLite file that store nothing: every row is as it was": seen.idle,
        "not noticed (0)": len(seen.unnoticed),
        "refused when the catalog was opened or searched, by the file's name": seen.refused,
        "files that no answer depends on: answers as before": seen.right,
        "wrong answers (0)": len(seen.wrong),
        "other errors (0)": len(seen.failed),
    }
    what = (
        f"One bit flipped, a page of 4 KiB zeroed, the end cut off, or two files of a kind swapped, in any kind of "
        f"file of a catalog of {arguments.sample} photos of {arguments.photos.name} with shards, tombstones, clusters, "
        f"calibration and names; then `faceindex check`, all faces, and searches. Seed {arguments.seed}."
    )
    for problem in (*seen.unnoticed, *seen.wrong, *seen.failed):
        print(problem, file=sys.stderr)
    return what, figures


def _whole_catalog(arguments: argparse.Namespace, scratch: Path) -> tuple[Path, Path]:
    """Return a catalog with every kind of file, and probes: two runs, a photo that went, clusters and names."""
    import numpy as np

    import faceindex
    from faceindex.tables import from_float16_column

    photos = runs.sample(arguments.photos, scratch / "photos", arguments.sample, arguments.seed)
    root = runs.new_catalog(scratch / "catalog", 32, index="IVF4,SQ8;nprobe=4;rerank=10")
    chosen = sorted(photos.iterdir())
    later = scratch / "later"
    later.mkdir()
    for path in chosen[len(chosen) * 3 // 4 :]:
        path.rename(later / path.name)
    runs.finished(runs.command(photos, root, 0))
    for path in list(later.iterdir()):
        path.rename(photos / path.name)
    chosen[0].unlink()
    runs.finished(runs.command(photos, root, 0))
    for path, name in ((chosen[3], "Anna"), (chosen[5], "Bea"), (chosen[-3], "Cy")):
        runs.ran("people", "name", str(path), name, "-c", str(root))
    runs.ran("cluster", "-c", str(root))
    vectors = from_float16_column(faceindex.open(str(root)).faces()["embedding"])
    np.save(scratch / "probes.npy", vectors[::10].astype(np.float32))
    return root, scratch / "probes.npy"


def failing(arguments: argparse.Namespace, scratch: Path) -> tuple[str, dict[str, Any]]:
    """Let each call fail, cut the power at each moment, and fill the disk."""
    from tests.support.archives import make_archive

    figures: dict[str, Any] = {}
    with memory_folder(scratch) as memory:
        photos = make_archive(memory / "photos")
        work = functools.partial(disks.index, photos)
        for name, batches in (("publishing", True), ("batches and publishing", False)):
            base = disks.unpublished(photos, memory / name, 6, batches=batches)
            step = 1 if batches else arguments.step
            tried = [disks.failing_calls(base, memory, work, code, step) for code in disks.CODES]
            read = [
                disks.failing_calls(base, memory, work, code, step, reading=True) for code in (errno.EIO, errno.EACCES)
            ]
            cut = disks.power_cuts(base, memory, work)
            disk = memory / f"disk {name}"
            with small_disk(disk, "8m"):
                full = disks.full_disks(base, disk, work, 4096 if batches else 16384)
                label = disks.label_on_full_disk(base, disk)
            figures |= {
                f"{name}: changing calls that failed (ENOSPC, EIO, EACCES)": ", ".join(str(one.calls) for one in tried),
                f"{name}: opens and listings that failed (EIO, EACCES)": ", ".join(str(one.calls) for one in read),
                f"{name}: moments of a power cut": cut.calls,
                f"{name}: catalogs looked at after one": cut.outcomes,
                f"{name}: full disks of 8 MB, with ever more room": full.calls,
                f"{name}: wrong success, unclear message, other state, or not mended by the same command (0)": sum(
                    len(found) for one in (*tried, *read, cut, full, label) for found in one.wrong().values()
                ),
            }
            for one in (*tried, *read, cut, full, label):
                if one.wrong():
                    print(name, one.wrong(), file=sys.stderr)
    what = (
        f"A run of 15 photos into a catalog that serves 6 of them. Each system call that changes something fails once, "
        f"each file opened and folder listed too (with the networks at work every {arguments.step}th). Power cuts "
        f"after each call: names not flushed kept or lost, bytes not flushed kept, halved, lost or zeroed. A tmpfs of "
        f"8 MB with 4 KiB (with the networks at work 16) more room at each try, and a name that is said on it when it "
        f"is full."
    )
    return what, figures


def soaked(arguments: argparse.Namespace, scratch: Path) -> tuple[str, dict[str, Any]]:
    """Search while generations are published."""
    import numpy as np

    seen = soak.trial(scratch, seconds=arguments.seconds, idle_s=arguments.seconds / 5, pause_s=arguments.pause)
    figures = {
        "generations published": seen.published,
        "generations whose answers were seen": len(seen.generations),
        "searches": len(seen.busy),
        "errors (0)": len(seen.errors),
        "answers mixing generations (0)": seen.mixed,
        "answers that miss a face that is there (0)": seen.wrong,
        "idle p50 and p99 ms": ", ".join(f"{1000 * value:.2f}" for value in np.percentile(seen.idle, [50, 99])),
        "publishing p50 and p99 ms": ", ".join(f"{1000 * value:.2f}" for value in np.percentile(seen.busy, [50, 99])),
        "p99 publishing / idle (<= 3)": seen.ratio(),
    }
    what = (
        f"{soak.LIVE * soak.FACES:,} synthetic faces, {soak.INDEX}. {soak.THREADS} threads of a process search "
        f"{soak.RATE:g} times a second each, through `faceindex.open`, and a fifth opens new generations; first for "
        f"{arguments.seconds / 5:g} s idle, then for {arguments.seconds:g} s while another process drops a batch of "
        f"{soak.FACES}, adds one, publishes and collects, and waits {arguments.pause:g} s."
    )
    for problem in seen.errors[:10]:
        print(problem, file=sys.stderr)
    return what, figures


def raced(arguments: argparse.Namespace, scratch: Path) -> tuple[str, dict[str, Any]]:
    """Let processes write one catalog at the same time."""
    from tests.support.archives import make_archive

    photos = make_archive(scratch / "photos")
    seen = writers.trial(photos, scratch, rounds=arguments.count, processes=4)
    published = writers.publishers(scratch, processes=4, generations=100)
    figures = {
        "`faceindex index` at the same time, of the same photos, into one new catalog": seen.processes,
        "did the work": seen.won,
        "ended with 75 and said who writes": seen.refused,
        "came when it was done": seen.late,
        "other ends, rows lost or doubled, other data than of one process (0)": sum(map(_size, seen.wrong().values())),
        "4 processes publishing 100 generations each: numbers or batches that are missing or doubled (0)": len(
            published
        ),
    }
    if seen.wrong() or published:
        print(seen.wrong(), published, file=sys.stderr)
    return f"{arguments.count} rounds of 4 processes, 15 photos.", figures


def _size(wrong: object) -> int:
    return len(wrong) if isinstance(wrong, list) else int(str(wrong))


def deadly(arguments: argparse.Namespace, scratch: Path) -> tuple[str, dict[str, Any]]:
    """Photos that take workers down, workers killed all the time, and a driver told to stop."""
    from tests.support.archives import make_archive

    photos = workers.marked(make_archive(scratch / "photos", arguments.sample), workers.POISON, workers.HOG)
    seen = workers.trial(
        photos, scratch, batch_photos=2, kill_s=arguments.pause, stops=arguments.count, seed=arguments.seed
    )
    figures = {
        "runs of the command": seen.runs,
        "workers killed from outside": seen.killed,
        "SIGTERM to the driver: exit code 143, and how to go on": seen.stopped,
        "runs that said in one line that workers keep ending": seen.gave_up,
        "photos that crash or bloat their worker": ", ".join(
            f"{name} {state}" for name, state in seen.states.items() if state == "crashed_decoder"
        ),
        "other ends (0)": len(seen.others),
        "differences from a run that nobody disturbed, in any byte of data (0)": len(seen.different),
    }
    what = (
        f"{arguments.sample + 3} photos in batches of 2, --workers 2, of which one crashes its worker by SIGSEGV and "
        f"one takes memory until Dask ends its worker. Undisturbed; and with a worker killed every "
        f"{arguments.pause:g} s and the driver told to stop {arguments.count} times, the same command run again until "
        f"it is done. Seed {arguments.seed}."
    )
    for problem in (*seen.others, *seen.different):
        print(problem, file=sys.stderr)
    return what, figures


TRIALS = {
    "kills": killed,
    "mutations": mutated,
    "damages": damaged,
    "disks": failing,
    "soak": soaked,
    "writers": raced,
    "workers": deadly,
}


def main() -> None:
    """Run one trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trial", choices=sorted(TRIALS))
    parser.add_argument("photos", type=Path, nargs="?", help="archive of photos")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--sample", type=int, default=200, help="photos taken of the archive")
    parser.add_argument("--batch", type=int, default=4, help="photos in a batch")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--step", type=int, default=5, help="disks: every n-th call, with the networks at work")
    parser.add_argument("--seconds", type=float, default=600.0, help="soak: how long generations are published")
    parser.add_argument("--pause", type=float, default=2.0, help="soak, workers: seconds between two disturbances")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scratch", type=Path, help="folder for what is made meanwhile")
    arguments = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
        what, figures = TRIALS[arguments.trial](arguments, Path(folder))
    name = arguments.trial + (f" --workers {arguments.workers}" if arguments.trial == "kills" else "")
    figures["seconds"] = time.perf_counter() - started
    results.keep(name, what, results.command_of("faults"), figures)


if __name__ == "__main__":
    main()
