"""Faces come and go while others search: does an answer ever hold a face that was dropped, and does memory grow?

    python synthetic_faces.py faces.npz --people 200000 --faces 10 --probes 4000
    python benchmarks/churn.py faces.npz --live 1000000 --change 20000 --rounds 50

Each round publishes a generation without the oldest faces and with as many new ones, and collects what no generation
needs. Meanwhile another process opens the served generation again and again, searches it for faces that are live and
for faces that were dropped, and holds every answer against the list of faces that its generation was published with.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from galleries import MODEL, Faces, draft_of, resident_bytes, temporary, write_faces
from numpy.typing import NDArray
from report import machine, publish

from faceindex.catalog import generations
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.upkeep import collect
from faceindex.config import Settings
from faceindex.gallery.opening import open_gallery
from faceindex.gallery.renew import with_gallery

K = 10
PROBES = 64
KEPT_S = 60.0
"""How long files stay after they were superseded: longer than a search has a generation open."""


class Churn:
    """Which faces are live in which generation: a window over the faces of a file that moves on by a change a round."""

    def __init__(self, path: Path, live: int, change: int) -> None:
        self.faces = Faces.load(path)
        self.live, self.change = live, change
        # Batches are taken in the order of a permutation, so that what goes looks like what stays.
        order = np.random.default_rng(7).permutation(len(self.faces.ids) // change)
        self.batches: list[slice] = [slice(at * change, (at + 1) * change) for at in order]

    def window(self, number: int) -> list[slice]:
        """Return the batches that generation `number`, from 1 on, holds."""
        return self.batches[number - 1 : number - 1 + self.live // self.change]

    def ids(self, number: int) -> NDArray[np.bytes_]:
        """Return the ids of its faces, S16, ascending."""
        return np.sort(np.concatenate([self.faces.ids[part].view("S16") for part in self.window(number)]))


def publishing(churn: Churn, root: Path, rounds: int) -> Iterator[dict[str, float]]:
    """Publish one generation after another; yield what each publish took."""
    catalog = Catalog.create(str(root), Settings())
    files, dimension = catalog.files, churn.faces.vectors.shape[1]
    written = {part.start: write_faces(files, churn.faces, part) for part in churn.window(1)}
    for number in range(1, rounds + 2):
        for part in churn.window(number):
            if part.start not in written:
                written[part.start] = write_faces(files, churn.faces, part)
        start = time.perf_counter()
        draft = draft_of(files, [written[part.start] for part in churn.window(number)], dimension, catalog.current())
        finished = with_gallery(files, draft, "auto")
        generations.publish(files, finished)
        collect(files, keep=1, grace_s=KEPT_S)
        assert finished.face_count == churn.live
        yield {
            "seconds": time.perf_counter() - start,
            "shards": len(finished.shards),
            "resident MB": resident_bytes() / 1e6,
            "recall@10": finished.quality.recall_at_10 if finished.quality else 1.0,
        }


def searching(churn: Churn, root: Path) -> dict[str, Any]:
    """Search until standard input ends; return what was seen."""
    catalog = Catalog.open(str(root))
    generator = np.random.default_rng(1)
    searches = wrong = 0
    numbers: set[int] = set()
    memory: list[float] = []
    waiting = _InputEnds()
    while not waiting.ended():
        served = catalog.current()
        assert served is not None
        live = churn.ids(served.number)
        gallery = open_gallery(catalog.files, served)
        for _ in range(5):
            # Half of the probes are live; the others are any faces of the file, most of them dropped or not there yet.
            chosen = generator.integers(0, len(churn.faces.ids), PROBES)
            parts = churn.window(served.number)
            inside = [
                generator.integers(parts[at].start, parts[at].stop) for at in generator.integers(0, len(parts), 32)
            ]
            chosen[:32] = inside
            found = gallery.search(churn.faces.vectors[chosen].astype(np.float32), MODEL, K)
            ids = found.face_ids.view("S16").ravel()
            wrong += int((~np.isin(ids, live)).sum())
            wrong += int((found.face_ids[:32, 0].view("S16") != churn.faces.ids[chosen[:32]].view("S16")).sum())
            searches += PROBES
        numbers.add(served.number)
        memory.append(resident_bytes() / 1e6)
    return {"searches": searches, "wrong": wrong, "generations": len(numbers), "memory MB": memory}


class _InputEnds:
    """Tells when standard input has ended, without waiting for it."""

    def __init__(self) -> None:
        self._thread = threading.Thread(target=sys.stdin.read, daemon=True)
        self._thread.start()

    def ended(self) -> bool:
        return not self._thread.is_alive()


def main() -> None:
    """Print and write a table of one row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path, help="made by synthetic_faces.py; as many faces as are ever live")
    parser.add_argument("--live", type=int, default=1_000_000)
    parser.add_argument("--change", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--json", action="store_true", help="print the row and write no report")
    parser.add_argument("--search", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    churn = Churn(arguments.faces, arguments.live, arguments.change)
    if arguments.search:
        print(json.dumps(searching(churn, arguments.search)))
        return
    about = machine()
    with temporary() as folder:
        root = Path(folder) / "catalog"
        publishes = publishing(churn, root, arguments.rounds)
        first = next(publishes)
        command = [sys.executable, __file__, str(arguments.faces), "--search", str(root)]
        command += ["--live", str(arguments.live), "--change", str(arguments.change)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as searcher:
            rounds = list(publishes)
            time.sleep(1)
            printed, _ = searcher.communicate()
    seen = json.loads(printed)
    fifth = max(1, len(seen["memory MB"]) // 5)
    row = {
        "live faces": arguments.live,
        "rounds": len(rounds),
        "dropped and added": arguments.change,
        "first publish s": first["seconds"],
        "publish s": median(one["seconds"] for one in rounds),
        "slowest s": max(one["seconds"] for one in rounds),
        "most shards": max(one["shards"] for one in rounds),
        "least recall@10": min(one["recall@10"] for one in rounds),
        "searches": seen["searches"],
        "in generations": seen["generations"],
        "wrong answers": seen["wrong"],
        "exit code": searcher.returncode,
        "publisher MB, second round and last": f"{rounds[min(1, len(rounds) - 1)]['resident MB']:.0f}, "
        f"{rounds[-1]['resident MB']:.0f}",
        "searcher MB, first fifth and last": f"{median(seen['memory MB'][:fifth]):.0f}, "
        f"{median(seen['memory MB'][-fifth:]):.0f}",
    }
    if arguments.json:
        print(json.dumps(row))
        return
    recipe = (
        f"{arguments.faces.name}; each round publishes a generation without {arguments.change:,} of its faces and with "
        f"as many others, while another process opens the served generation and searches it, over and over. Wrong: a "
        f"face that the generation does not hold, or a live probe that does not find itself first. Private memory."
    )
    publish("churn", "Faces that come and go while others search", recipe, [row], about)


if __name__ == "__main__":
    main()
