"""How similar faces of one person are and faces of two: cosines of labelled faces, each person counted once.

Knows unit vectors and subject numbers; nothing of thresholds, files or models.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from faceindex.arrays import require
from faceindex.errors import ConfigError, ShapeError
from faceindex.faces.compiled import compiled

BINS = 20_000
EDGES = np.linspace(-1.0, 1.0, BINS + 1)
"""Cosines are counted in bins 0.0001 wide, a tenth of the smallest step that matters to an error rate."""

BLOCK_ROWS = 512
BLOCK_CELLS = 2**23
"""Probes and comparisons at a time, at most: 32 MB, however many faces there are."""


@dataclass(frozen=True, eq=False)
class BalancedScores:
    """Distribution of the cosines of all pairs of labelled faces.

    Balanced over people: a mated pair of a person with n faces weighs 1 / (n (n - 1) / 2), a non-mated pair of two
    people 1 / (n_i n_j). Without it the few people with hundreds of photos decide every rate: one man owns more than
    half of the mated pairs of LFW.
    """

    mated: NDArray[np.float64]
    """Share of the mated pairs in each bin, float64 (BINS,); all zero when nobody has two faces."""
    nonmated: NDArray[np.float64]
    """Share of the non-mated pairs in each bin, float64 (BINS,)."""
    subject_count: int
    mated_subject_count: int
    """People with two faces or more."""
    image_count: int
    mated_count: int
    """Pairs of faces of one person."""

    @property
    def nonmated_count(self) -> int:
        """Pairs of faces of two people."""
        return self.image_count * (self.image_count - 1) // 2 - self.mated_count

    @property
    def person_pair_count(self) -> int:
        """Pairs of two people: what the non-mated rates rest on, however many photos each has."""
        return self.subject_count * (self.subject_count - 1) // 2

    @cached_property
    def fmr(self) -> NDArray[np.float64]:
        """False match rate at each of EDGES as threshold, float64 (BINS + 1,), falling from 1 to 0."""
        rates = np.append(np.cumsum(self.nonmated[::-1])[::-1], 0.0)
        return np.minimum.accumulate(rates / rates[0])

    @cached_property
    def fnmr(self) -> NDArray[np.float64]:
        """False non-match rate at each of EDGES as threshold, float64 (BINS + 1,), rising from 0 to 1."""
        return np.concatenate([[0.0], np.minimum(np.cumsum(self.mated), 1.0)])

    def edge_at(self, fmr: float) -> int:
        """Return the place in EDGES of the lowest threshold whose false match rate is at most this."""
        return int(np.argmax(self.fmr <= fmr * (1 + 1e-9)))  # sums of weights are not exact

    def thresholds_at(self, rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the thresholds whose false match rates are these, linear within a bin, float64 (r,)."""
        falling = np.flatnonzero(np.append(np.diff(self.fmr) < 0, True))
        return np.asarray(np.interp(rates, self.fmr[falling][::-1], EDGES[falling][::-1]), np.float64)


def balanced_scores(
    vectors: NDArray[np.float32], subjects: NDArray[np.int64], *, balanced: bool = True
) -> BalancedScores:
    """Return the distribution of the cosines of all pairs, block by block.

    Args:
        vectors: float32 (n, d), unit length.
        subjects: int64 (n,), equal for faces of one person.
        balanced: False gives every pair the same weight, as protocols do that are older than this insight.

    Raises:
        ShapeError: an array has the wrong shape or dtype.
        ConfigError: fewer than two people.
    """
    people = GroupedFaces.of(vectors, subjects)
    sizes = people.sizes
    if len(sizes) < 2:
        raise ConfigError(f"error rates need faces of two people or more, got {len(sizes)}; label more people")
    own_pairs = sizes * (sizes - 1) / 2
    face_weights = np.repeat(1.0 / sizes if balanced else np.ones(len(sizes)), sizes)
    mated_weights = np.repeat(1.0 / np.maximum(own_pairs, 1) if balanced else np.ones(len(sizes)), sizes)
    mated, nonmated = np.zeros(BINS), np.zeros(BINS)
    for start, cosines in score_blocks(people.vectors, people.vectors, later=True):
        _count_bins(cosines, start, people.ends, face_weights, mated_weights, mated, nonmated)
    return BalancedScores(
        mated / max(mated.sum(), 1e-300),
        nonmated / nonmated.sum(),
        subject_count=len(sizes),
        mated_subject_count=int((sizes >= 2).sum()),
        image_count=len(vectors),
        mated_count=int(own_pairs.sum()),
    )


@dataclass(frozen=True, slots=True, eq=False)
class GroupedFaces:
    """Labelled faces in order of their people."""

    vectors: NDArray[np.float32]
    """float32 (n, d), unit length."""
    sizes: NDArray[np.int64]
    """Faces of each person, int64 (people,), in order of subject number."""
    ends: NDArray[np.int64]
    """For each face, the row after the last of its person, int64 (n,)."""
    people: NDArray[np.int64]
    """For each face, its person, counted from 0, int64 (n,)."""

    @classmethod
    def of(cls, vectors: NDArray[np.float32], subjects: NDArray[np.int64]) -> Self:
        """Sort faces by person; raises `ShapeError` when an array has the wrong shape or dtype, or holds NaN."""
        require("vectors", vectors, np.float32, (None, None))
        require("subjects", subjects, np.int64, (len(vectors),))
        if not np.isfinite(vectors).all():
            bad = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
            raise ShapeError(f"vectors must be numbers, row {bad} is not; leave such faces out")
        _, people, sizes = np.unique(subjects, return_inverse=True, return_counts=True)
        order = np.argsort(people, kind="stable")
        ends = np.repeat(np.cumsum(sizes), sizes)
        return cls(vectors[order], sizes.astype(np.int64), ends, people[order].astype(np.int64))


@compiled
def _count_bins(
    cosines: NDArray[np.float32],
    start: int,
    ends: NDArray[np.int64],
    face_weights: NDArray[np.float64],
    mated_weights: NDArray[np.float64],
    mated: NDArray[np.float64],
    nonmated: NDArray[np.float64],
) -> None:
    """Add the pairs of a block to the bins; its rows and columns both begin with face `start`."""
    rows, columns = cosines.shape
    for row in range(rows):
        end = ends[start + row] - start
        for column in range(row + 1, columns):
            place = int((np.float64(cosines[row, column]) + 1.0) * (BINS / 2))
            place = min(max(place, 0), BINS - 1)
            if column < end:
                mated[place] += mated_weights[start + row]
            else:
                nonmated[place] += face_weights[start + row] * face_weights[start + column]


def score_blocks(
    probes: NDArray[np.float32], references: NDArray[np.float32], *, later: bool = False, every: int = 1
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield (first probe, cosines float32 (block, references)) for some probes at a time.

    Args:
        probes: float32 (p, d).
        references: float32 (r, d).
        later: compare with references from the first probe of the block on only: all pairs of one set, once.
        every: make only every so many blocks, where a part of the probes is enough.
    """
    rows = max(1, min(BLOCK_ROWS, BLOCK_CELLS // max(1, len(references))))
    for start in range(0, len(probes), rows * every):
        yield start, probes[start : start + rows] @ references[start if later else 0 :].T


def one_face_each(subjects: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """Return the row of one random face of each person, in order of subject number, int64 (people,)."""
    shuffled = generator.permutation(len(subjects))
    _, first = np.unique(subjects[shuffled], return_index=True)
    return shuffled[first]
