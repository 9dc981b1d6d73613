"""Searches a gallery on GPUs: candidates from float16 copies of all stored vectors, then the usual exact scores.

FAISS has no GPU kernel for four-bit fast-scan codes, and a GPU needs no codes: it compares a probe with every vector
faster than a CPU does with some. So what a gallery answers there is what exact search answers, whatever its recipe.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES
from faceindex.gallery.exact import MARGIN, widened
from faceindex.gallery.gpus import Gpus
from faceindex.gallery.recipe import EXACT
from faceindex.gallery.search import CHUNK_PROBES, FEWEST_RERANKED, Gallery
from faceindex.gallery.shard import Shard
from faceindex.types import CandidateLists, ModelId

PART_BYTES = 512 << 20
"""Stored vectors that go to a GPU at a time, widened to twice as much on the way."""

SPARE_BYTES = 4 << 30
"""Left free on each GPU: for FAISS's scratch memory of 1.5 GB, a part on its way in, and networks."""

NORM_BYTES = 4
"""What FAISS keeps of a vector besides itself."""

MOST = 2048
"""Candidates that FAISS's GPU code can give of a search."""

DEPTH = 3
"""Candidates asked for first, as a multiple of k: of a million strangers of 128 numbers the thirtieth is some 0.02 less
alike than the tenth, ten times GPU_MARGIN."""

GPU_MARGIN = MARGIN / 2 + 2.0**-11
"""How far a score of a GPU may be from the cosine: as a float32 sum may, and by the probe's rounding to float16."""


START_SECONDS = 5.0
"""To load CUDA and torch, which tells how much memory is free; an estimate."""

COPY_BYTES_PER_SECOND = 0.25e9
"""Stored vectors read, compared with their checksums and widened, by one core."""

EXACT_CORE_SECONDS, INDEX_CORE_SECONDS = 3e-9, 2.5e-7
"""What a probe takes of one core: for each face by exact search, for the square root of the faces by an index. In the
benchmark of a million faces two cores answer 688 and 7,900 probes a second."""


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Some faces of a shard, whose vectors are on a GPU or go to one."""

    shard: Shard
    first: int
    """Faces of the shards before this one."""
    rows: slice | NDArray[np.int64]
    """In the shard: a slice, or int64 (n,)."""
    count: int
    index: Any = None

    def numbers(self, found: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places in the gallery of what the index found, int64 of any shape; -1 for nothing."""
        rows = found + self.rows.start if isinstance(self.rows, slice) else self.rows[found]
        return np.where(found < 0, -1, rows + self.first)


@dataclass(slots=True)
class Served:
    """How many probes were searched where."""

    on_gpus: int = 0
    on_cpu: int = 0
    reason: str = ""
    """Why not on GPUs although there are some."""


