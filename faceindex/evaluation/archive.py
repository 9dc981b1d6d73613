"""Thresholds fitted to an archive that nobody has labelled: a model's table, moved to where its people are.

How similar two people are depends on who is photographed: among people who look alike, a threshold measured on
everybody realises up to forty times the error rate asked for. The median and the 95 % quantile of the similarities of
unlabelled pairs say where an archive's people are; the far tail, which decides, comes from the table. One pair in 200
that is one person after all (a mirror, a collage) would ruin a tail read from the pairs, and hardly moves those two.
Knows scores and thresholds; nothing of photos or files.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceindex.evaluation.thresholds import ModelTable, Threshold, ThresholdGrid
from faceindex.evaluation.unlabelled_pairs import ENOUGH_FACES, ENOUGH_PAIRS, UnlabelledPairs

UPPER = 0.95
"""The higher of the two quantiles; above 0.97, one pair in 200 that is one person would move it."""

ALIKE_FMR = 1e-5
"""Faces this similar are taken for one person when pairs are chosen."""

SCALES = (0.25, 4.0)
SHIFT = 2.0
"""Spreads and shifts of the median, in spreads of the table, within which an archive can be. Of four clusters of the
people of LFW, the most alike are 1.2 times as spread and shifted by 0.8; outside, the pairs are not what they seem."""

RESAMPLES = 200

STRICT_ERRORS = 1.0
"""Standard errors that thresholds are set above the fit: without them every other album would realise more than was
asked for, with them one in four."""

ALARM_SPREADS = 0.15
ALARM_ERRORS = 2.0
"""A fit has drifted when a threshold moved by more than both: this share of the spread, worth a factor of 1.7 in the
error rate, and this many standard errors of two independent fits."""


@dataclass(frozen=True, slots=True)
class NonmatedScores:
    """Where the scores of two people lie, each pair of people counted once."""

    median: float
    upper: float
    """The score that 1 - UPPER of the pairs reach."""
    ceiling: float = 1.0
    """What a face scores with a copy of itself: 1 for cosines, less the mean of what is subtracted where they are
    normalised. Tails are powers of the distance from it, as in `thresholds.tail_threshold`."""

    @classmethod
    def of_grid(cls, grid: ThresholdGrid, ceiling: float = 1.0) -> "NonmatedScores":
        """Read them from a table: the threshold that half of the comparisons reach, 1:1 or in a gallery of one."""
        return cls(grid.look_up(0.5, 1)[0], grid.look_up(1 - UPPER, 1)[0], ceiling)

    def depth(self, score: float) -> float:
        """Return -log of the distance from the ceiling; infinite from there on."""
        return -math.log(self.ceiling - score) if score < self.ceiling else math.inf

    @property
    def spread(self) -> float:
        """Distance of the two quantiles, in depth."""
        return self.depth(self.upper) - self.depth(self.median)


@dataclass(frozen=True, slots=True)
class NotUsable:
    """Why thresholds cannot be fitted to an archive, so that the model's table holds."""

    reason: str


@dataclass(frozen=True, slots=True)
class LocalMap:
    """From a threshold of a model's table to that of the same error rate in an archive, linear in depth."""

    table: NonmatedScores
    archive: NonmatedScores
    median_variance: float
    upper_variance: float
    covariance: float
    """Of the archive's two quantiles, in depth, from resampled photos."""
    pairs: int
    faces: int
    in_photos: bool
    """Whether the pairs are of faces in one photo, else of faces drawn from the whole archive."""

    def threshold(self, value: float, errors: float = STRICT_ERRORS) -> float:
        """Return the archive's threshold for one of the table, so many standard errors above the fit.

        A score at the ceiling or above stays.
        """
        if value >= self.table.ceiling:
            return value
        return self.table.ceiling - math.exp(-self.depth(value) - errors * self.depth_error(value))

    def applied(self, threshold: Threshold) -> Threshold:
        """Return a threshold of the table as the archive's, with the same error rate."""
        return replace(threshold, value=self.threshold(threshold.value), source="archive")

    def table_score(self, score: float) -> float:
        """Return the score of the table that the fit maps to one of the archive: the inverse of `threshold`, errors 0.

        A score at the ceiling or above stays.
        """
        if score >= self.archive.ceiling:
            return score
        place = (self.archive.depth(score) - self.archive.depth(self.archive.median)) / self.archive.spread
        return self.table.ceiling - math.exp(-self.table.depth(self.table.median) - place * self.table.spread)

    def section(self, section: Mapping[str, Any]) -> dict[str, Any]:
        """Return a section of a table's document (`ThresholdGrid.from_json`) with the archive's thresholds."""
        thresholds = [[round(self.threshold(value), 6) for value in row] for row in section["thresholds"]]
        exponent = section["tail_exponent"] * self.table.spread / self.archive.spread
        return {**section, "thresholds": thresholds, "tail_exponent": exponent}

    def interval(self, value: float) -> tuple[float, float]:
        """Return the 95 % interval of the fit, as far as the pairs are few; the shape of the tail is not in it."""
        return self.threshold(value, -1.96), self.threshold(value, 1.96)

    def depth(self, value: float) -> float:
        """Return the depth that a threshold of the table, below the ceiling, is mapped to."""
        return self.archive.depth(self.archive.median) + self._place(value) * self.archive.spread

    def depth_error(self, value: float) -> float:
        """Return the standard error of `depth`."""
        place = self._place(value)
        variance = (1 - place) ** 2 * self.median_variance + place**2 * self.upper_variance
        return math.sqrt(max(variance + 2 * place * (1 - place) * self.covariance, 0.0))

    def _place(self, value: float) -> float:
        """Return where a score of the table is: 0 at the median, 1 at the upper quantile."""
        return (self.table.depth(value) - self.table.depth(self.table.median)) / self.table.spread


