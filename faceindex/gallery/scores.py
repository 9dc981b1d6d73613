"""Scores of pairs and their order: the one place where similarities are made, and the one rule by which they rank.

A score depends on its two vectors alone: it is computed in float64 and rounded to float32, and ties stand in order of
face id. So answers do not depend on blocks, shards, threads or the kind of index.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from faceindex.faces.compiled import compiled

AHEAD = 128
"""Pairs whose stored vectors are asked for before the first is used: rows of a mapped file are far apart in memory, and
waiting for them one by one takes four times as long."""

CACHE_LINE_HALVES = 32
"""float16 numbers in 64 bytes."""


def cosines(
    left: NDArray[np.float32], left_rows: NDArray[np.int64], right: NDArray[np.float16], right_rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the cosine similarity of each pair of rows, float32 (m,); -inf where there is no row.

    Args:
        left: float32 (q, d).
        left_rows: int64 (m,) into `left`.
        right: float16 (n, d), finite.
        right_rows: int64 (m,) into `right`; -1 for none.
    """
    wide = left.astype(np.float64)
    similarities = np.empty(len(right_rows), np.float32)
    bits = np.ascontiguousarray(right).view(np.int16)
    _score_pairs(wide, np.einsum("ij,ij->i", wide, wide), left_rows, bits, right_rows, similarities)
    return similarities


@numba.njit(nogil=True, fastmath={"reassoc", "nsz"})
def _products(numbers, probe):  # type: ignore[no-untyped-def]
    """Return the dot product of two vectors, and of the first with itself; sums may be split into lanes."""
    dot, square = 0.0, 0.0
    for place in range(len(probe)):
        number = np.float64(numbers[place])
        dot += number * probe[place]
        square += number * number
    return dot, square


@compiled
def _score_pairs(
    probes: NDArray[np.float64],
    squares: NDArray[np.float64],
    probe_rows: NDArray[np.int64],
    bits: NDArray[np.int16],
    rows: NDArray[np.int64],
    similarities: NDArray[np.float32],
) -> int:
    """Fill `similarities`; returns a number without meaning, so that asking for memory ahead is not optimised away."""
    dimension = probes.shape[1]
    # The bits of a half, moved to where a float32 keeps them, are the same number times 2**-112, and a cosine does not
    # depend on the length of a vector.
    widened = np.empty(dimension, np.int32)
    numbers = widened.view(np.float32)
    asked = 0
    for start in range(0, len(rows), AHEAD):
        stop = min(start + AHEAD, len(rows))
        for pair in range(start, stop):
            if rows[pair] >= 0:
                for place in range(0, dimension, CACHE_LINE_HALVES):
                    asked += bits[rows[pair], place]
        for pair in range(start, stop):
            row, probe = rows[pair], probe_rows[pair]
            if row < 0:
                similarities[pair] = -np.inf
                continue
            for place in range(dimension):
                widened[place] = (np.int32(bits[row, place]) << 13) & np.int32(-0x70002000)
            dot, square = _products(numbers, probes[probe])
            similarities[pair] = min(max(dot / np.sqrt(square * squares[probe]), -1.0), 1.0)
    return asked


def best_rows(
    similarities: NDArray[np.float32], rows: NDArray[np.int64], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the k best scores of each probe and their rows, ties in order of row.

    Args:
        similarities: float32 (q, n); -inf where there is nothing.
        rows: int64 (q, n), less than 2**32; of one shard, where the order of rows is that of face ids.
        k: how many.

    Returns:
        float32 (q, m) and int64 (q, m), m the smaller of n and k; -inf and any row where there is nothing.
    """
    # One unsigned integer holds both: numpy sorts those with vector instructions.
    bits = (-similarities + np.float32(0)).view(np.uint32)
    keys = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)
    keys <<= 32
    keys |= rows.astype(np.uint64) & np.uint64(0xFFFFFFFF)
    if k < keys.shape[1]:
        keys = np.partition(keys, k - 1, axis=1)[:, :k]
    keys = np.sort(keys, axis=1)
    bits = (keys >> np.uint64(32)).astype(np.uint32)
    scores = np.where(bits >> 31, bits & np.uint32(0x7FFFFFFF), ~bits).view(np.float32)
    return np.float32(0) - scores, (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


def merged(
    similarities: NDArray[np.float32], face_ids: NDArray[np.bytes_], k: int
) -> tuple[NDArray[np.float32], NDArray[np.bytes_]]:
    """Return the k best candidates of each probe out of those of several shards.

    Args:
        similarities: float32 (q, n); -inf where there is none.
        face_ids: S16 (q, n).
        k: how many.
    """
    # Two unsigned integers sort faster than sixteen bytes, in the same order.
    halves = face_ids.view(">u8").astype(np.uint64).reshape(*face_ids.shape, 2)
    order = np.lexsort((halves[..., 1], halves[..., 0], -similarities), axis=1)[:, :k]
    return np.take_along_axis(similarities, order, axis=1), np.take_along_axis(face_ids, order, axis=1)
