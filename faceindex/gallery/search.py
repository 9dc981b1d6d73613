"""The gallery: candidates from every shard, then exact scores from the stored vectors.

Scores are true cosine similarities whatever the index, computed by one routine in float64, and ties stand in order
of face id; so answers do not depend on the number of shards, blocks or threads.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES, require
from faceindex.errors import ConfigError, DamagedError, ShapeError
from faceindex.gallery.build import FACES, INDEX, MANIFEST, VECTORS
from faceindex.gallery.recipe import EXACT
from faceindex.tables import FACE_ROWS, from_id_column, require_model
from faceindex.types import CandidateLists, IndexRecipe, ModelId

BLOCK_ROWS = 65_536
SLACK = 1e-5
"""Float32 block scores are this good; rows within it of the k-th are all scored exactly."""

Rows = NDArray[np.int64]


class Shard:
    """One opened piece of the gallery: memory-mapped, never changed. Its files' hashes are checked by the caller.

    Raises:
        DamagedError: its files do not belong together.
    """

    def __init__(self, files: dict[str, Path], tombstones: NDArray[np.void]) -> None:
        self._files = files
        self.manifest: dict[str, Any] = json.loads(files[MANIFEST].read_bytes())
        self.model = ModelId(self.manifest["model"])
        self.recipe = IndexRecipe(**self.manifest["recipe"])
        self.vectors: NDArray[np.float16] = np.load(files[VECTORS], mmap_mode="r", allow_pickle=False)
        with pa.memory_map(str(files[FACES])) as source:
            self.faces = pa.ipc.open_file(source).read_all()
        self.ids = from_id_column(self.faces["face_id"]).view(f"S{ID_BYTES}")
        wanted = (self.manifest["faces"], self.manifest["dimension"])
        if self.vectors.shape != wanted or len(self.ids) != wanted[0]:
            raise DamagedError(
                f"{files[VECTORS]}: {wanted} vectors recorded, {self.vectors.shape} found with {len(self.ids)} faces; "
                f"run `faceindex check`"
            )
        self.alive = ~np.isin(self.ids, tombstones.view(f"S{ID_BYTES}"))

    @cached_property
    def index(self) -> Any:
        """The FAISS index, or None for an exact shard."""
        if self.recipe.factory == EXACT:
            return None
        import faiss

        path = self._files[INDEX]
        index = faiss.deserialize_index(np.fromfile(path, dtype=np.uint8))
        if (index.ntotal, index.d) != self.vectors.shape:
            raise DamagedError(
                f"{path}: {self.vectors.shape} vectors recorded, ({index.ntotal}, {index.d}) found; "
                f"run `faceindex check`"
            )
        return index

    def candidates(self, probes: NDArray[np.float32], k: int, threads: int) -> list[Rows]:
        """Return for each probe the rows that may be among its best k, in no order."""
        if not len(self.ids):
            return [np.empty(0, np.int64)] * len(probes)
        if self.recipe.factory == EXACT:
            return exact_candidates(self.vectors, self.alive, probes, k)
        return self._indexed(probes, k, threads)

    def _indexed(self, probes: NDArray[np.float32], k: int, threads: int) -> list[Rows]:
        import faiss

        faiss.omp_set_num_threads(threads)
        parameters: Any = faiss.SearchParametersIVF(nprobe=self.recipe.nprobe)  # type: ignore[call-arg]
        if not self.alive.all():
            living = faiss.IDSelectorBitmap(np.packbits(self.alive, bitorder="little"))  # type: ignore[call-arg, arg-type]
            parameters.sel = living
        if isinstance(self.index, faiss.IndexPreTransform):
            parameters = faiss.SearchParametersPreTransform(index_params=parameters)  # type: ignore[call-arg]
        wanted = min(k * max(1, self.recipe.rerank), len(self.ids))
        _, rows = self.index.search(probes, wanted, params=parameters)
        return [found[found >= 0] for found in rows]


class Gallery:
    """All shards of a generation; immutable."""

    def __init__(self, shards: Sequence[Shard], model: ModelId) -> None:
        for shard in shards:
            require_model(model, shard.model)
        self.shards = list(shards)
        self.model = model

    @property
    def size(self) -> int:
        """Live faces."""
        return int(sum(shard.alive.sum() for shard in self.shards))

    def search(self, probes: NDArray[np.float32], model: ModelId, k: int, threads: int = 1) -> CandidateLists:
        """Return the k most similar faces of each probe; fewer where the gallery has fewer.

        Args:
            probes: float32 (n, d); any length but zero.
            model: whose embeddings they are.
            k: candidates for each probe, 1 or more.
            threads: for FAISS.

        Raises:
            ModelMismatchError: the probes are another model's.
            ShapeError: another dimension, or a probe that is not finite.
            ConfigError: k is less than 1.
        """
        if k < 1:
            raise ConfigError(f"k must be at least 1, got {k}")
        require_model(self.model, model)
        if self.shards:
            require("probes", probes, np.float32, (None, self.shards[0].vectors.shape[1]))
        if not np.isfinite(probes).all():
            raise ShapeError("probes must be finite numbers, got NaN or infinity; compute the embeddings again")
        ids = np.zeros((len(probes), k), f"S{ID_BYTES}")
        scores = np.full((len(probes), k), -np.inf, np.float32)
        found = [shard.candidates(probes, k, threads) for shard in self.shards]
        for row, probe in enumerate(probes):
            parts = [(shard, rows[row]) for shard, rows in zip(self.shards, found, strict=True)]
            best_ids, best_scores = ranked(parts, probe, k)
            ids[row, : len(best_ids)], scores[row, : len(best_ids)] = best_ids, best_scores
        return CandidateLists(ids.view(f"V{ID_BYTES}"), scores, self.model)

    def face_rows(self, face_ids: NDArray[np.void]) -> pa.Table:
        """Return the rows of FACE_ROWS of live faces, in the order of `face_ids`, V16 (n,)."""
        wanted = face_ids.view(f"S{ID_BYTES}")
        tables, order = [], np.empty(len(wanted), np.int64)
        start = 0
        for shard in self.shards:
            rows = np.minimum(np.searchsorted(shard.ids, wanted), max(0, len(shard.ids) - 1))
            here = (shard.ids[rows] == wanted) & shard.alive[rows] if len(shard.ids) else np.zeros(len(wanted), bool)
            tables.append(shard.faces.take(rows[here]))
            order[here] = start + np.arange(here.sum())
            start += int(here.sum())
        if start != len(wanted):
            raise DamagedError(f"{len(wanted) - start} of {len(wanted)} faces are in no shard; run `faceindex check`")
        return pa.concat_tables(tables).take(order) if tables else FACE_ROWS.empty_table()


def exact_candidates(
    vectors: NDArray[np.float16], alive: NDArray[np.bool_], probes: NDArray[np.float32], k: int
) -> list[Rows]:
    """Return for each probe the rows of the k highest dot products, and all that tie with the last of them."""
    kept: list[Rows] = [np.empty(0, np.int64)] * len(probes)
    values: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(probes)
    for start in range(0, len(vectors), BLOCK_ROWS):
        rows = start + np.flatnonzero(alive[start : start + BLOCK_ROWS])
        block = vectors[rows].astype(np.float32)
        for index, scores in enumerate(probes @ block.T):
            together = np.concatenate([values[index], scores])
            if len(together) > k:
                last = np.partition(together, len(together) - k)[len(together) - k]
                chosen = np.flatnonzero(together >= last - SLACK)
            else:
                chosen = np.arange(len(together))
            kept[index] = np.concatenate([kept[index], rows])[chosen]
            values[index] = together[chosen]
    return kept


def ranked(
    parts: Sequence[tuple[Shard, Rows]], probe: NDArray[np.float32], k: int
) -> tuple[NDArray[np.bytes_], NDArray[np.float32]]:
    """Return ids and cosine similarities of the best k candidates, best first, ties by id."""
    ids = np.concatenate([np.empty(0, f"S{ID_BYTES}"), *(shard.ids[rows] for shard, rows in parts)])
    vectors = [shard.vectors[rows].astype(np.float64) for shard, rows in parts]
    together = np.concatenate([np.empty((0, len(probe))), *vectors])
    lengths = np.sqrt((together**2).sum(axis=1) * (probe.astype(np.float64) ** 2).sum())
    scores = ((together * probe).sum(axis=1) / np.maximum(lengths, 1e-30)).astype(np.float32)
    order = np.lexsort((ids, -scores))[:k]
    return ids[order], scores[order]
