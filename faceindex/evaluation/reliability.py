"""Do probabilities mean what they say: reliability by bins, calibration error, and the cost of log-likelihood ratios.

Of answers given at 0.9, nine in ten should be right. Cllr (Bruemmer and du Preez, 2006) is the cost in bits of a
likelihood ratio for each comparison, half mated and half not; minCllr what is left once the scores are calibrated as
well as they can be. Their difference is what calibration loses.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceindex.evaluation.scores import BalancedScores

BIN_COUNT = 15


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Answers of about one probability."""

    predicted: float
    """Mean probability."""
    observed: float
    """Share that was right."""
    share: float
    """Of all answers."""
    trials: int


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far probabilities are from what happened."""

    bins: list[ReliabilityBin]
    """Of BIN_COUNT equally wide ones, those with answers, ascending."""
    error: float
    """Expected calibration error: mean distance of predicted and observed, by share."""


def reliability(
    probabilities: NDArray[np.float64], right: NDArray[np.bool_], weights: NDArray[np.float64]
) -> Reliability:
    """Return predicted and observed shares by bin.

    Args:
        probabilities: of each answer, float64 (n,) in [0, 1].
        right: whether it was right, bool (n,).
        weights: of each answer, float64 (n,).
    """
    places = np.minimum((probabilities * BIN_COUNT).astype(int), BIN_COUNT - 1)
    trials = np.bincount(places, minlength=BIN_COUNT)
    held = np.bincount(places, weights, BIN_COUNT)
    predicted = np.bincount(places, weights * probabilities, BIN_COUNT)
    observed = np.bincount(places, weights * right, BIN_COUNT)
    bins = [
        ReliabilityBin(
            float(predicted[k] / held[k]), float(observed[k] / held[k]), float(held[k] / held.sum()), int(trials[k])
        )
        for k in np.flatnonzero(held)
    ]
    return Reliability(bins, sum(one.share * abs(one.predicted - one.observed) for one in bins))


def cllr(scores: BalancedScores, log_ratios: NDArray[np.float64]) -> float:
    """Return the cost in bits of natural log-likelihood ratios, one for each bin of the scores."""
    mated = scores.mated @ np.logaddexp(0.0, -log_ratios)
    nonmated = scores.nonmated @ np.logaddexp(0.0, log_ratios)
    return float(mated + nonmated) / 2 / float(np.log(2.0))


def min_cllr(scores: BalancedScores) -> float:
    """Return the least cost of any ratios that rise with the score: pool adjacent violators (isotonic regression)."""
    used = np.flatnonzero(scores.mated + scores.nonmated)
    blocks: list[tuple[float, float]] = []
    for mated, nonmated in zip(scores.mated[used], scores.nonmated[used], strict=True):
        block = (float(mated), float(nonmated))
        # A block whose share of mated pairs is not above that of the one below is one with it.
        while blocks and blocks[-1][0] * block[1] >= block[0] * blocks[-1][1]:
            before = blocks.pop()
            block = (before[0] + block[0], before[1] + block[1])
        blocks.append(block)
    mated, nonmated = np.array(blocks).T
    both = mated + nonmated
    with np.errstate(divide="ignore", invalid="ignore"):
        lost = np.where(mated > 0, mated * np.log2(both / mated), 0.0)
        lost += np.where(nonmated > 0, nonmated * np.log2(both / nonmated), 0.0)
    return float(lost.sum()) / 2