class GpuSearch:
    """Searches a gallery on GPUs where that pays, else as the gallery itself does.

    The vectors are copied to GPUs once so many probes have been searched that the CPU would have taken as long for them
    as copying takes (`pays_from`): never for a few pictures, before the first search of a large batch, and all in all
    at no more than about twice what the better of the two would have cost. From then on GPUs serve all searches but
    those whose filter leaves too little.

    Args:
        gallery: at its operating point.
        gpus: those there are.
    """

    def __init__(self, gallery: Gallery, gpus: Gpus) -> None:
        self.served = Served()
        self._gallery = gallery
        self._gpus = gpus
        self._parts: list[list[_Part]] | None = None
        """Of each GPU."""
        self._lock = Lock()
        """Held while the GPUs are used."""
        self._expected = 0
        """Probes searched, and those that are known to come."""

    def expect(self, probe_count: int) -> None:
        """Say that so many probes will be searched, perhaps in several calls, so that copying may pay at once."""
        self._expected = self.served.on_gpus + self.served.on_cpu + probe_count

    def search(
        self,
        probes: NDArray[np.float32],
        model: ModelId,
        k: int,
        threads: int = 1,
        allowed: Sequence[NDArray[np.bool_]] | None = None,
    ) -> CandidateLists:
        """Return what `Gallery.search` returns, of which it takes the arguments; on GPUs what exact search would."""
        query = self._gallery.prepared(probes, model, k, allowed)
        similarities = np.full((len(probes), k), -np.inf, np.float32)
        face_ids = np.zeros((len(probes), k), f"S{ID_BYTES}")
        unsure = np.arange(len(probes))
        # Under a filter that leaves half of the faces half of the candidates are lost.
        depth = math.ceil(DEPTH * max(k, FEWEST_RERANKED) * self._gallery.size / max(1, query.count))
        if query.count and depth <= MOST and self._ready(len(probes), threads):
            for deep in sorted({depth, MOST}):
                left = [np.empty(0, np.int64)]
                for start in range(0, len(unsure), CHUNK_PROBES):
                    some = unsure[start : start + CHUNK_PROBES]
                    similarities[some], face_ids[some], sure = self._search_chunk(
                        query.probes[some], k, deep, query.masks
                    )
                    left.append(some[~sure])
                unsure = np.concatenate(left)
        if len(unsure):
            found = self._gallery.search(probes[unsure], model, k, threads, allowed)
            similarities[unsure], face_ids[unsure] = found.similarities, found.face_ids.view(face_ids.dtype)
        self.served.on_gpus += len(probes) - len(unsure)
        self.served.on_cpu += len(unsure)
        return CandidateLists(face_ids.view(f"V{ID_BYTES}"), similarities, self._gallery.model)

    def _search_chunk(
        self, probes: NDArray[np.float32], k: int, depth: int, masks: Sequence[NDArray[np.bool_] | None]
    ) -> tuple[NDArray[np.float32], NDArray[np.bytes_], NDArray[np.bool_]]:
        """Return similarities and face ids of the k best, as `Gallery.ranked`, and whether they surely are, bool (q,).

        Args:
            probes: float32 (q, d), unit length.
            k: candidates of each.
            depth: candidates compared exactly, of all faces.
            masks: faces of each shard that may be found; None for all.
        """
        try:
            scores, numbers = self._nearest(probes, depth)
        except RuntimeError as error:
            self._parts, self.served.reason = None, _first_line(error)
            nothing = np.full((len(probes), k), -np.inf, np.float32), np.zeros((len(probes), k), f"S{ID_BYTES}")
            return *nothing, np.zeros(len(probes), bool)
        rows, first = [], 0
        for shard, mask in zip(self._gallery.shards, masks, strict=True):
            here = (numbers >= first) & (numbers < first + len(shard.ids))
            if mask is not None:
                here[here] = mask[numbers[here] - first]
            rows.append(np.where(here, numbers - first, -1))
            first += len(shard.ids)
        similarities, face_ids = self._gallery.ranked(probes, rows, k)
        # What was not given is no more alike than the least of what was.
        sure = similarities[:, -1] > scores.min(axis=1) + GPU_MARGIN
        return similarities, face_ids, sure | (depth >= self._gallery.size)

    def _nearest(self, probes: NDArray[np.float32], depth: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return scores float32 (q, m) and places in the gallery int64 (q, m) of the `depth` best; -1 for none."""

        def on_gpu(parts: Sequence[_Part]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
            best = np.empty((len(probes), 0), np.float32), np.empty((len(probes), 0), np.int64)
            for part in parts:
                scores, found = part.index.search(probes, min(depth, part.count))
                numbers = part.numbers(found)
                best = _best(depth, (best[0], np.where(numbers < 0, -np.inf, scores)), (best[1], numbers))
            return best

        with self._lock:
            if self._parts is None:
                raise RuntimeError(self.served.reason)
            if len(self._parts) == 1:
                return on_gpu(self._parts[0])
            with ThreadPoolExecutor(len(self._parts)) as pool:
                scores, numbers = zip(*pool.map(on_gpu, self._parts), strict=True)
        return _best(depth, scores, numbers)

    def _ready(self, probe_count: int, threads: int) -> bool:
        """Return whether GPUs can serve; the vectors are copied there once that pays."""
        if self._parts is not None or self.served.reason:
            return self._parts is not None
        probe_count += self.served.on_gpus + self.served.on_cpu
        if max(probe_count, self._expected) < pays_from(self._gallery, threads) or not self._gpus.count:
            return False
        # Another thread that searches meanwhile need not wait for the copies.
        if self._lock.acquire(blocking=False):
            try:
                self._parts = self._copied()
            except RuntimeError as error:
                self.served.reason = _first_line(error)
            finally:
                self._lock.release()
        return self._parts is not None

    def _copied(self) -> list[list[_Part]]:
        """Return all live faces in parts, copied to GPUs, as many faces to each as its room allows.

        Raises:
            RuntimeError: they do not fit.
        """
        dimension, count = self._gallery.dimension or 0, self._gpus.count
        face_bytes = 2 * dimension + NORM_BYTES
        room = [(self._gpus.free_bytes(gpu) - SPARE_BYTES) // face_bytes for gpu in range(count)]
        held = [0] * count
        planned: list[list[_Part]] = [[] for _ in room]
        for part in _parts(self._gallery.shards, min(PART_BYTES // (2 * dimension), -(-self._gallery.size // count))):
            fitting = [gpu for gpu in range(count) if held[gpu] + part.count <= room[gpu]]
            if not fitting:
                size = self._gallery.size * face_bytes
                raise RuntimeError(f"{size / 1e9:.1f} GB of vectors do not fit into the memory of {count} GPUs")
            gpu = min(fitting, key=held.__getitem__)
            held[gpu] += part.count
            planned[gpu].append(part)
        copy = partial(_copy, self._gpus, dimension)
        return [[copy(gpu, part) for part in parts] for gpu, parts in enumerate(planned) if parts]


def pays_from(gallery: Gallery, threads: int) -> float:
    """Return how many probes take a CPU as long as copying the vectors to GPUs takes.

    By figures set down here and not by the clock: the same searches go to the same place each time.
    """
    core_seconds = INDEX_CORE_SECONDS * math.sqrt(gallery.size)
    if gallery.recipe.factory == EXACT:
        core_seconds = EXACT_CORE_SECONDS * gallery.size
    copied_bytes = 2 * gallery.size * (gallery.dimension or 0)
    return (START_SECONDS + copied_bytes / COPY_BYTES_PER_SECOND) * threads / core_seconds


def _parts(shards: Sequence[Shard], most: int) -> Iterator[_Part]:
    """Yield the live faces of shards in parts of at most `most`."""
    first = 0
    for shard in shards:
        living = shard.living()
        rows = None if living is None else np.flatnonzero(living)
        for start in range(0, shard.live_count, most):
            stop = min(start + most, shard.live_count)
            yield _Part(shard, first, slice(start, stop) if rows is None else rows[start:stop], stop - start)
        first += len(shard.ids)


def _copy(gpus: Gpus, dimension: int, gpu: int, part: _Part) -> _Part:
    index = gpus.empty(gpu, dimension)
    index.add(widened(part.shard.vectors[part.rows]))
    return _Part(part.shard, part.first, part.rows, part.count, index)


def _best(
    depth: int, scores: Sequence[NDArray[np.float32]], numbers: Sequence[NDArray[np.int64]]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the best of several lists of candidates, (q, m) each, in no order."""
    joined, places = np.concatenate(scores, axis=1), np.concatenate(numbers, axis=1)
    if joined.shape[1] <= depth:
        return joined, places
    kept = np.argpartition(joined, -depth, axis=1)[:, -depth:]
    return np.take_along_axis(joined, kept, axis=1), np.take_along_axis(places, kept, axis=1)


def _first_line(error: RuntimeError) -> str:
    return str(error).strip().splitlines()[0]
