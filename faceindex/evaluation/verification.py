"""1:1 error rates of labelled faces: FMR, FNMR, EER, and the true accept rate at a false accept rate.

A threshold is the lowest of `scores.EDGES` whose FMR is at most what is asked; rates there are counts, not fits. The
words of ISO/IEC 19795-1: FMR is the share of non-mated, FNMR of mated comparisons decided wrongly. What papers call TAR
at FAR is 1 - FNMR at FMR.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceindex.errors import ConfigError
from faceindex.evaluation.intervals import Estimate, mean_over_people, rate_of_pairs, relative_variance
from faceindex.evaluation.scores import EDGES, BalancedScores, GroupedFaces, score_blocks
from faceindex.faces.compiled import compiled

BLOCK_PERSON_PAIRS = 2**22
"""Pairs of people whose shares are held at once, for all thresholds together: 32 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class RatesByPerson:
    """What a threshold does to each person."""

    threshold: float
    false_non_matches: NDArray[np.float64]
    """Share of each person's mated pairs below the threshold, float64 (people with two faces,)."""
    false_matches: NDArray[np.float64]
    """Sum over the other people of the share of pairs at or above, float64 (people,)."""
    squares: float
    """Sum over the pairs of people of that share squared."""
    comparisons: int
    """Non-mated pairs of faces at or above the threshold."""
    person_pairs: int
    """Pairs of people with any of those."""

    def fmr(self) -> tuple[Estimate, float]:
        """Return the false match rate, and the variance of its logarithm."""
        people = len(self.false_matches)
        pairs = people * (people - 1) / 2
        variance = relative_variance(self.false_matches, self.squares)
        return rate_of_pairs(float(self.false_matches.sum()) / 2 / pairs, variance, pairs), variance


@dataclass(frozen=True, slots=True)
class VerificationPoint:
    """A false match rate that was asked for, and what it costs."""

    asked: float
    threshold: float
    fmr: Estimate
    tar: Estimate
    """True accept rate; its interval holds the threshold's uncertainty too."""
    comparisons: int
    """Non-mated comparisons at or above the threshold."""
    person_pairs: int
    """Pairs of people among them: under ten, the rate is hardly measured."""


def rates_by_person(
    vectors: NDArray[np.float32], subjects: NDArray[np.int64], thresholds: list[float]
) -> list[RatesByPerson]:
    """Return what each threshold does to each person; every pair of faces is compared once.

    Args:
        vectors: float32 (n, d), unit length.
        subjects: int64 (n,), equal for faces of one person.
        thresholds: ascending.
    """
    faces = GroupedFaces.of(vectors, subjects)
    count, levels = len(faces.sizes), np.array(thresholds)
    own_pairs = faces.sizes * (faces.sizes - 1) // 2
    matches = np.zeros((len(levels), count))
    shares = np.zeros((len(levels), count))
    squares, comparisons, pairs = np.zeros(len(levels)), np.zeros(len(levels), np.int64), np.zeros(len(levels), int)
    for first, last, rows in _groups_of_people(faces, len(levels)):
        held = np.zeros((len(levels), last - first, count - first))
        for start, cosines in score_blocks(faces.vectors[rows], faces.vectors[rows.start :]):
            _count_people(cosines, start, rows.start, faces.ends, faces.people, levels, matches, held, comparisons)
        held /= (faces.sizes[first:last, None] * faces.sizes[None, first:])[None]
        shares[:, first:last] += held.sum(axis=2)
        shares[:, first:] += held.sum(axis=1)
        squares += np.einsum("kij,kij->k", held, held)
        pairs += np.count_nonzero(held, axis=(1, 2))
    several = own_pairs > 0
    return [
        RatesByPerson(
            threshold=thresholds[k],
            false_non_matches=1.0 - matches[k, several] / own_pairs[several],
            false_matches=shares[k],
            squares=float(squares[k]),
            comparisons=int(comparisons[k]),
            person_pairs=int(pairs[k]),
        )
        for k in range(len(thresholds))
    ]


