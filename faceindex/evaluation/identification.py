"""1:N open set error rates of labelled faces: FPIR, FNIR, DIR at FPIR, rank-k and CMC, at any gallery size.

Scores are cosines, or normalised as searches are.

One random face of each person is enrolled, every other face of theirs is a mated search, and each person is a stranger
to the galleries of the others. The rates are means over all galleries of N people that can be drawn: how many others
stand above a face decides that mean (hypergeometric), so no gallery is simulated. Choices of the enrolled face are
averaged. FNIR(N, R, T) is the share of mated searches without the right person at rank R or better and at or above T;
people count once, however many faces they have. DIR is 1 - FNIR.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from faceindex.errors import ConfigError
from faceindex.evaluation.intervals import Estimate, mean_over_people, rate_of_pairs
from faceindex.evaluation.open_set import OpenSetRates, no_match_probabilities
from faceindex.evaluation.pairing import Pairing, Pool
from faceindex.evaluation.scores import one_face_each

FPIRS = (0.1, 0.03, 0.01, 0.003, 0.001)
"""Rates that operating points are given for."""


@dataclass(frozen=True, slots=True)
class IdentificationPoint:
    """A false positive identification rate that was asked for, and what it costs at a gallery size."""

    asked: float
    threshold: float
    fpir: Estimate
    dir: Estimate
    """Detection and identification rate at rank 1, 1 - FNIR; its interval holds the threshold's uncertainty too."""
    pairs: int
    """Pairs of people at or above the threshold, mean of the choices of faces."""
    measured: bool
    """False where the threshold follows from the trend of lower ones."""


