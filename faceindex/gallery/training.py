"""Trains and fills indexes, on GPUs too where there are some."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceindex.errors import ConfigError
from faceindex.gallery.exact import widened
from faceindex.gallery.faiss_io import core, list_count
from faceindex.gallery.gpus import Gpus

BLOCK_ROWS = 65_536
"""Vectors added at a time."""

TWO_LEVELS_FROM_LISTS = 2**15
"""From this many lists on they are trained in two levels."""


def train(index: Any, sample: NDArray[np.float16], seed: int, threads: int, gpus: Gpus | None = None) -> None:
    """Train an index; the same sample and seed give the same index, whatever the number of threads.

    Args:
        index: empty.
        sample: float16 (n, d).
        seed: of k-means.
        threads: for what is done on the CPU.
        gpus: find the centroids of lists; None for the CPU. Theirs differ by rounding.

    Raises:
        ConfigError: the index cannot be trained on this sample.
    """
    import faiss

    faiss.omp_set_num_threads(threads)
    kind = core(index)
    if isinstance(kind, faiss.IndexIVF):
        kind.cp.seed = seed
        kind.cp.min_points_per_centroid = 1  # what is enough is decided in `recipe`; FAISS would warn on stderr
        if hasattr(kind, "pq"):
            kind.pq.cp.min_points_per_centroid = 1
    wide = widened(sample)
    try:
        if isinstance(kind, faiss.IndexIVF):
            if kind is index and kind.nlist >= TWO_LEVELS_FROM_LISTS:
                kind.quantizer.add(_two_levels(wide, int(kind.nlist), seed, gpus))
            clustering = _assigner(kind.d, gpus)
            kind.clustering_index = clustering
        index.train(wide)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].rpartition(".cpp:")[2]
        raise ConfigError(f"the index cannot be trained on {len(sample)} faces: {reason}; choose another") from error


def _assigner(dimension: int, gpus: Gpus | None) -> Any:
    """Return the empty index by which k-means finds the nearest centroids."""
    import faiss

    flat = faiss.IndexFlatL2(dimension)
    return gpus.spread(flat) if gpus and gpus.count else flat


def _two_levels(sample: NDArray[np.float32], lists: int, seed: int, gpus: Gpus | None) -> NDArray[np.float32]:
    """Return the centroids of very many lists, float32 (lists, d): those of clusters, and of clusters within them.

    One k-means over all lists compares every face with every centroid; this one with twice the square root of their
    number, as the baseline of the billion-scale benchmark of NeurIPS 2021 does.
    """
    upper, assigner = _kmeans(sample, round(lists**0.5), seed, gpus)
    _, nearest_upper = assigner.search(sample, 1)
    counts = np.bincount(nearest_upper[:, 0], minlength=len(upper))
    # Each cluster gets lists by its faces and at least one; what rounding leaves over goes where it lost most, and what
    # the least ones took is taken from the largest.
    wanted = counts * lists / len(sample)
    shares = np.maximum(1, wanted.astype(np.int64))
    missing = lists - int(shares.sum())
    if missing > 0:
        shares[np.argsort(shares - wanted, kind="stable")[:missing]] += 1
    for _ in range(-missing):
        shares[np.argmax(shares)] -= 1
    parts = []
    for cluster, share in enumerate(shares):
        members = sample[nearest_upper[:, 0] == cluster]
        parts.append(_kmeans(members, int(share), seed, gpus)[0] if len(members) else upper[[cluster]])
    return np.concatenate(parts)


def _kmeans(points: NDArray[np.float32], count: int, seed: int, gpus: Gpus | None) -> tuple[NDArray[np.float32], Any]:
    """Return centroids float32 (count, d), and an index that finds the nearest one."""
    import faiss

    clustering = faiss.Clustering(points.shape[1], count)
    clustering.niter, clustering.seed = 10, seed
    clustering.min_points_per_centroid, clustering.max_points_per_centroid = 1, 256
    assigner = _assigner(points.shape[1], gpus)
    clustering.train(points, assigner)
    return faiss.vector_to_array(clustering.centroids).reshape(count, -1), assigner


def fill(index: Any, vectors: NDArray[np.float16], threads: int, gpus: Gpus | None = None) -> None:
    """Add vectors; the i-th gets the number i.

    Args:
        index: trained.
        vectors: float16 (n, d).
        threads: for what is done on the CPU.
        gpus: find the nearest list of each, which takes the most time; None for the CPU. Only a vector that is as near
            to two centroids, but for rounding, may come into another list.
    """
    import faiss

    # Graphs come out different when several threads insert.
    faiss.omp_set_num_threads(threads if list_count(index) else 1)
    with _lists_found_by(index, gpus):
        for start in range(0, len(vectors), BLOCK_ROWS):
            index.add(widened(vectors[start : start + BLOCK_ROWS]))


@contextmanager
def _lists_found_by(index: Any, gpus: Gpus | None) -> Iterator[None]:
    """Let GPUs find the list of each vector that is added; for codes of whole vectors, which need nothing else of it.

    A graph of very many centroids stands for them when lists are found on a CPU; GPUs compare with all of them.
    """
    import faiss

    kind = core(index)
    if not gpus or not gpus.count or not isinstance(kind, faiss.IndexIVFPQFastScan) or kind.by_residual:
        yield
        return
    quantizer = faiss.downcast_index(kind.quantizer)
    flat = faiss.downcast_index(quantizer.storage) if isinstance(quantizer, faiss.IndexHNSW) else quantizer
    copies = gpus.spread(flat)
    kind.quantizer = copies
    try:
        yield
    finally:
        kind.quantizer = quantizer
