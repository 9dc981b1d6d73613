"""Searches from several threads, as a service does them, while another process publishes one generation after another.

The face ids of this catalog tell the batch they are of, and generation n holds the batches from n on: an answer with a
face of any other batch mixes generations.
"""

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import faceindex
from benchmarks.faults.runs import PROJECT
from benchmarks.galleries import Faces, draft_of, write_faces
from faceindex.catalog import generations
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import BatchFiles
from faceindex.catalog.upkeep import collect
from faceindex.config import Settings
from faceindex.gallery.renew import with_gallery
from faceindex.query import OpenCatalog
from faceindex.vector_files import VectorFile

INDEX = "IVF32,SQ8;nprobe=32;rerank=10"
DIMENSION = 128
FACES = 500
"""In a batch."""
LIVE = 20
"""Batches in a generation."""
THREADS = 4
RATE = 10.0
"""Searches a second of each thread."""
LOOK_S = 0.2
"""How often a service looks for a new generation."""
GRACE_S = 20.0
"""How long files stay that nobody needs: longer than a search has a generation open."""


@dataclass(slots=True)
class Soak:
    """What was seen."""

    generations: set[int] = field(default_factory=set)
    """Whose answers were seen."""
    published: int = 0
    idle: list[float] = field(default_factory=list)
    """Seconds of each search while nothing was published."""
    busy: list[float] = field(default_factory=list)
    """Seconds of each search while generations were published."""
    errors: list[str] = field(default_factory=list)
    mixed: int = 0
    """Answers with a face that their generation does not hold."""
    wrong: int = 0
    """Answers in which a face that is there is not found first by its own embedding."""

    def ratio(self) -> float:
        """Return p99 while generations are published over p99 while none are."""
        return float(np.percentile(self.busy, 99) / np.percentile(self.idle, 99))


def batch_faces(number: int) -> Faces:
    """Return the synthetic faces of a batch; each id begins with the batch's number."""
    generator = np.random.default_rng(number)
    vectors = generator.normal(size=(FACES, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = np.sort(np.array([number.to_bytes(4, "big") + generator.bytes(11) + b"\1" for _ in range(FACES)], "S16"))
    nobody = np.zeros(0, np.float32), np.zeros(0, np.int64)
    return Faces(ids.view("V16"), vectors.astype(np.float16), np.zeros(FACES, np.int64), *nobody)


def publish(root: Path, seconds: float, pause_s: float, least: int = 1) -> None:
    """Publish generations until the time is over, and so many at least; print the number of each."""
    catalog = Catalog.open(str(root)) if (root / "catalog.toml").exists() else Catalog.create(str(root), Settings())
    written: dict[int, BatchFiles] = {}
    end = time.monotonic() + seconds
    for count in itertools.count(1):
        with catalog.lock("soak"):
            served = catalog.current()
            number = served.number + 1 if served else 1
            for batch in range(number, number + LIVE):
                if batch not in written:
                    faces = batch_faces(batch)
                    written[batch] = write_faces(catalog.files, faces, slice(None))
                    _write_probe(root, batch, faces.vectors[0])
            window = [written[batch] for batch in range(number, number + LIVE)]
            draft = draft_of(catalog.files, window, DIMENSION, served)
            generations.publish(catalog.files, with_gallery(catalog.files, draft, INDEX))
            collect(catalog.files, keep=1, grace_s=GRACE_S)
        print(number, flush=True)
        if count >= least and time.monotonic() > end:
            return
        time.sleep(pause_s)


def _write_probe(root: Path, batch: int, vector: NDArray[np.float16]) -> None:
    folder = root.parent / "probes"
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{batch}.npy", vector.astype(np.float32)[None])


class Service:
    """Holds the newest generation open, and opens the next one beside it."""

    def __init__(self, root: Path, seen: Soak) -> None:
        self._root, self._seen = root, seen
        self.opened = self._open()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def close(self) -> None:
        """Stop looking for new generations."""
        self._stopped.set()
        self._thread.join()

    def _open(self) -> OpenCatalog:
        opened = faceindex.open(str(self._root))
        _ = opened.gallery.size
        return opened

    def _look(self) -> None:
        while not self._stopped.wait(LOOK_S):
            try:
                served = Catalog.open(str(self._root)).current()
                if served and served.number != self.opened.generation.number:
                    self.opened = self._open()
            except Exception as error:  # noqa: BLE001 - whatever a reader gets is the result of this trial
                self._seen.errors.append(f"opening: {type(error).__name__}: {error}")


def trial(folder: Path, *, seconds: float, idle_s: float, pause_s: float, least: int = 1) -> Soak:
    """Search for a while, and then for another while generations are published.

    Args:
        folder: scratch.
        seconds: how long generations are published.
        idle_s: how long none are, before.
        pause_s: between two of them.
        least: generations to publish, however long that takes.
    """
    root = folder / "catalog"
    publish(root, 0.0, 0.0)
    seen = Soak()
    service = Service(root, seen)
    try:
        end = time.monotonic() + idle_s
        seen.idle = _search(service, root, seen, lambda: time.monotonic() < end)
        words = [sys.executable, "-m", "benchmarks.faults.soak", str(root), str(seconds), str(pause_s)]
        words.append(str(least))
        with subprocess.Popen(words, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as publisher:
            seen.busy = _search(service, root, seen, lambda: publisher.poll() is None)
            assert publisher.stdout
            seen.published = len(publisher.stdout.readlines())
        if publisher.returncode:
            seen.errors.append(f"the publisher ended with {publisher.returncode}")
    finally:
        service.close()
    return seen


def _search(service: Service, root: Path, seen: Soak, going_on: Callable[[], bool]) -> list[float]:
    """Search from all threads; return the seconds of each search."""
    taken: list[float] = []

    def work(thread: int) -> None:
        dice = np.random.default_rng(thread)
        due = time.monotonic()
        while going_on():
            opened = service.opened
            number = opened.generation.number
            batch = number + int(dice.integers(LIVE))
            probe = VectorFile(str(root.parent / "probes" / f"{batch}.npy"), None)
            start = time.perf_counter()
            try:
                [answer] = opened.search_vectors(probe, 10, threshold=0.9)
            except Exception as error:  # noqa: BLE001 - whatever a search ends with is the result of this trial
                seen.errors.append(f"{type(error).__name__}: {error}")
                continue
            taken.append(time.perf_counter() - start)
            _judge(seen, answer, number, batch)
            due = max(due + 1 / RATE, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(THREADS)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return taken


def _judge(seen: Soak, answer: Any, number: int, batch: int) -> None:
    found = [int(candidate.face_id[:8], 16) for candidate in answer.faces[0].candidates]
    seen.mixed += answer.generation != number or not all(number <= one < number + LIVE for one in found)
    seen.wrong += found[:1] != [batch] or answer.faces[0].candidates[0].similarity < 0.99
    seen.generations.add(number)


if __name__ == "__main__":
    publish(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
