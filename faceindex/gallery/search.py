"""The gallery: candidates from every shard, then exact scores from the stored vectors.

Scores are true cosine similarities whatever the index, so a threshold means the same for all of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES, l2_normalize, require
from faceindex.errors import ConfigError, DamagedError, ShapeError
from faceindex.gallery import faiss_io
from faceindex.gallery.exact import Block, search_exact
from faceindex.gallery.recipe import EXACT, EXACT_BELOW
from faceindex.gallery.scores import merged
from faceindex.gallery.shard import Shard
from faceindex.tables import FACE_ROWS, require_model
from faceindex.types import CandidateLists, IndexRecipe, ModelId

FEWEST_RERANKED = 10
"""A search for fewer candidates than this re-ranks as many as one for these, so that both have the same first."""

CHUNK_PROBES = 2048
"""Probes a thread searches at most at a time: FAISS scans a list once for all of them. With 100 candidates of 128
numbers each they take some 30 MB."""

WIDENING = 0.5
"""Lists visited under a filter grow with this power of how much the filter leaves out."""


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """What is searched for."""

    probes: NDArray[np.float32]
    """float32 (q, d), unit length."""
    masks: list[NDArray[np.bool_] | None]
    """For each shard, bool (faces of the shard,), which faces may be found; None for all."""
    count: int
    """How many may be found."""


class Gallery:
    """All shards of a generation; immutable.

    Args:
        shards: filled from one trained index.
        model: whose embeddings they hold.
        recipe: what the shards were built by, and the operating point they are searched at.

    Raises:
        ModelMismatchError: a shard holds another model's embeddings.
        DamagedError: the shards do not belong together.
    """

    def __init__(self, shards: Sequence[Shard], model: ModelId, recipe: IndexRecipe) -> None:
        for shard in shards:
            require_model(model, shard.model)
        kinds = {(shard.manifest.dimension, shard.recipe, shard.manifest.quantizer) for shard in shards}
        if len(kinds) > 1 or any(kind[1] != recipe.untuned() for kind in kinds):
            raise DamagedError(f"shards of one kind wanted, got {sorted(map(str, kinds))}; run `faceindex check`")
        self.shards = tuple(shards)
        self.model = model
        self.recipe = recipe

    def at(self, recipe: IndexRecipe) -> "Gallery":
        """Return the same gallery, searched at another operating point."""
        return Gallery(self.shards, self.model, recipe)

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
            yield from shard.blocks(shard.living())

    def search(
        self,
        probes: NDArray[np.float32],
        model: ModelId,
        k: int,
        threads: int = 1,
        allowed: Sequence[NDArray[np.bool_]] | None = None,
    ) -> CandidateLists:
        """Return the k most similar faces of each probe; fewer where the gallery, or the lists visited, have fewer.

        The answer does not depend on the number of shards or threads, nor on what other probes are searched together.

        Args:
            probes: float32 (q, d), any length but zero.
            model: whose embeddings they are.
            k: candidates for each probe, 1 or more.
            threads: for searching an index; exact search uses those of numpy's matrix product.
            allowed: for each shard, bool (faces of the shard,), which faces may be returned, as `masks_of` gives them;
                None for all. Dead ones never are.

        Raises:
            ModelMismatchError: the probes are another model's.
            ShapeError: another dimension, a probe that is zero or not finite, or masks of other shards.
            ConfigError: k is less than 1.
        """
        query = self.prepared(probes, model, k, allowed)
        few = query.count == 0 or (allowed is not None and query.count < EXACT_BELOW)
        if few or self.recipe.factory == EXACT:
            pairs = zip(self.shards, query.masks, strict=True)
            return search_exact(
                (block for shard, mask in pairs for block in shard.blocks(mask)), query.probes, model, k
            )
        return self._search_index(query, k, threads)

    def prepared(
        self, probes: NDArray[np.float32], model: ModelId, k: int, allowed: Sequence[NDArray[np.bool_]] | None
    ) -> Query:
        """Return what `search` was asked for; takes what it takes and raises what it raises."""
        if k < 1:
            raise ConfigError(f"k must be at least 1, got {k}")
        require_model(self.model, model)
        require("probes", probes, np.float32, (None, self.dimension))
        masks = self._masks(allowed)
        pairs = zip(self.shards, masks, strict=True)
        count = sum(len(shard.ids) if mask is None else int(mask.sum()) for shard, mask in pairs)
        return Query(l2_normalize(probes), masks, count)

    def masks_of(self, face_ids: NDArray[np.void]) -> list[NDArray[np.bool_]]:
        """Return which faces of each shard are among these, V16 (n,) in any order: what `search` takes as `allowed`."""
        wanted = np.ascontiguousarray(face_ids).view(f"S{ID_BYTES}")
        masks = []
        for shard in self.shards:
            rows, found = shard.rows_of(wanted)
            mask = np.zeros(len(shard.ids), bool)
            mask[rows[found]] = True
            masks.append(mask)
        return masks

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

    def _masks(self, allowed: Sequence[NDArray[np.bool_]] | None) -> list[NDArray[np.bool_] | None]:
        """Return which faces of each shard may be found: the live ones of those allowed; None for all."""
        if allowed is None:
            return [shard.living() for shard in self.shards]
        if len(allowed) != len(self.shards):
            raise ShapeError(f"a mask for each of {len(self.shards)} shards wanted, got {len(allowed)}; use masks_of")
        for shard, mask in zip(self.shards, allowed, strict=True):
            require("allowed", mask, np.bool_, (len(shard.ids),))
        return [shard.living(mask) for shard, mask in zip(self.shards, allowed, strict=True)]

    def ranked(
        self,
        probes: NDArray[np.float32],
        rows: Sequence[NDArray[np.int64]],
        k: int,
        each: Callable[..., Iterable[Any]] = map,
    ) -> tuple[NDArray[np.float32], NDArray[np.bytes_]]:
        """Return the k most similar of the faces that each probe is compared with.

        Args:
            probes: float32 (q, d).
            rows: for each shard, int64 (q, n), which of its faces; -1 for none.
            k: candidates of each.
            each: `map`, or that of a pool.

        Returns:
            Similarities float32 (q, k), descending, and face ids S16 (q, k); -inf and zero where there is none.
        """

        def rank(shard: Shard, its: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bytes_]]:
            return shard.ranked(probes, its, k)

        ranked: list[tuple[NDArray[np.float32], NDArray[np.bytes_]]] = list(each(rank, self.shards, rows))
        if len(ranked) == 1:
            return ranked[0]
        similarities, face_ids = (np.concatenate(part, axis=1) for part in zip(*ranked, strict=True))
        return merged(similarities, face_ids, k)

    def _search_index(self, query: Query, k: int, threads: int) -> CandidateLists:
        depth = min(query.count, max(k, FEWEST_RERANKED) * max(1, self.recipe.rerank))
        # Faces that may be found lie further from a probe than all faces do, in more lists.
        nprobe = round(self.recipe.nprobe * (self.size / query.count) ** WIDENING)
        allowed = [None if mask is None else np.packbits(mask, bitorder="little") for mask in query.masks]
        chunks = list(_chunks(query.probes, threads))
        search = partial(self._search_chunk, k=k, depth=depth, nprobe=nprobe, allowed=allowed)
        if threads == 1:
            found = [search(chunk) for chunk in chunks]
        else:
            with ThreadPoolExecutor(threads) as pool:
                # Either probes or shards are divided: a task that waited for others of its pool could wait for ever.
                if len(chunks) > 1:
                    found = list(pool.map(search, chunks))
                else:
                    found = [search(chunk, each=pool.map) for chunk in chunks]
        similarities = np.concatenate([np.empty((0, k), np.float32), *(part[0] for part in found)])
        face_ids = np.concatenate([np.empty((0, k), f"S{ID_BYTES}"), *(part[1] for part in found)])
        return CandidateLists(face_ids.view(f"V{ID_BYTES}"), similarities, self.model)

    def _search_chunk(
        self,
        probes: NDArray[np.float32],
        *,
        k: int,
        depth: int,
        nprobe: int,
        allowed: Sequence[NDArray[np.uint8] | None],
        each: Callable[..., Iterable[Any]] = map,
    ) -> tuple[NDArray[np.float32], NDArray[np.bytes_]]:
        """Return similarities float32 (q, k) and face ids S16 (q, k) of the k best of each probe, best first.

        Args:
            probes: float32 (q, d), unit length.
            k: candidates of each.
            depth: candidates re-ranked.
            nprobe: lists visited.
            allowed: bits of the faces of each shard that may be found; None for all.
            each: `map`, or that of a pool.
        """
        coarse = self.shards[0].coarse
        lists = None if coarse is None else coarse.lists(probes, nprobe)

        def scan(shard: Shard, bits: NDArray[np.uint8] | None) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
            return faiss_io.nearest(shard.index, probes, depth, nprobe, bits, lists)

        found = list(each(scan, self.shards, allowed))
        chosen = nearest_of_all(np.concatenate([distances for distances, _ in found], axis=1), depth, k)
        rows = np.where(chosen, np.concatenate([rows for _, rows in found], axis=1), -1)
        return self.ranked(probes, np.split(rows, len(self.shards), axis=1), k, each)


def _chunks(probes: NDArray[np.float32], threads: int) -> Iterator[NDArray[np.float32]]:
    """Yield the probes in parts of one size, so that all threads are done at the same time."""
    rounds = -(-len(probes) // (threads * CHUNK_PROBES))
    size = max(1, -(-len(probes) // max(1, threads * rounds)))
    for start in range(0, len(probes), size):
        yield probes[start : start + size]


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
