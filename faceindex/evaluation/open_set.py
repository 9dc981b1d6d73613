"""How often a stranger is taken for somebody enrolled: FPIR by gallery size and threshold, from labelled people.

The pool of people serves as gallery and as strangers at once: FPIR(N, T) is the mean over all people of the share of
the galleries of N other people that hold somebody at or above T. Counting look-alikes gives that mean over all
galleries exactly (a U-statistic), so no gallery is simulated and no independence assumed. `1 - (1 - FMR)^N` is not the
same: some people have many look-alikes, and it overstates FPIR, by half at 0.1 and N = 1,000.
Knows scores of pairings of people; nothing of files or models.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from faceindex.arrays import require
from faceindex.errors import ConfigError
from faceindex.evaluation.pairing import Pairing, Pool
from faceindex.evaluation.thresholds import tail_threshold
from faceindex.faces.compiled import compiled

MEASURED_PAIRS = 10
"""Pairs of people that must stand above a threshold for its error rate to count as measured: the standard deviation of
log FPIR is about 1 / sqrt(pairs)."""

TAIL_PAIRS = 200
"""Pairs above the threshold from which the tail is fitted; fewer vary too much, more are no tail."""

LARGEST_FMR = 0.5
LEVELS = 400
"""Thresholds are counted at so many false match rates, evenly spaced in the logarithm, from LARGEST_FMR down to the
last that is measured: 3 % from one to the next with 3,000 people."""

SCORES = np.linspace(-2.0, 1.0, 30_001)
"""Scores are counted in bins 0.0001 wide; normalised ones may fall below -1."""

NEXT_TO_CEILING, FEWEST_LEVELS = 1e-4, 10
"""Nearer to the ceiling, or with fewer levels measured, people do not differ."""

LEVEL_PROBES = 4000
"""Probes from whose scores levels are chosen."""

MINIMUM_PEOPLE = 20
"""With fewer people there are no tails to speak of; 100 are the least that give a usable threshold."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold for a false positive identification rate, and what it rests on."""

    threshold: float
    pairs: int
    """Pairs of people of the pool at or above the threshold; beyond the last measured threshold, pairs expected."""
    extrapolated: bool
    """Whether the gallery is larger than the pool, or fewer than MEASURED_PAIRS pairs are above the threshold."""


