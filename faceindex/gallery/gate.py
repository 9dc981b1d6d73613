"""Decides whether a gallery may be published: it is whole, its index is sound, and it finds what exact search finds."""

import time
from dataclasses import dataclass

import numpy as np

from faceindex.errors import RefusedError
from faceindex.gallery import faiss_io
from faceindex.gallery.exact import widened
from faceindex.gallery.recall import Recall, Sample, draw_sample, measure
from faceindex.gallery.recipe import Wish
from faceindex.gallery.search import Gallery
from faceindex.gallery.tuning import LEAST, targets, tune
from faceindex.types import IndexQuality

FEW_PROBES, MANY_PROBES = 256, 2048
"""A night's publish is measured with few probes, whose truth costs little; a new index, and one that falls short of
the target with few, with many."""

PEERS = 64
"""Faces among which each finds itself when codes and rows belong together."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A gallery that may be published."""

    gallery: Gallery
    quality: IndexQuality


def admit(gallery: Gallery, live_count: int, wish: Wish, *, tuned: bool, open_ms: float, threads: int) -> Admitted:
    """Return the gallery at an operating point that reaches the target, and what it was measured to lose and cost.

    Args:
        gallery: indexed, opened from the files that would be published.
        live_count: faces there should be.
        wish: parts of the operating point that were decided by a user are not tuned.
        tuned: whether the gallery's operating point was found for this trained index.
        open_ms: how long it took to open.
        threads: for searching.

    Raises:
        RefusedError: it must not be published; the message says why and what to change.
    """
    _require_whole(gallery, live_count)
    aim, least = targets(wish.recall)
    free = wish.nprobe is None or wish.rerank is None
    sample = draw_sample(gallery, FEW_PROBES if tuned else MANY_PROBES)
    found = measure(gallery, sample, threads) if tuned or not free else None
    if found is None or least.shortfalls(found):
        if tuned:
            sample = draw_sample(gallery, MANY_PROBES)
        if free:
            gallery = gallery.at(wish.applied(tune(gallery, sample, aim, threads)))
        found = measure(gallery, sample, threads)
    if short := least.shortfalls(found):
        raise RefusedError(
            f"the index {gallery.recipe.factory} at nprobe {gallery.recipe.nprobe}, rerank {gallery.recipe.rerank} "
            f"loses too much: {', '.join(short)}; the generation before stays; {_advice(free=free)}"
        )
    return Admitted(gallery, _quality(gallery, sample, found, open_ms))


def _advice(*, free: bool) -> str:
    if not free:
        return "leave nprobe and rerank to be tuned, or raise them"
    return "longer codes or --index auto lose less, --index exact nothing"


def _require_whole(gallery: Gallery, live_count: int) -> None:
    if gallery.size != live_count:
        raise RefusedError(
            f"{live_count:,} live faces belong in the gallery, its shards hold {gallery.size:,}: a shard is missing or "
            f"superfluous; the generation before stays; run the same command again"
        )
    for shard in gallery.shards:
        if not (shard.ids[:-1] < shard.ids[1:]).all():
            raise RefusedError(
                f"shard {shard.name}: face ids are not in order, so its vectors may be other faces'; the generation "
                f"before stays; run `faceindex check`"
            )
        if fault := faiss_io.fault_of(shard.index):
            raise RefusedError(f"the index of shard {shard.name} {fault}; run the same command again")
        rows = np.unique(np.linspace(0, len(shard.ids) - 1, PEERS).astype(np.int64))
        among = np.zeros(len(shard.ids), bool)
        among[rows] = True
        lists = max(1, faiss_io.list_count(shard.index))
        bits = np.packbits(among, bitorder="little")
        _, found = faiss_io.nearest(shard.index, widened(shard.vectors[rows]), 1, lists, bits)
        share = shard.finds(rows, found).mean()
        if share < LEAST.recall_at_10:
            raise RefusedError(
                f"shard {shard.name}: {1 - share:.0%} of sampled faces do not find themselves among "
                f"{len(rows)}: the index is not trained on such faces, or numbers them otherwise than the vectors; the "
                f"generation before stays; run the same command again, or use longer codes or --index auto"
            )


def _quality(gallery: Gallery, sample: Sample, found: Recall, open_ms: float) -> IndexQuality:
    faces = sample.probes[sample.own != b""]
    lists = faiss_io.list_sizes([shard.index for shard in gallery.shards])
    imbalance = float(len(lists) * (lists / max(1, lists.sum())) @ (lists / max(1, lists.sum()))) if len(lists) else 1.0
    return IndexQuality(
        probe_count=len(sample.probes),
        recall_at_10=found.recall_at_10,
        first_agreement=found.first_agreement,
        mated_rank_1=found.mated_rank_1,
        search_ms=round(found.search_ms, 4),
        open_ms=round(open_ms, 1),
        resident_bytes=sum(shard.resident_bytes for shard in gallery.shards),
        mapped_bytes=sum(shard.mapped_bytes for shard in gallery.shards),
        imbalance=imbalance,
        quantisation_error=faiss_io.quantisation_error(gallery.shards[0].index, faces),
    )


def opened_in(start: float) -> float:
    """Return milliseconds since `time.perf_counter` was `start`."""
    return 1000 * (time.perf_counter() - start)