@dataclass(frozen=True, slots=True, eq=False)
class MatedSearches:
    """Searches of enrolled people, of all choices of the enrolled face."""

    similarities: NDArray[np.float32]
    """To the own enrolled face, float32 (s,)."""
    rivals: NDArray[np.int64]
    """Other people at or above that, of all enrolled, int64 (s,)."""
    people: NDArray[np.int64]
    """Whose face it is, counted from 0 among those with two faces, int64 (s,)."""

    def mean_of_people(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean over each person's searches, float64 (people,)."""
        return np.bincount(self.people, values) / np.bincount(self.people)


@dataclass(frozen=True, eq=False)
class OpenSet:
    """Everything 1:N rates are read from."""

    strangers: OpenSetRates
    mated: MatedSearches
    look_alikes: NDArray[np.int64]
    """Pairs of people (draw, person, other) of the higher similarities, int64 (p, 3)."""
    look_alike_similarities: NDArray[np.float32]
    """Of those pairs, float32 (p,)."""
    draws: int
    gallery_sizes: Sequence[int]
    """Sizes that operating points are given for, ascending."""

    @property
    def others(self) -> int:
        """People a search is compared with at most, besides its own."""
        return self.strangers.others

    @classmethod
    def of_pool(cls, pool: Pool, gallery_sizes: Sequence[int], draws: int = 5, seed: int = 0) -> Self:
        """Search for everybody, as a stranger and as one who is enrolled.

        Args:
            pool: labelled people, enrolled with one face each.
            gallery_sizes: ascending, each from 1 to the number of people less one.
            draws: choices of the enrolled face that are averaged.
            seed: of the choices.

        Raises:
            ConfigError: too few people, or nobody has two faces.
        """
        if len(pool.people) == pool.size:
            raise ConfigError("error rates need people with two faces or more, got none; label more photos of a person")
        strangers = OpenSetRates.of_pool(pool, draws, seed)
        [lowest] = strangers.operating_points(FPIRS[:1], gallery_sizes[0])
        generator = np.random.default_rng(seed)  # the faces OpenSetRates chose
        mated, pairs, similarities = [], [], []
        for draw in range(draws):
            enrolled = one_face_each(pool.people, generator)
            mated.append(_search_enrolled(pool, enrolled))
            found, scored = _pairs_above(pool.strangers_of(enrolled), lowest.threshold)
            pairs.append(np.column_stack([np.full(len(found), draw), found]))
            similarities.append(scored)
        own, rivals, searched = (np.concatenate(parts) for parts in zip(*mated, strict=True))
        several = np.unique(searched, return_inverse=True)[1]
        searches = MatedSearches(own, rivals, several)
        return cls(strangers, searches, np.concatenate(pairs), np.concatenate(similarities), draws, gallery_sizes)

    def points(self, gallery_size: int) -> list[IdentificationPoint]:
        """Return the operating points of one of `gallery_sizes`, one for each of FPIRS."""
        return [
            self._point(asked, point.threshold, gallery_size, point.pairs, not point.extrapolated)
            for asked, point in zip(FPIRS, self.strangers.operating_points(FPIRS, gallery_size), strict=True)
        ]

    def false_negative_rates(self, thresholds: NDArray[np.float64], gallery_size: int) -> NDArray[np.float64]:
        """Return FNIR(N, 1, T) at ascending thresholds, float64 (t,)."""
        first = no_match_probabilities(self.others, gallery_size - 1)[self.mated.rivals]
        own = np.bincount(self.mated.people)
        weights = first / own[self.mated.people] / len(own)
        below = np.searchsorted(thresholds, self.mated.similarities.astype(np.float64), side="right")
        reached = np.bincount(below, weights, len(thresholds) + 1)
        return np.asarray(1.0 - np.cumsum(reached[::-1])[::-1][1:], np.float64)

    def identification_rates(self, gallery_size: int, ranks: int) -> list[Estimate]:
        """Return the share of enrolled people found at rank 1, 2 ... `ranks` or better, whatever the score (CMC)."""
        at_rank = rank_probabilities(self.others, gallery_size - 1, ranks)
        found = np.cumsum(at_rank, axis=0)[:, self.mated.rivals]
        return [mean_over_people(self.mated.mean_of_people(rate)) for rate in found]

    def _point(self, asked: float, threshold: float, size: int, pairs: int, measured: bool) -> IdentificationPoint:
        rate, variance = self._false_positive_rate(threshold, size)
        sd = math.sqrt(min(variance, 1.0))
        shifted = [asked * math.exp(shift) for shift in (-sd, sd)]
        thresholds = [point.threshold for point in self.strangers.operating_points(shifted, size)]
        strict, loose = 1.0 - self.false_negative_rates(np.array(thresholds[::-1]), size)[::-1]
        first = no_match_probabilities(self.others, size - 1)[self.mated.rivals]
        found = np.where(self.mated.similarities >= threshold, first, 0.0)
        dir_ = mean_over_people(self.mated.mean_of_people(found), float((loose - strict) / 2) ** 2)
        return IdentificationPoint(asked, threshold, rate, dir_, pairs, measured)

    def _false_positive_rate(self, threshold: float, gallery_size: int) -> tuple[Estimate, float]:
        """Return FPIR(N, T) and the variance of its logarithm.

        A person counts for the rate by the own searches and by being a look-alike in those of others; the variance is
        that of a U-statistic as in `intervals.relative_variance`.
        """
        people = self.others + 1
        above = self.look_alikes[self.look_alike_similarities >= threshold]
        draw, one, other = above.T
        counts = np.bincount(draw * people + one, minlength=self.draws * people)
        counts += np.bincount(draw * people + other, minlength=self.draws * people)
        found = 1.0 - no_match_probabilities(self.others, gallery_size)
        added = np.diff(found, prepend=0.0)[counts]
        shares = found[counts]
        np.add.at(shares, draw * people + one, added[draw * people + other])
        np.add.at(shares, draw * people + other, added[draw * people + one])
        rate = float(found[counts].mean())
        if rate == 0:
            return rate_of_pairs(0.0, math.inf, people), math.inf
        of_people = shares.reshape(self.draws, people).mean(axis=0)
        both = added[draw * people + one] + added[draw * people + other]
        _, pair = np.unique(one * people + other, return_inverse=True)
        squares = float((np.bincount(pair, both / self.draws) ** 2).sum())
        spread = float(((of_people - of_people.mean()) ** 2).sum())
        variance = (squares + max(spread - 2 * squares, 0.0)) / (rate * people) ** 2
        return rate_of_pairs(rate, variance, people), variance


def rank_probabilities(others: int, gallery_size: int, ranks: int) -> NDArray[np.float64]:
    """Return how often 0, 1 ... `ranks` - 1 of k people are in a gallery of this size, float64 (ranks, others + 1).

    Hypergeometric, for k = 0 ... others; an enrolled person stands at the rank after the rivals in the gallery.
    """
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, others + 1)))])

    def log_choose(n: NDArray[np.int64], k: NDArray[np.int64]) -> NDArray[np.float64]:
        possible = (k >= 0) & (k <= n)
        k = np.where(possible, k, 0)
        ways = log_factorials[n] - log_factorials[k] - log_factorials[n - k]
        return np.where(possible, ways, -np.inf)

    rivals, inside = np.arange(others + 1)[None], np.arange(ranks)[:, None]
    whole = log_choose(np.array(others), np.array(gallery_size))
    return np.exp(log_choose(rivals, inside) + log_choose(others - rivals, gallery_size - inside) - whole)


def _search_enrolled(
    pool: Pool, enrolled: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Search for every face that is not enrolled; return own similarity, rivals and person of each."""
    probes = np.setdiff1d(np.arange(len(pool.people)), enrolled)
    people = pool.people[probes]
    own, rivals = np.empty(len(probes), np.float32), np.empty(len(probes), np.int64)
    pairing = Pairing(
        pool.vectors[probes], pool.vectors[enrolled], people, None, pool.cohort, pool.members, strangers=False
    )
    for start, scores in pairing.blocks():
        rows = slice(start, start + len(scores))
        own[rows] = np.take_along_axis(scores, people[rows, None], axis=1)[:, 0]
        rivals[rows] = (scores >= own[rows, None]).sum(axis=1) - 1
    return own, rivals, people


def _pairs_above(pairing: Pairing, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the pairs (one, other), one < other, at or above a threshold, int64 (p, 2), and their similarities."""
    pairs, similarities = [], []
    for start, scores in pairing.blocks():
        row, column = np.nonzero(np.triu(scores >= threshold, start + 1))
        pairs.append(np.column_stack([row + start, column]))
        similarities.append(scores[row, column])
    return np.concatenate(pairs), np.concatenate(similarities)
