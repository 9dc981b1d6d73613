"""The only module that speaks to FAISS: makes, trains, fills, stores, opens and searches an index.

Vectors have unit length and every index measures squared Euclidean distance, which orders them as the cosine does.
Under FAISS's inner product four-bit product quantisers lose far more: on a million synthetic faces, IVF4096,PQ64x4fs,
256 lists and 400 candidates, recall@10 is 0.83, against 0.96.

FAISS serialises into memory and our callers write: `faiss.write_index` reports success on a full disk. It loads
damaged files without complaint, too, so callers check hashes first.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceindex.errors import ConfigError, DamagedError
from faceindex.gallery.exact import widened

BLOCK_ROWS = 65_536

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
    kind = _core(index)
    if type(kind).__name__ not in SERVING or (isinstance(kind, faiss.IndexIVF) and kind.nlist < 1):
        raise ConfigError(
            f"index must be exact, an inverted file (IVF...) or a graph (HNSW...), got {factory!r}, which is "
            f"{type(kind).__name__}; leave out RFlat, Refine and IDMap: results are always re-ranked exactly"
        )
    return index


def list_count(index: Any) -> int:
    """Return how many inverted lists an index has; 0 for a graph."""
    kind = _core(index)
    return int(kind.nlist) if isinstance(kind, _faiss().IndexIVF) else 0


def code_bits(index: Any) -> int:
    """Return how many bits an index keeps of a vector."""
    kind = _core(index)
    coded = kind if isinstance(kind, _faiss().IndexIVF) else _faiss().downcast_index(kind.storage)
    return 8 * int(coded.code_size)


def centroid_count(index: Any) -> int:
    """Return the size of the largest k-means an index is trained by; 0 when it needs no training."""
    if index.is_trained:
        return 0
    kind = _core(index)
    if kind is not index or not isinstance(kind, _faiss().IndexIVF):
        return max(256, list_count(index))  # OPQ and PQ graphs train codebooks of eight bits
    return max(int(kind.nlist), 2 ** int(kind.pq.nbits) if hasattr(kind, "pq") else 0)


def train(index: Any, sample: NDArray[np.float16], seed: int, threads: int) -> None:
    """Train an index; the same sample and seed give the same index, whatever the number of threads.

    Raises:
        ConfigError: the index cannot be trained on this sample.
    """
    faiss = _faiss()
    faiss.omp_set_num_threads(threads)
    kind = _core(index)
    if isinstance(kind, faiss.IndexIVF):
        kind.cp.seed = seed
        kind.cp.min_points_per_centroid = 1  # what is enough is decided in `recipe`; FAISS would warn on stderr
        if hasattr(kind, "pq"):
            kind.pq.cp.min_points_per_centroid = 1
    try:
        index.train(widened(sample))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].rpartition(".cpp:")[2]
        raise ConfigError(f"the index cannot be trained on {len(sample)} faces: {reason}; choose another") from error


def fill(index: Any, vectors: NDArray[np.float16], threads: int) -> None:
    """Add vectors; the i-th gets the number i."""
    # Graphs come out different when several threads insert.
    _faiss().omp_set_num_threads(threads if list_count(index) else 1)
    for start in range(0, len(vectors), BLOCK_ROWS):
        index.add(widened(vectors[start : start + BLOCK_ROWS]))


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


def nearest(
    index: Any, probes: NDArray[np.float32], depth: int, nprobe: int, alive: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the `depth` nearest vectors of each probe, in the calling thread.

    Args:
        index: of `open_index`.
        probes: float32 (q, d).
        depth: how many.
        nprobe: inverted lists visited.
        alive: bool (n,), which vectors may be returned; None for all.

    Returns:
        Squared distances, as good as the index's codes, float32 (q, depth), and vector numbers, int64 (q, depth);
        inf and -1 where there is none.
    """
    faiss = _faiss()
    faiss.omp_set_num_threads(1)
    options = {} if alive is None else {"sel": faiss.IDSelectorBitmap(np.packbits(alive, bitorder="little"))}
    lists = list_count(index)
    if lists:
        parameters = faiss.SearchParametersIVF(nprobe=min(nprobe, lists), **options)
    else:
        parameters = faiss.SearchParametersHNSW(efSearch=depth, **options)
    if isinstance(index, faiss.IndexPreTransform):
        parameters = faiss.SearchParametersPreTransform(index_params=parameters)
    distances, rows = index.search(probes, depth, params=parameters)
    distances[rows < 0] = np.inf
    return distances, rows


def _core(index: Any) -> Any:
    """Return the index behind transforms of its vectors, such as OPQ."""
    faiss = _faiss()
    while isinstance(index, faiss.IndexPreTransform):
        index = faiss.downcast_index(index.index)
    return index
