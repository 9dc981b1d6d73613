"""One process's share of a run: batches in, data files and receipts out.

Runs the same way in the calling process and in a spawned Dask worker, so data files do not depend on where they
were made.
"""

import faulthandler
import math
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from faceindex.catalog.catalog import Catalog
from faceindex.catalog.erased import Erased
from faceindex.catalog.layout import crops_path, faces_path, photos_path
from faceindex.catalog.parquet import write_table
from faceindex.errors import ItemError
from faceindex.faces.cache import cache_folder
from faceindex.faces.networks import resolve_device
from faceindex.faces.recogniser import Recogniser
from faceindex.images.decode import decode
from faceindex.machine import core_count
from faceindex.pipeline.batches import Batch
from faceindex.pipeline.decoders import Decoded, Decoders
from faceindex.pipeline.known import KnownPhotos
from faceindex.pipeline.memory import DEFAULT_BYTES, Memory
from faceindex.pipeline.stages import process_photos
from faceindex.tables import faces_tables, photos_table, without_erased
from faceindex.types import DONE_STATES, FileEntry, PhotoRef, PhotoResult

WATCHDOG_FACTOR = 3.0
WATCHDOG_BATCH_S = 600.0
"""A worker that needs longer than 3 photo time limits + 600 s from one photo to the next is stuck and ends itself.
The 600 s are for detecting and embedding a whole chunk on a slow machine."""

REARM_S = 1.0
"""How often the timer is set anew at most."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a process must know to work on a run; small, and sent to every worker once."""

    catalog: str
    """Folder or URL."""
    device: str = "auto"
    weights: str | None = None
    memory_bytes: int = DEFAULT_BYTES
    """What all processes of a machine may hold of decoded photos."""
    processes: int = 1
    """How many there are on a machine."""
    gpus: tuple[str, ...] = ()
    """Those of this machine, of which each process takes one; as CUDA_VISIBLE_DEVICES names them."""
    guard: bool = False
    """End the process when one photo stalls it; only for processes that somebody starts again."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What comes back from a batch: about a kilobyte, never pixels or embeddings."""

    batch_id: str
    files: tuple[FileEntry, FileEntry, FileEntry]
    """photos, faces, crops."""
    states: Mapping[str, int]
    face_count: int
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def quarantined_count(self) -> int:
        return sum(count for state, count in self.states.items() if state not in DONE_STATES)


class BatchWorker:
    """Holds the networks of one process and does batches with them, one at a time."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.catalog = Catalog.open(job.catalog)
        self.settings = self.catalog.settings
        self.recogniser = Recogniser.load(self.settings, job.device, job.weights)
        self.known = KnownPhotos(self.catalog)
        self._armed = -math.inf
        self.erased = Erased.read(self.catalog.files)
        self.memory = Memory(job.memory_bytes, job.processes, _turns() if job.processes > 1 else None)

    def run(self, batch: Batch, excluded: Mapping[int, ItemError], decoded: Iterator[Decoded] | None = None) -> Receipt:
        """Process a batch and write its files; `photos` comes last, because it marks the batch as done.

        Args:
            batch: the photos.
            excluded: by position, photos that must not be touched, and why.
            decoded: the photos as other processes decode them; by default this one does.
        """
        clock = self.recogniser.clock
        clock.seconds.clear()
        results = without_erased(self._process(batch.photos, excluded, decoded), self.erased)
        embedder = self.recogniser.embedder
        with clock.stage("write"):
            faces, crops = faces_tables(results, embedder.dimension, embedder.model)
            files = self.catalog.files
            crops_entry = write_table(files, crops_path(batch.batch_id), crops)
            faces_entry = write_table(files, faces_path(batch.batch_id), faces)
            photos_entry = write_table(files, photos_path(batch.batch_id), photos_table(results))
        states = Counter(str(result.state) for result in results)
        return Receipt(
            batch.batch_id,
            (photos_entry, faces_entry, crops_entry),
            states,
            len(faces),
            dict(clock.seconds),
        )

    def probe(self, photos: Sequence[PhotoRef]) -> None:
        """Process photos and write nothing: shows whether they kill the process."""
        self._process(photos, {})

    def _process(
        self, photos: Sequence[PhotoRef], excluded: Mapping[int, ItemError], decoded: Iterator[Decoded] | None = None
    ) -> list[PhotoResult]:
        try:
            return process_photos(
                photos,
                self.recogniser,
                self.settings,
                known=self.known.result_of,
                excluded=excluded,
                memory=self.memory,
                on_photo=self._arm_watchdog,
                decoded=decoded,
            )
        finally:
            faulthandler.cancel_dump_traceback_later()
            self._armed = -math.inf

    def _arm_watchdog(self) -> None:
        # A decoder that hangs while it holds the interpreter's lock cannot be timed out by a thread of Python;
        # this timer lives in C and ends the process, whose batch is then bisected. Each time it is a new thread.
        if self.job.guard and time.monotonic() > self._armed + REARM_S:
            self._armed = time.monotonic()
            faulthandler.dump_traceback_later(
                WATCHDOG_FACTOR * self.settings.photo_timeout_s + WATCHDOG_BATCH_S, exit=True, file=_nowhere()
            )


def run_here(batches: Iterable[Batch], job: Job) -> Iterator[Receipt]:
    """Yield the receipts of batches that this process does, one after another.

    On a GPU other processes decode, one batch ahead: a GPU finds faces faster than a core decodes photos.
    """
    worker = BatchWorker(job)
    if resolve_device(job.device) == "cpu":
        for batch in batches:
            yield worker.run(batch, {})
        return
    settings = worker.settings
    decoding = partial(decode, max_megapixels=settings.max_megapixels, side=settings.detect_side_px)
    with Decoders(
        decoding, processes=core_count(), limit_s=settings.photo_timeout_s, memory_bytes=job.memory_bytes // 2
    ) as decoders:
        started = ((batch, decoders.decode(batch.photos)) for batch in batches)
        current = next(started, None)
        while current is not None:
            following = next(started, None)
            batch, decoded = current
            yield worker.run(batch, {}, decoded)
            current = following


def _turns() -> Path | None:
    """Return the file by which processes take turns with large photos, None where there can be none."""
    try:
        cache_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return cache_folder() / "large-photo.lock"


@cache
def _nowhere() -> int:
    """Return a descriptor for what faulthandler prints; it stays open as long as the process."""
    return os.open(os.devnull, os.O_WRONLY)
