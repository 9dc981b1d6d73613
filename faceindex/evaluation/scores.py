"""How similar faces of one person are and faces of two: cosines of labelled faces, each person counted once.

Knows unit vectors and subject numbers; nothing of thresholds, files or models.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from faceindex.arrays import require
from faceindex.errors import ConfigError

BINS = 20_000
EDGES = np.linspace(-1.0, 1.0, BINS + 1)
"""Cosines are counted in bins 0.0001 wide, a tenth of the smallest step that matters to an error rate."""

BLOCK_ROWS = 512
"""Probes compared at a time: with 10,000 faces some 100 MB."""


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

    @property
    def person_pair_count(self) -> int:
        """Pairs of two people: what the non-mated rates rest on, however many photos each has."""
        return self.subject_count * (self.subject_count - 1) // 2

    @cached_property
    def fmr(self) -> NDArray[np.float64]:
        """False match rate at each of EDGES as threshold, float64 (BINS + 1,), falling from 1 to 0."""
        rates = np.append(np.cumsum(self.nonmated[::-1])[::-1], 0.0)
        return np.minimum.accumulate(rates / rates[0])

    def thresholds_at(self, rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the thresholds whose false match rates are these, linear within a bin, float64 (r,)."""
        falling = np.flatnonzero(np.append(np.diff(self.fmr) < 0, True))
        return np.asarray(np.interp(rates, self.fmr[falling][::-1], EDGES[falling][::-1]), np.float64)


def balanced_scores(vectors: NDArray[np.float32], subjects: NDArray[np.int64]) -> BalancedScores:
    """Return the distribution of the cosines of all pairs, block by block.

    Args:
        vectors: float32 (n, d), unit length.
        subjects: int64 (n,), equal for faces of one person.

    Raises:
        ShapeError: an array has the wrong shape or dtype.
        ConfigError: fewer than two people.
    """
    count = len(vectors)
    require("vectors", vectors, np.float32, (None, None))
    require("subjects", subjects, np.int64, (count,))
    _, subject_of, sizes = np.unique(subjects, return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        raise ConfigError(f"error rates need faces of two people or more, got {len(sizes)}; label more people")
    images = sizes[subject_of]
    mated_pairs = images * (images - 1) / 2
    mated, nonmated = np.zeros(BINS), np.zeros(BINS)
    for start, cosines in score_blocks(vectors, vectors):
        rows = slice(start, start + len(cosines))
        later = np.arange(start, count) > np.arange(start, start + len(cosines))[:, None]
        same = subject_of[rows, None] == subject_of[None, start:]
        bins = bin_of(cosines[:, start:])
        product = images[rows, None] * images[None, start:]
        pick = later & ~same
        nonmated += np.bincount(bins[pick], 1.0 / product[pick], BINS)
        pick = later & same
        mated += np.bincount(bins[pick], 1.0 / mated_pairs[np.nonzero(pick)[0] + start], BINS)
    mated_subjects = int((sizes >= 2).sum())
    return BalancedScores(
        mated / max(mated_subjects, 1),
        nonmated / nonmated.sum(),
        subject_count=len(sizes),
        mated_subject_count=mated_subjects,
        image_count=count,
    )


def score_blocks(
    probes: NDArray[np.float32], references: NDArray[np.float32]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield (first probe, cosines float32 (block, references)) for BLOCK_ROWS probes at a time."""
    for start in range(0, len(probes), BLOCK_ROWS):
        yield start, probes[start : start + BLOCK_ROWS] @ references.T


def bin_of(cosines: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return the bin of each cosine; rounding may leave one just outside [-1, 1]."""
    return np.asarray(np.clip((cosines + 1.0) * (BINS / 2), 0, BINS - 1), np.int32)


def one_face_each(subjects: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """Return the row of one random face of each person, in order of subject number, int64 (people,)."""
    shuffled = generator.permutation(len(subjects))
    _, first = np.unique(subjects[shuffled], return_index=True)
    return shuffled[first]
