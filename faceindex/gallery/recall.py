"""How much an index loses against exact search, measured on the index that was built."""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES, l2_normalize
from faceindex.gallery.exact import search_exact, widened
from faceindex.gallery.search import Gallery

K = 10

MATED_QUANTILE = 0.99
"""A face has a mate in the gallery when it finds one more alike than this share of strangers find anybody."""

TIE = 1e-6
"""Similarities nearer to each other than this are the same: sums in another order differ in the last bit of float32."""

STRANGERS_FROM = 4096
"""Faces of the gallery that strangers are drawn from."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Held-out probes and what exact search finds for them."""

    probes: NDArray[np.float32]
    """float32 (q, d): faces of the gallery, then as many strangers."""
    own: NDArray[np.bytes_]
    """S16 (q,): the face itself, which counts as no candidate; zero for a stranger."""
    truth: NDArray[np.float32]
    """float32 (q, K): similarities of the first K by exact search, descending; -inf where there are fewer.

    Not their ids: of faces that are equally alike, as copies of one picture are, any will do."""
    mated: NDArray[np.bool_]
    """bool (q,): whether the first is surely the same person."""
    mate_similarity: float
    """From this similarity on it surely is."""


@dataclass(frozen=True, slots=True)
class Recall:
    """What a search loses against exact search, as shares of 1, and what it costs."""

    recall_at_10: float
    first_agreement: float
    mated_rank_1: float
    search_ms: float
    """Time of a search in a batch, on one thread."""


def draw_sample(gallery: Gallery, count: int, seed: int = 0) -> Sample:
    """Return `count` probes, half of them faces spread evenly over the gallery and half strangers, and their truth.

    Strangers find their first ten in many more lists than people who are there do. They are drawn from the normal
    distribution with the mean and the covariance of the gallery's faces.
    """
    faces, ids = _spread(gallery, -(-count // 2))
    population = _spread(gallery, STRANGERS_FROM)[0]
    mean = population.mean(axis=0)
    weights = np.random.default_rng(seed).standard_normal((count // 2, len(population)), dtype=np.float32)
    strangers = l2_normalize(mean + weights @ (population - mean) / np.float32(np.sqrt(len(population))))
    probes = np.concatenate([faces, strangers])
    own = np.concatenate([ids, np.zeros(len(strangers), ids.dtype)])
    found = search_exact(gallery.blocks(), probes, gallery.model, K + 1)
    truth = _without(own, found.face_ids.view(f"S{ID_BYTES}"), found.similarities)
    best = truth[:, 0]
    limit = np.quantile(best[len(ids) :], MATED_QUANTILE) if len(strangers) else np.inf
    mated = (best >= limit) & (np.arange(len(probes)) < len(ids))
    return Sample(probes, own, truth, mated, float(limit))


def measure(gallery: Gallery, sample: Sample, threads: int = 1) -> Recall:
    """Return how a gallery's answers compare with those of exact search."""
    before = time.perf_counter()
    found = gallery.search(sample.probes, gallery.model, K + 1, threads)
    seconds = time.perf_counter() - before
    answers = _without(sample.own, found.face_ids.view(f"S{ID_BYTES}"), found.similarities)
    there = np.isfinite(sample.truth)
    last = np.where(there, sample.truth, np.inf).min(axis=1, keepdims=True)
    hits = np.minimum((answers >= last - TIE).sum(axis=1), there.sum(axis=1))
    first = answers[:, 0] >= sample.truth[:, 0] - TIE
    return Recall(
        float(hits.sum() / max(1, there.sum())),
        float(first.mean()),
        float((answers[sample.mated, 0] >= sample.mate_similarity).mean()) if sample.mated.any() else 1.0,
        1000 * seconds * threads / len(sample.probes),
    )


def _spread(gallery: Gallery, count: int) -> tuple[NDArray[np.float32], NDArray[np.bytes_]]:
    """Return some `count` live faces spread evenly over all shards: vectors float32 (n, d) and ids S16 (n,)."""
    step = max(1, gallery.size // count)
    chosen = [(shard, np.flatnonzero(shard.alive)[::step]) for shard in gallery.shards]
    ids = np.concatenate([shard.ids[rows] for shard, rows in chosen])
    return widened(np.concatenate([shard.vectors[rows] for shard, rows in chosen])), ids


def _without(
    own: NDArray[np.bytes_], face_ids: NDArray[np.bytes_], similarities: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the similarities of lists of K + 1 without that of the probe's own face, or else without their last."""
    order = np.argsort(face_ids == own[:, np.newaxis], axis=1, kind="stable")
    # A stranger has no face of its own, and neither have the empty places at the end of a list.
    order = np.where((own == b"")[:, np.newaxis], np.arange(face_ids.shape[1]), order)[:, :K]
    return np.take_along_axis(similarities, order, axis=1)