def look_alike_counts(pairing: Pairing, thresholds: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return how many other people are at or above each threshold, for each probe, int32 (probes, thresholds).

    Args:
        pairing: strangers and references.
        thresholds: float64 (t,), ascending.
    """
    require("thresholds", thresholds, np.float64, (None,))
    counts = np.zeros((len(pairing.probes), len(thresholds)), np.int32)
    for start, scores in pairing.blocks():
        _count_levels(scores, thresholds, counts[start : start + len(scores)])
    return np.asarray(np.cumsum(counts[:, ::-1], axis=1)[:, ::-1], np.int32)


@compiled
def _count_levels(scores: NDArray[np.float32], thresholds: NDArray[np.float64], counts: NDArray[np.int32]) -> None:
    """Add each score of at least the first threshold to the last threshold that it reaches."""
    for row in range(scores.shape[0]):
        for column in range(scores.shape[1]):
            score = np.float64(scores[row, column])
            if score >= thresholds[0]:
                counts[row, np.searchsorted(thresholds, score, side="right") - 1] += 1


@compiled
def _count_bins(scores: NDArray[np.float32], bins: NDArray[np.int64]) -> None:
    """Add finite scores to bins of equal width over SCORES."""
    for row in range(scores.shape[0]):
        for column in range(scores.shape[1]):
            score = np.float64(scores[row, column])
            if score > -np.inf:
                place = int((score + 2.0) * (len(bins) / 3.0))
                bins[min(max(place, 0), len(bins) - 1)] += 1


def levels_of(pairing: Pairing) -> NDArray[np.float64]:
    """Return LEVELS thresholds, float64 ascending, from the score of half of the pairs to that of the last few."""
    bins = np.zeros(len(SCORES) - 1, np.int64)
    for _, scores in pairing.blocks(LEVEL_PROBES):
        _count_bins(scores, bins)
    share = np.append(np.cumsum(bins[::-1])[::-1], 0) / bins.sum()
    strictest = MEASURED_PAIRS / bins.sum()
    falling = np.flatnonzero(np.append(np.diff(share) < 0, True))
    rates = np.geomspace(LARGEST_FMR, min(strictest, LARGEST_FMR / 2), LEVELS)
    return np.asarray(np.interp(rates, share[falling][::-1], SCORES[falling][::-1]), np.float64)


def no_match_probabilities(others: int, gallery_size: int) -> NDArray[np.float64]:
    """Return, for k = 0 ... others look-alikes, the share of galleries of this size among the others that hold none.

    That is C(others - k, N) / C(others, N), float64 (others + 1,), by the ratio of one k to the next.
    """
    left = np.arange(others, 0, -1)
    return np.concatenate([[1.0], np.cumprod(np.maximum(left - gallery_size, 0) / left)])


def false_positive_rates(counts: NDArray[np.int32], others: int, gallery_size: int) -> NDArray[np.float64]:
    """Return FPIR at each threshold for galleries of `gallery_size` of the `others`, float64 (thresholds,).

    Args:
        counts: look-alikes of each stranger at each threshold, from `look_alike_counts`.
        others: people each stranger was compared with.
        gallery_size: 1 to `others`.

    Raises:
        ConfigError: the gallery is empty or larger than the pool.
    """
    if not 1 <= gallery_size <= others:
        raise ConfigError(f"a gallery of 1 to {others} people can be measured with this pool, got {gallery_size}")
    false_positive = 1.0 - no_match_probabilities(others, gallery_size)
    return np.asarray(false_positive[counts].mean(axis=0), np.float64)


@dataclass(frozen=True, eq=False)
class OpenSetRates:
    """FPIR of a pool of people at any gallery size, measured inside the pool and carried on beyond it.

    Beyond the pool -log(1 - FPIR) grows like N^a, with `a` from the growth between a quarter of the pool and all of it
    at the same threshold: below 1, because the same few strangers match again and again. It falls on with N, so
    thresholds come out a little strict. Above the last threshold -log(1 - FPIR) follows the tail (`tail_threshold`).

    Args:
        thresholds: float64 (t,), ascending, with at least MEASURED_PAIRS pairs of people above the last.
        counts: look-alikes int32 (searches, t), of several draws of faces of the same people, one below the other.
        others: people each search was compared with, that is all but the searched one.
        ceiling: the score of a face and itself.
    """

    thresholds: NDArray[np.float64]
    counts: NDArray[np.int32]
    others: int
    ceiling: float = 1.0
    limit: int | None = None
    """Galleries up to this size are counted, larger ones follow; by default as large as the pool allows."""

    @classmethod
    def of_pool(cls, pool: Pool, draws: int, seed: int) -> Self:
        """Count the look-alikes of one random face a person, `draws` times.

        Args:
            pool: labelled people.
            draws: choices of one face a person; their mean has less noise of that choice.
            seed: of the choices.

        Raises:
            ConfigError: fewer than MINIMUM_PEOPLE people, or people whose faces are the same.
        """
        if pool.size < MINIMUM_PEOPLE:
            raise ConfigError(f"thresholds need {MINIMUM_PEOPLE} labelled people, got {pool.size}; label more people")
        generator = np.random.default_rng(seed)
        pairings = [pool.strangers(generator) for _ in range(draws)]
        thresholds, ceiling = levels_of(pairings[0]), pairings[0].ceiling
        every = cls(thresholds, np.concatenate([look_alike_counts(p, thresholds) for p in pairings]), pool.size - 1)
        enough = int((every.pairs >= MEASURED_PAIRS).sum())
        if enough < FEWEST_LEVELS or thresholds[enough - 1] >= ceiling - NEXT_TO_CEILING:
            raise ConfigError(
                f"thresholds need people who differ, got {MEASURED_PAIRS} pairs or more with a similarity of 1; "
                "check the labels"
            )
        return cls(thresholds[:enough], every.counts[:, :enough], pool.size - 1, ceiling)

    @cached_property
    def pairs(self) -> NDArray[np.float64]:
        """Pairs of people at or above each threshold, mean of the draws, float64 (t,)."""
        draws = len(self.counts) / (self.others + 1)
        return np.asarray(self.counts.sum(axis=0) / (2 * draws), np.float64)

    @cached_property
    def tail_exponent(self) -> float:
        return tail_exponent(self.thresholds, self.pairs, self.ceiling)

    @property
    def largest(self) -> int:
        """People in the largest gallery that is counted."""
        return min(self.others, self.limit or self.others)

    @cached_property
    def growth(self) -> NDArray[np.float64]:
        """The exponent `a` at each threshold, float64 (t,) in [0.5, 1]; held where few people have look-alikes."""
        quarter = max(self.largest // 4, 1)
        whole, part = self._measured_hazards(self.largest), self._measured_hazards(quarter)
        exponents = np.log(whole / part) / math.log(self.largest / quarter)
        # Fewer than five people tell nothing of growth.
        held = np.flatnonzero(whole * (self.others + 1) >= 5)[-1]
        exponents[held:] = exponents[held]
        return np.clip(exponents, 0.5, 1.0)

    def hazards(self, gallery_size: int) -> NDArray[np.float64]:
        """Return -log(1 - FPIR) at each threshold, float64 (t,), rising with the size, falling with the threshold."""
        if gallery_size <= self.largest:
            return self._measured_hazards(gallery_size)
        whole = self._measured_hazards(self.largest)
        return np.maximum(whole, np.minimum.accumulate(whole * (gallery_size / self.largest) ** self.growth))

    def rates(self, gallery_size: int) -> NDArray[np.float64]:
        """Return FPIR at each of `thresholds`, float64 (t,)."""
        return -np.expm1(-self.hazards(gallery_size))

    def operating_points(self, fpirs: Sequence[float], gallery_size: int) -> list[OperatingPoint]:
        """Return for each rate the lowest threshold whose FPIR is at most that, interpolated between those counted.

        A rate larger than that of the lowest threshold counted gets that threshold.
        """
        hazards = self.hazards(gallery_size)
        return [self._point(-math.log1p(-fpir), hazards, gallery_size) for fpir in fpirs]

    def _point(self, asked: float, hazards: NDArray[np.float64], gallery_size: int) -> OperatingPoint:
        if asked >= hazards[-1]:
            threshold = float(np.interp(-math.log(asked), -np.log(hazards), self.thresholds))
            pairs = float(np.interp(threshold, self.thresholds, self.pairs))
            return OperatingPoint(threshold, math.floor(pairs), extrapolated=gallery_size > self.largest + 1)
        beyond = asked / float(hazards[-1])
        threshold = tail_threshold(float(self.thresholds[-1]), beyond, self.tail_exponent, self.ceiling)
        return OperatingPoint(threshold, math.floor(self.pairs[-1] * beyond), extrapolated=True)

    def _measured_hazards(self, gallery_size: int) -> NDArray[np.float64]:
        """Return -log(1 - FPIR), finite also where every search is a false positive."""
        rates = false_positive_rates(self.counts, self.others, gallery_size)
        return -np.log1p(-np.minimum(rates, 1.0 - 1e-12))


def tail_exponent(thresholds: NDArray[np.float64], pairs: NDArray[np.float64], ceiling: float = 1.0) -> float:
    """Return the power of (ceiling - threshold) by which pairs fall between TAIL_PAIRS and the last threshold.

    From two points of the counts, not from the mean excess over the first: pairs that are one person under two names
    stand far out, and a few of them would make the tail much heavier.

    Args:
        thresholds: float64 (t,), ascending.
        pairs: pairs of people at or above each, float64 (t,), positive.
        ceiling: the score of a face and itself.
    """
    start = min(int((pairs > TAIL_PAIRS).sum()), len(pairs) - 2)
    fall = math.log(pairs[start] / pairs[-1])
    return fall / math.log((ceiling - thresholds[start]) / (ceiling - thresholds[-1]))