@dataclass(frozen=True, slots=True)
class Drift:
    """How far the threshold of one error rate moved from one fit to another."""

    spreads: float
    """In spreads of the table, positive when the threshold rose."""
    errors: float
    """In standard errors of the two fits together."""

    @property
    def alarm(self) -> bool:
        """Whether it moved by more than ALARM_SPREADS and ALARM_ERRORS."""
        return abs(self.spreads) > ALARM_SPREADS and abs(self.errors) > ALARM_ERRORS


def normalised_ceiling(verification: ThresholdGrid, k: int, members: int, weight: float) -> float:
    """Return what a face scores with a copy of itself when `weight` times the mean of its nearest is taken off.

    Args:
        verification: cosines of the table's 1:1 comparisons: a share k / members of them reach the nearest of a cohort.
        k: members of the cohort that the mean is over.
        members: of the cohort the table was made with.
        weight: of the mean.
    """
    return 1.0 - weight * verification.look_up(k / members, 1)[0]


def alike_threshold(table: ModelTable) -> float:
    """Return the cosine from which on faces are taken for one person when pairs are chosen."""
    return table.verification_threshold(ALIKE_FMR).value


def fit_local_map(
    scores: NDArray[np.floating[Any]], pairs: UnlabelledPairs, table: NonmatedScores, seed: int = 0
) -> LocalMap | NotUsable:
    """Fit a model's table to an archive.

    Args:
        scores: of each pair, floats (p,), of the kind that the table holds: cosines, or normalised.
        pairs: they are of.
        table: where the table's scores of two people lie.
        seed: of the resampling.

    Returns:
        The map, or why there is none: too few pairs, scores that are not numbers, or faces that are all alike.
    """
    if not pairs.enough:
        return NotUsable(
            f"{ENOUGH_PAIRS} pairs of {ENOUGH_FACES} faces of different people wanted, got {len(pairs):,} of "
            f"{pairs.face_count:,}"
        )
    missing = int((~np.isfinite(scores)).sum())
    if missing:
        return NotUsable(f"{missing:,} of {len(pairs):,} pairs of faces have a similarity that is not a number")
    found = resampled_quantiles(scores, pairs.groups, seed)
    archive = NonmatedScores(float(found[0, 0]), float(found[0, 1]), table.ceiling)
    if archive.upper >= table.ceiling or not SCALES[0] < archive.spread / table.spread < SCALES[1]:
        return NotUsable(
            f"pairs of different people reach {archive.median:.4f} in half and {archive.upper:.4f} in 5 % of cases, "
            f"where the model's table has {table.median:.4f} and {table.upper:.4f}: the faces are all alike, or not "
            "of different people"
        )
    shift = (archive.depth(archive.median) - table.depth(table.median)) / table.spread
    if abs(shift) > SHIFT:
        return NotUsable(
            f"half of the pairs of different people reach {archive.median:.4f}, where the model's table has "
            f"{table.median:.4f}: too far apart for one model and different people"
        )
    depths = -np.log(np.maximum(table.ceiling - found[1:], 1e-9))
    variances = np.cov(depths.T)
    return LocalMap(
        table,
        archive,
        median_variance=float(variances[0, 0]),
        upper_variance=float(variances[1, 1]),
        covariance=float(variances[0, 1]),
        pairs=len(pairs),
        faces=pairs.face_count,
        in_photos=pairs.in_photos,
    )


def resampled_quantiles(scores: NDArray[np.floating[Any]], groups: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """Return the median and the upper quantile, of all in the first row and of resampled groups in RESAMPLES more.

    Args:
        scores: floats (p,), finite.
        groups: what each is drawn with, int64 (p,).
        seed: of the resampling.

    Returns:
        float64 (1 + RESAMPLES, 2); each the lowest score that at least that share are at or below.
    """
    order = np.argsort(scores, kind="stable")
    ascending = scores[order].astype(np.float64)
    numbers = np.unique(groups, return_inverse=True)[1][order]
    count = int(numbers.max()) + 1
    generator = np.random.default_rng(seed)
    quantiles = np.empty((1 + RESAMPLES, 2))
    for row in range(1 + RESAMPLES):
        drawn = np.bincount(generator.integers(count, size=count), minlength=count) if row else np.ones(count, int)
        reached = np.cumsum(drawn[numbers])
        quantiles[row] = ascending[np.searchsorted(reached, np.array([0.5, UPPER]) * reached[-1])]
    return quantiles


def drift(before: LocalMap, after: LocalMap, value: float) -> Drift:
    """Return how far a threshold moved between two fits of one table.

    Args:
        before: the fit in use.
        after: a new one.
        value: threshold of the table at the error rate in use.
    """
    if value >= before.table.ceiling:
        return Drift(0.0, 0.0)
    moved = after.depth(value) - before.depth(value)
    error = math.hypot(before.depth_error(value), after.depth_error(value))
    return Drift(moved / before.table.spread, moved / error if error > 0 else math.copysign(math.inf, moved))
