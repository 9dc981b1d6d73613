"""Exact search: true cosine similarities, block by block, with no index.

Exact shards are searched by it, and it is what every index is measured against.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES
from faceindex.gallery.scores import cosines
from faceindex.types import CandidateLists, ModelId

BLOCK_ROWS = 8192
BLOCK_PROBES = 1024
"""A block of float32 scores takes 32 MB."""

UNIT_TOLERANCE = 1e-3
"""Stored vectors are this close to unit length: float16 rounding changes a length by 5e-4 at most."""

MARGIN = 2.5e-3
"""Twice how far a float32 dot product may be from the cosine: UNIT_TOLERANCE, and 2.5e-4 of summation error at 4096
numbers. What is closer than this to the k-th best is scored exactly."""

LOWEST = -2.0
"""Below every cosine."""

Block = tuple[NDArray[np.bytes_], NDArray[np.float16]]
"""Face ids S16 (n,) and their vectors float16 (n, d), unit length."""


def search_exact(blocks: Iterable[Block], probes: NDArray[np.float32], model: ModelId, k: int) -> CandidateLists:
    """Return the k most similar faces of each probe; memory does not grow with the number of faces.

    Args:
        blocks: the faces, in any order and blocks of any size; a face is in one block only.
        probes: float32 (q, d), unit length.
        model: of faces and probes.
        k: candidates for each probe.
    """
    best = Best(len(probes), k)
    for face_ids, vectors in blocks:
        for start in range(0, len(vectors), BLOCK_ROWS):
            _search_block(best, face_ids[start : start + BLOCK_ROWS], vectors[start : start + BLOCK_ROWS], probes)
    return best.candidates(model)


def _search_block(
    best: "Best", face_ids: NDArray[np.bytes_], vectors: NDArray[np.float16], probes: NDArray[np.float32]
) -> None:
    wide = widened(vectors).T
    for start in range(0, len(probes), BLOCK_PROBES):
        part = slice(start, start + BLOCK_PROBES)
        columns, rows = contenders(probes[part] @ wide, best.similarities.shape[1], best.similarities[part, -1])
        columns += start
        best.add(columns, face_ids[rows], cosines(probes, columns, vectors, rows))


class Best:
    """The best candidates of each probe so far.

    Args:
        probe_count: how many probes.
        k: how many candidates each keeps.
    """

    def __init__(self, probe_count: int, k: int) -> None:
        self.face_ids = np.zeros((probe_count, k), f"S{ID_BYTES}")
        """S16 (probes, k), best first; zero where there is none."""
        self.similarities = np.full((probe_count, k), -np.inf, np.float32)
        """float32 (probes, k); -inf where there is none."""

    def add(self, probes: NDArray[np.int64], face_ids: NDArray[np.bytes_], similarities: NDArray[np.float32]) -> None:
        """Let faces compete: the i-th for the list of probe `probes[i]`."""
        touched = np.unique(probes)
        kept_row, kept_rank = np.nonzero(np.isfinite(self.similarities[touched]))
        kept = touched[kept_row], kept_rank
        probes = np.concatenate([kept[0], probes])
        face_ids = np.concatenate([self.face_ids[kept], face_ids])
        similarities = np.concatenate([self.similarities[kept], similarities])
        # Two unsigned integers sort faster than sixteen bytes, in the same order.
        high, low = face_ids.view(">u8").astype(np.uint64).reshape(-1, 2).T
        order = np.lexsort((low, high, -similarities, probes))
        probes = probes[order]
        rank = np.arange(len(order)) - np.searchsorted(probes, probes)
        first = rank < self.similarities.shape[1]
        place = probes[first], rank[first]
        self.face_ids[place] = face_ids[order[first]]
        self.similarities[place] = similarities[order[first]]

    def candidates(self, model: ModelId) -> CandidateLists:
        return CandidateLists(self.face_ids.view(f"V{ID_BYTES}"), self.similarities, model)


def contenders(
    scores: NDArray[np.float32], k: int, floor: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the (row, column) pairs whose exact score may be among the k best of its row.

    Args:
        scores: float32 (q, n), dot products in float32; -inf where there is nothing.
        k: how many are wanted.
        floor: float32 (q,), the k-th best score of each row that is known already, or -inf.
    """
    if scores.shape[1] > k and np.isneginf(floor).any():
        floor = np.maximum(floor, np.partition(scores, -k, axis=1)[:, -k])
    chosen = np.flatnonzero(scores >= np.maximum(floor - MARGIN, LOWEST)[:, np.newaxis])
    rows, columns = np.divmod(chosen, scores.shape[1])
    return rows, columns


def widened(halves: NDArray[np.float16]) -> NDArray[np.float32]:
    """Return finite float16 numbers as float32, three times as fast as `astype`.

    The bits of a half, moved to where a float32 keeps them, are the same number times 2**-112, subnormals included.
    """
    bits = np.ascontiguousarray(halves).view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= np.int32(-0x70002000)  # 0x8fffe000: sign, five bits of exponent, ten of fraction
    numbers = bits.view(np.float32)
    numbers *= np.float32(2.0**112)
    return numbers
