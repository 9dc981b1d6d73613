"""The gallery: candidates from every shard, then exact scores from the stored vectors.

Scores are true cosine similarities whatever the index, so a threshold means the same for all of them.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES, l2_normalize, require
from faceindex.errors import ConfigError, DamagedError
from faceindex.gallery.exact import Best, Block, contenders, cosines, search_exact, widened
from faceindex.gallery.recipe import EXACT
from faceindex.gallery.shard import Shard
from faceindex.tables import FACE_ROWS, require_model
from faceindex.types import CandidateLists, ModelId

FEWEST_RERANKED = 10
"""A search for fewer candidates than this re-ranks as many as one for these, so that both have the same first."""

CHUNK_PROBES = 256
"""Probes a thread searches at a time; 100 candidates of 128 numbers each take 13 MB."""


class Gallery:
    """All shards of a generation; immutable.

    Args:
        shards: of one recipe, filled from one trained index.
        model: whose embeddings they hold.

    Raises:
        ModelMismatchError: a shard holds another model's embeddings.
        DamagedError: the shards do not belong together.
    """

    def __init__(self, shards: Sequence[Shard], model: ModelId) -> None:
        for shard in shards:
            require_model(model, shard.model)
        kinds = {(shard.manifest.dimension, shard.recipe, shard.manifest.quantizer) for shard in shards}
        if len(kinds) > 1:
            raise DamagedError(f"shards of one kind wanted, got {sorted(map(str, kinds))}; run `faceindex check`")
        self.shards = tuple(shards)
        self.model = model

    @cached_property
    def size(self) -> int:
        """Live faces."""
        return sum(shard.live_count for shard in self.shards)

    @property
    def dimension(self) -> int | None:
        """Numbers in an embedding; None while there is no shard."""
        return self.shards[0].manifest.dimension if self.shards else None

    def blocks(self) -> Iterator[Block]:
        """Yield all live faces and their vectors, block by block."""
        for shard in self.shards:
            yield from shard.blocks()

    def search(self, probes: NDArray[np.float32], model: ModelId, k: int, threads: int = 1) -> CandidateLists:
        """Return the k most similar faces of each probe; fewer where the gallery, or the lists visited, have fewer.

        The answer does not depend on the number of threads, nor on what other probes are searched together.

        Args:
            probes: float32 (q, d), any length but zero.
            model: whose embeddings they are.
            k: candidates for each probe, 1 or more.
            threads: for searching an index; exact search uses those of numpy's matrix product.

        Raises:
            ModelMismatchError: the probes are another model's.
            ShapeError: another dimension, or a probe that is zero or not finite.
            ConfigError: k is less than 1.
        """
        if k < 1:
            raise ConfigError(f"k must be at least 1, got {k}")
        require_model(self.model, model)
        require("probes", probes, np.float32, (None, self.dimension))
        probes = l2_normalize(probes)
        if not self.shards or self.shards[0].recipe.factory == EXACT:
            return search_exact(self.blocks(), probes, model, k)
        chunks = [probes[start : start + CHUNK_PROBES] for start in range(0, len(probes), CHUNK_PROBES)]
        if threads > 1 and len(chunks) > 1:
            with ThreadPoolExecutor(threads) as pool:
                parts = list(pool.map(lambda chunk: self._search_index(chunk, k), chunks))
        else:
            parts = [self._search_index(chunk, k) for chunk in chunks]
        return Best.stacked(parts, k).candidates(model)

    def face_rows(self, face_ids: NDArray[np.void]) -> pa.Table:
        """Return the rows of FACE_ROWS of live faces, in the order of `face_ids`, V16 (n,).

        Raises:
            DamagedError: a face is in no shard, or dead.
        """
        tables, order = [FACE_ROWS.empty_table()], np.empty(len(face_ids), np.int64)
        start = 0
        for shard, rows, here in self._places(face_ids):
            tables.append(shard.faces.take(rows))
            order[here] = start + np.arange(len(rows))
            start += len(rows)
        return pa.concat_tables(tables).take(order)

    def vectors_of(self, face_ids: NDArray[np.void]) -> NDArray[np.float16]:
        """Return the stored embeddings of live faces, float16 (n, d); raises what `face_rows` raises."""
        vectors = np.empty((len(face_ids), self.dimension or 0), np.float16)
        for shard, rows, here in self._places(face_ids):
            vectors[here] = shard.vectors[rows]
        return vectors

    def _places(self, face_ids: NDArray[np.void]) -> list[tuple[Shard, NDArray[np.int64], NDArray[np.int64]]]:
        """Return, for each shard, the rows it has of these faces and where in `face_ids` they stand."""
        ids = np.ascontiguousarray(face_ids).view(f"S{ID_BYTES}")
        places, found_count = [], 0
        for shard in self.shards:
            rows, found = shard.rows_of(ids)
            found[found] = shard.alive[rows[found]]
            places.append((shard, rows[found], np.flatnonzero(found)))
            found_count += int(found.sum())
        if found_count != len(ids):
            raise DamagedError(f"{len(ids)} faces wanted, {found_count} found in the gallery; run `faceindex check`")
        return places

    def _search_index(self, probes: NDArray[np.float32], k: int) -> Best:
        best = Best(len(probes), k)
        if not self.size:
            return best
        depth = min(self.size, max(k, FEWEST_RERANKED) * max(1, self.shards[0].recipe.rerank))
        found = [shard.nearest(probes, depth) for shard in self.shards]
        distances = np.concatenate([part[0] for part in found], axis=1)
        rows = np.concatenate([part[1] for part in found], axis=1)
        chosen = nearest_of_all(distances, depth, k)
        shard_of = np.repeat(np.arange(len(self.shards)), depth)
        scores = np.full(distances.shape, -np.inf, np.float32)
        for number, shard in enumerate(self.shards):
            probe, column = np.nonzero(chosen & (shard_of == number))
            wide = widened(shard.vectors.take(rows[probe, column], axis=0))
            scores[probe, column] = np.einsum("ij,ij->i", wide, probes[probe])
        probe, column = contenders(scores, k, np.full(len(probes), -np.inf, np.float32))
        for number, shard in enumerate(self.shards):
            here = shard_of[column] == number
            place = rows[probe[here], column[here]]
            best.add(probe[here], shard.ids[place], cosines(probes, probe[here], shard.vectors, place))
        return best


def nearest_of_all(distances: NDArray[np.float32], depth: int, k: int) -> NDArray[np.bool_]:
    """Return which of the candidates of several shards are the `depth` nearest of all, bool (q, n).

    FAISS breaks ties at the end of its list as it happens to. Whatever ties with the last is therefore left out, and
    the choice is the same for any number of shards; unless fewer than k would be left, when many faces have one code.

    Args:
        distances: float32 (q, n), from each shard its `depth` nearest; inf where there is none.
        depth: how many.
        k: how many at least.
    """
    last = np.partition(distances, depth - 1, axis=1)[:, depth - 1 : depth]
    chosen = distances < last
    few = chosen.sum(axis=1) < k
    chosen[few] = distances[few] <= last[few]
    return chosen & np.isfinite(distances)
