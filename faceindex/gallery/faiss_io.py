"""Makes, stores, opens and searches an index; with `training` and `gpus`, the only module that speaks to FAISS.

Vectors have unit length and every index measures squared Euclidean distance, which orders them as the cosine does.
Under FAISS's inner product four-bit product quantisers lose far more: on a million synthetic faces, IVF4096,PQ64x4fs,
256 lists and 400 candidates, recall@10 is 0.83, against 0.96.

FAISS serialises into memory and our callers write: `faiss.write_index` reports success on a full disk. It loads
damaged files without complaint, too, so callers check hashes first.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceindex.errors import ConfigError, DamagedError

SERVING = frozenset(
    {
        "IndexIVFFlat",
        "IndexIVFScalarQuantizer",
        "IndexIVFPQ",
        "IndexIVFPQFastScan",
        "IndexIVFRaBitQ",
        "IndexIVFRaBitQFastScan",
        "IndexHNSWFlat",
        "IndexHNSWSQ",
        "IndexHNSWPQ",
    }
)
"""Kinds of index that leave out dead faces while they search and number vectors as they are added; tested to do so."""


def _faiss() -> Any:
    """Return the module. It takes half a second to load, which exact galleries are spared."""
    import faiss

    return faiss


def new_index(factory: str, dimension: int) -> Any:
    """Return an empty, untrained index.

    Raises:
        ConfigError: FAISS does not know the string, or the index cannot do what a gallery needs: leave dead faces
            out while it searches, and number its vectors in the order they are added.
    """
    faiss = _faiss()
    try:
        index = faiss.index_factory(dimension, factory, faiss.METRIC_L2)
    except (RuntimeError, MemoryError) as error:
        reason = (
            (str(error).strip() or "out of memory").splitlines()[-1].rpartition("Error: ")[2].rpartition(".cpp:")[2]
        )
        raise ConfigError(
            f"index must be auto, exact or a FAISS factory string such as IVF1024,PQ64x4fs, got {factory!r}, which "
            f"FAISS refuses for vectors of {dimension} numbers: {reason}"
        ) from error
    kind = core(index)
    if type(kind).__name__ not in SERVING or (isinstance(kind, faiss.IndexIVF) and kind.nlist < 1):
        raise ConfigError(
            f"index must be exact, an inverted file (IVF...) or a graph (HNSW...), got {factory!r}, which is "
            f"{type(kind).__name__}; leave out RFlat, Refine and IDMap: results are always re-ranked exactly"
        )
    return index


def list_count(index: Any) -> int:
    """Return how many inverted lists an index has; 0 for a graph."""
    kind = core(index)
    return int(kind.nlist) if isinstance(kind, _faiss().IndexIVF) else 0


def code_bits(index: Any) -> int:
    """Return how many bits an index keeps of a vector."""
    kind = core(index)
    coded = kind if isinstance(kind, _faiss().IndexIVF) else _faiss().downcast_index(kind.storage)
    return 8 * int(coded.code_size)


def centroid_count(index: Any) -> int:
    """Return the size of the largest k-means an index is trained by; 0 when it needs no training."""
    if index.is_trained:
        return 0
    kind = core(index)
    if kind is not index or not isinstance(kind, _faiss().IndexIVF):
        return max(256, list_count(index))  # OPQ and PQ graphs train codebooks of eight bits
    return max(int(kind.nlist), 2 ** int(kind.pq.nbits) if hasattr(kind, "pq") else 0)


def to_bytes(index: Any) -> bytes:
    """Return an index as a file holds it."""
    return bytes(_faiss().serialize_index(index))


def from_bytes(data: bytes) -> Any:
    """Return a private index, to be filled."""
    return _faiss().deserialize_index(np.frombuffer(data, np.uint8))


def emptied(path: Path) -> bytes:
    """Return the trained index that a stored one was filled from; raises what `open_index` raises."""
    index = open_index(path)
    index.reset()
    return to_bytes(index)


def open_index(path: Path) -> Any:
    """Return a stored index, in memory: FAISS 1.15 copies the lists of fast-scan codes even when it maps the file.

    Raises:
        DamagedError: FAISS cannot read it.
    """
    try:
        return _faiss().read_index(str(path))
    except RuntimeError as error:
        raise DamagedError(f"{path} is not an index that FAISS reads; run `faceindex check`") from error


def centroids_of(index: Any) -> NDArray[np.float32] | None:
    """Return the centroids of an index's lists, float32 (lists, d); None when only FAISS can rank them.

    Four-bit codes of whole vectors are scanned from the numbers of the lists alone. Codes of residuals need distances
    to the centroids too, and graphs of centroids are there to be asked.
    """
    faiss = _faiss()
    if not isinstance(index, faiss.IndexIVFPQFastScan) or index.by_residual:
        return None
    quantizer = faiss.downcast_index(index.quantizer)
    if not isinstance(quantizer, faiss.IndexFlat):
        return None
    centroids: NDArray[np.float32] = quantizer.reconstruct_n(0, quantizer.ntotal)
    return centroids


def fault_of(index: Any) -> str | None:
    """Return why an index cannot serve: it is not trained, or measures another distance; None when it can."""
    faiss = _faiss()
    for layer in (index, core(index)):
        if not layer.is_trained:
            return "is not trained"
        if layer.metric_type != faiss.METRIC_L2:
            return (
                f"was wanted with FAISS's metric {faiss.METRIC_L2} (squared Euclidean), got metric {layer.metric_type}"
            )
    return None


def list_sizes(indexes: Sequence[Any]) -> NDArray[np.int64]:
    """Return how many faces each inverted list has in all of these indexes together; none for graphs."""
    faiss = _faiss()
    kinds = [core(index) for index in indexes]
    lists = [kind.invlists for kind in kinds if isinstance(kind, faiss.IndexIVF)]
    sizes = [[one.list_size(number) for number in range(one.nlist)] for one in lists]
    return np.sum(sizes, axis=0, dtype=np.int64) if sizes else np.empty(0, np.int64)


def numbers(index: Any) -> NDArray[np.int64] | None:
    """Return the numbers of all vectors in an index's lists, int64 (n,), list by list; None for graphs."""
    faiss = _faiss()
    kind = core(index)
    if not isinstance(kind, faiss.IndexIVF):
        return None
    lists = kind.invlists
    parts = [faiss.rev_swig_ptr(lists.get_ids(at), lists.list_size(at)) for at in range(lists.nlist)]
    return np.concatenate([np.empty(0, np.int64), *parts])


