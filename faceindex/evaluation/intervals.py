"""How sure an error rate is: 95 % intervals over people, since pairs and photos of one person are one person's luck.

Rates of mated comparisons are means over people. Rates of non-mated ones are means over pairs of people, and a person
is in many pairs: the spread is that of a U-statistic. Resampling people, as a bootstrap does, makes them their own
look-alikes and covers too little, so the variance is computed instead.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z = 1.959964
"""Quantile of the normal distribution for 95 %."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A rate and its 95 % interval, all between 0 and 1."""

    value: float
    low: float
    high: float

    def complement(self) -> "Estimate":
        """Return the estimate of 1 - rate."""
        return Estimate(1.0 - self.value, 1.0 - self.high, 1.0 - self.low)


def mean_over_people(rates: NDArray[np.float64], further_variance: float = 0.0) -> Estimate:
    """Return the mean of a rate of each person, with Wilson's interval for as many trials as the people are worth.

    Args:
        rates: float64 (people,), each in [0, 1]; of one person or more.
        further_variance: of the mean, from elsewhere, such as the threshold.
    """
    people = len(rates)
    mean = min(max(float(rates.mean()), 0.0), 1.0)
    spread = float(rates.var(ddof=1)) / people if people > 1 else 0.25
    variance = spread + further_variance
    # As many trials as a binomial rate of this mean and variance would have; rates all 0 or all 1 are one trial each.
    trials = min(float(people), mean * (1 - mean) / variance) if variance > 0 and 0 < mean < 1 else float(people)
    if further_variance > 0 and not 0 < mean < 1:
        trials = min(trials, 0.25 / further_variance)
    centre = (mean + Z * Z / (2 * trials)) / (1 + Z * Z / trials)
    half = Z / (1 + Z * Z / trials) * math.sqrt(mean * (1 - mean) / trials + Z * Z / (4 * trials * trials))
    return Estimate(mean, min(max(0.0, centre - half), mean), max(min(1.0, centre + half), mean))


def relative_variance(shares: NDArray[np.float64], squares: float) -> float:
    """Return the variance of the logarithm of a rate over pairs of people; infinite when no pair is above.

    That of a U-statistic: the jackknife over people, less what it counts twice of the spread of single pairs (Efron and
    Stein, Annals of Statistics 9, 1981). With pairs that share nobody it is 1 / pairs.

    Args:
        shares: for each person the sum of its pairs, float64 (people,): every pair counts for both of its people.
        squares: sum over the pairs of their squares.
    """
    total = float(shares.sum()) / 2
    if total <= 0:
        return math.inf
    people = float(((shares - shares.mean()) ** 2).sum())
    return (squares + max(people - 2 * squares, 0.0)) / total**2


def rate_of_pairs(rate: float, variance: float, trials: float) -> Estimate:
    """Return a rate over pairs of people with the interval of a Poisson count of the same relative variance.

    Args:
        rate: the rate.
        variance: of its logarithm, from `relative_variance`.
        trials: pairs of people, or searches: what a rate of 0 rests on.
    """
    count = 1.0 / variance if variance > 0 else math.inf
    if not math.isfinite(count):
        return Estimate(rate, rate, rate)
    scale = rate / count if count > 0 else 1.0 / trials
    # Wilson and Hilferty's cube root, within 2 % of the exact quantiles of the gamma distribution from one count on.
    low = count * (1 - 1 / (9 * count) - Z / (3 * math.sqrt(count))) ** 3 if count > 0.3 else 0.0
    high = (count + 1) * (1 - 1 / (9 * (count + 1)) + Z / (3 * math.sqrt(count + 1))) ** 3
    return Estimate(rate, max(0.0, scale * low), min(1.0, scale * high))