def _groups_of_people(faces: GroupedFaces, levels: int) -> Iterator[tuple[int, int, slice]]:
    """Yield (first person, person after the last, their rows)."""
    count = len(faces.sizes)
    step = max(1, BLOCK_PERSON_PAIRS // (levels * count))
    ends = np.concatenate([[0], np.cumsum(faces.sizes)])
    for first in range(0, count, step):
        last = min(first + step, count)
        yield first, last, slice(int(ends[first]), int(ends[last]))


@compiled
def _count_people(
    cosines: NDArray[np.float32],
    start: int,
    origin: int,
    ends: NDArray[np.int64],
    people: NDArray[np.int64],
    thresholds: NDArray[np.float64],
    matches: NDArray[np.float64],
    held: NDArray[np.float64],
    comparisons: NDArray[np.int64],
) -> None:
    """Add a block's pairs at or above each threshold to `matches` (mated) and `held` (non-mated).

    Columns begin with face `origin`, rows with the face `start` after it.
    """
    rows, columns = cosines.shape
    lowest, first = thresholds[0], people[origin]
    for row in range(rows):
        face = origin + start + row
        person, end = people[face], ends[face] - origin
        for column in range(start + row + 1, columns):
            score = np.float64(cosines[row, column])
            if score < lowest:
                continue
            for level in range(len(thresholds)):
                if score < thresholds[level]:
                    break
                if column < end:
                    matches[level, person] += 1
                else:
                    held[level, person - first, people[origin + column] - first] += 1
                    comparisons[level] += 1


def operating_points(
    vectors: NDArray[np.float32], subjects: NDArray[np.int64], scores: BalancedScores, fmrs: list[float]
) -> tuple[list[VerificationPoint], Estimate]:
    """Return the operating point of each false match rate, and the equal error rate.

    Args:
        vectors: float32 (n, d), unit length.
        subjects: int64 (n,), equal for faces of one person.
        scores: of the same faces, balanced.
        fmrs: descending, none below one in the pairs of people.

    Raises:
        ConfigError: nobody has two faces.
    """
    if scores.mated_subject_count == 0:
        raise ConfigError("error rates need people with two faces or more, got none; label more photos of a person")
    equal = int(np.argmax(scores.fnmr >= scores.fmr))
    places = [equal, *(scores.edge_at(fmr) for fmr in fmrs)]
    distinct = sorted(set(places))
    found = dict(zip(distinct, rates_by_person(vectors, subjects, [float(EDGES[p]) for p in distinct]), strict=True))
    points = [_point(scores, asked, found[place]) for asked, place in zip(fmrs, places[1:], strict=True)]
    return points, _equal_error_rate(scores, equal, found[equal])


def _point(scores: BalancedScores, asked: float, rates: RatesByPerson) -> VerificationPoint:
    fmr, variance = rates.fmr()
    # What TAR would be, were FMR a standard deviation higher or lower than it seems.
    sd = math.sqrt(min(variance, 1.0))
    lower, higher = (1.0 - scores.fnmr[scores.edge_at(asked * math.exp(shift))] for shift in (-sd, sd))
    tar = mean_over_people(1.0 - rates.false_non_matches, float((higher - lower) / 2) ** 2)
    return VerificationPoint(asked, rates.threshold, fmr, tar, rates.comparisons, rates.person_pairs)


def _equal_error_rate(scores: BalancedScores, place: int, rates: RatesByPerson) -> Estimate:
    """Return the mean of FMR and FNMR where they cross; each moves the crossing by the other's share of the slope."""
    fmr, variance = rates.fmr()
    fnmr = mean_over_people(rates.false_non_matches)
    low, high = max(place - 20, 0), min(place + 20, len(EDGES) - 1)
    falls, rises = float(scores.fmr[low] - scores.fmr[high]), float(scores.fnmr[high] - scores.fnmr[low])
    share = rises / (rises + falls) if rises + falls > 0 else 0.5
    value = (fmr.value + fnmr.value) / 2
    people = len(rates.false_non_matches)
    spread = float(rates.false_non_matches.var(ddof=1)) / people if people > 1 else 0.25
    variance = (share * fmr.value) ** 2 * min(variance, 1.0) + (1 - share) ** 2 * spread
    return rate_of_pairs(value, variance / value**2 if value > 0 else math.inf, people)