def quantisation_error(index: Any, vectors: NDArray[np.float32]) -> float:
    """Return how badly what an index was trained for fits vectors, float32 (n, d).

    The mean squared distance from what their product codes stand for; from the nearest centroid where codes are of
    residuals or of single numbers; 0 for graphs. (FAISS 1.15's own `sa_decode` crashes for some fast-scan indexes.)
    """
    faiss = _faiss()
    while isinstance(index, faiss.IndexPreTransform):
        for place in range(index.chain.size()):
            vectors = index.chain.at(place).apply(vectors)
        index = faiss.downcast_index(index.index)
    if not isinstance(index, faiss.IndexIVF):
        return 0.0
    if hasattr(index, "pq") and not index.by_residual:
        difference = index.pq.decode(index.pq.compute_codes(vectors)) - vectors
        return float(np.einsum("ij,ij->i", difference, difference).mean())
    return float(index.quantizer.search(vectors, 1)[0].mean())


def affine_map(
    matrix: NDArray[np.float32], offsets: NDArray[np.float32]
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return the function x -> x @ matrix.T + offsets, done in the calling thread alone.

    numpy's own matrix product starts threads of its own, which stand in each other's way when several searches run.

    Args:
        matrix: float32 (m, d).
        offsets: float32 (m,).
    """
    faiss = _faiss()
    transform = faiss.LinearTransform(matrix.shape[1], matrix.shape[0], True)
    faiss.copy_array_to_vector(matrix.ravel(), transform.A)
    faiss.copy_array_to_vector(offsets, transform.b)
    transform.is_trained = True

    def apply(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        faiss.omp_set_num_threads(1)
        mapped: NDArray[np.float32] = transform.apply(vectors)
        return mapped

    return apply


def nearest(
    index: Any,
    probes: NDArray[np.float32],
    depth: int,
    nprobe: int,
    allowed: NDArray[np.uint8] | None,
    lists: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the `depth` nearest vectors of each probe, in the calling thread.

    Args:
        index: of `open_index`.
        probes: float32 (q, d).
        depth: how many.
        nprobe: inverted lists visited.
        allowed: uint8, bits that tell which vectors may be returned, lowest first; None for all.
        lists: int64 (q, nprobe), which lists to visit, for an index that `centroids_of` has an answer for.

    Returns:
        Squared distances, as good as the index's codes, float32 (q, depth), and vector numbers, int64 (q, depth);
        inf and -1 where there is none.
    """
    faiss = _faiss()
    faiss.omp_set_num_threads(1)
    options = {} if allowed is None else {"sel": faiss.IDSelectorBitmap(allowed)}
    list_total = list_count(index)
    if list_total:
        parameters = faiss.SearchParametersIVF(nprobe=min(nprobe, list_total), **options)
    else:
        parameters = faiss.SearchParametersHNSW(efSearch=depth, **options)
    if isinstance(index, faiss.IndexPreTransform):
        parameters = faiss.SearchParametersPreTransform(index_params=parameters)
    if lists is None:
        distances, rows = index.search(probes, depth, params=parameters)
    else:
        # FAISS's own wrapper of this call takes no parameters.
        distances, rows = np.empty((len(probes), depth), np.float32), np.empty((len(probes), depth), np.int64)
        arrays = (np.ascontiguousarray(probes), lists, np.zeros(lists.shape, np.float32), distances, rows)
        x, visited, unused, found, numbers = (faiss.swig_ptr(array) for array in arrays)
        index.search_preassigned_c(len(probes), x, depth, visited, unused, found, numbers, False, parameters)
    distances[rows < 0] = np.inf
    return distances, rows


def core(index: Any) -> Any:
    """Return the index behind transforms of its vectors, such as OPQ."""
    faiss = _faiss()
    while isinstance(index, faiss.IndexPreTransform):
        index = faiss.downcast_index(index.index)
    return index
