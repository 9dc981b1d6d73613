"""From similarities to probabilities: logistic fits on pairs and on simulated searches, each person counted once.

Knows scores of pairings of people; nothing of files or models.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from faceindex.errors import ConfigError
from faceindex.evaluation.pairing import Pairing, Pool
from faceindex.evaluation.scores import EDGES, BalancedScores

SEARCHED = 4000
"""Searches that are simulated of a draw, about."""

RIDGE = 1e-4
"""Penalty on standardised slopes, in units of one trial: keeps the fit finite where the classes do not overlap."""


@dataclass(frozen=True, slots=True, eq=False)
class Searches:
    """Simulated searches of galleries of people; for each the first candidate, and whether it is right."""

    scores: NDArray[np.float64]
    """Of the first candidate, float64 (s,)."""
    margins: NDArray[np.float64]
    """By how much it stands above the next person, float64 (s,)."""
    gallery_sizes: NDArray[np.int64]
    right: NDArray[np.bool_]
    """Whether the first candidate is the person searched for; never for a stranger."""
    weights: NDArray[np.float64]
    """At each gallery size half for enrolled people and half for strangers, equal within each half; 1 on average."""


def simulate_searches(pool: Pool, gallery_sizes: list[int], draws: int, seed: int) -> Searches:
    """Search galleries of random people for everybody: once as strangers, and once enrolled, those with a second face.

    The people stand in a random order, and the gallery of size N of a search is the first N others, or N - 1 others
    and the person itself when enrolled: one pass answers the search at every size.

    Args:
        pool: labelled people.
        gallery_sizes: ascending, each from 3 to the number of people less one.
        draws: choices of faces and of the order.
        seed: of the choices.

    Raises:
        ConfigError: nobody has two faces, or a gallery size is out of range.
    """
    if not gallery_sizes or min(gallery_sizes) < 3 or max(gallery_sizes) >= pool.size:
        raise ConfigError(
            f"galleries of 3 to {pool.size - 1} people can be simulated with this pool, got {gallery_sizes}"
        )
    generator = np.random.default_rng(seed)
    parts = [_searches_of_draw(pool, np.array(gallery_sizes), generator) for _ in range(draws)]
    scores, margins, sizes, right, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Searches(scores, margins, sizes, right, weights / weights.mean())


def _searches_of_draw(
    pool: Pool, sizes: NDArray[np.int64], generator: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.float64]]:
    order = generator.permutation(pool.size)
    strangers, mated = pool.strangers(generator), pool.mated(generator)
    first, second, _ = _best_two(strangers, order, sizes)
    rival, rival_second, own = _best_two(mated, order, sizes - 1)
    right = own > rival
    scores = np.concatenate([first, np.maximum(own, rival)])
    runners_up = np.concatenate([second, np.where(right, rival, np.maximum(own, rival_second))])
    weights = np.repeat([1.0 / len(first), 1.0 / len(rival)], [first.size, rival.size])
    right = np.concatenate([np.zeros(first.shape, np.bool_), right])
    margins = (scores - runners_up).ravel().astype(np.float64)
    return scores.ravel().astype(np.float64), margins, np.tile(sizes, len(scores)), right.ravel(), weights


def _best_two(
    pairing: Pairing, order: NDArray[np.int64], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the highest and next score among the first `size` others in this order, and the own score.

    Float32 (probes, sizes), the same, and (probes, 1); of SEARCHED probes, if there are more.
    """
    order = order[: sizes[-1] + 1]
    best, own = [], []
    for start, scores in pairing.blocks(SEARCHED):
        column = pairing.own[start : start + len(scores), None]
        own.append(np.take_along_axis(scores, column, axis=1))
        others = scores[:, order]
        # The own person is among the first few, or the last of them is one too many.
        left_out = np.where((order[None] == column).any(axis=1), (order[None] == column).argmax(axis=1), len(order) - 1)
        others = others[np.arange(len(order))[None] != left_out[:, None]].reshape(len(scores), -1)
        two = np.full((len(scores), 2), -np.inf, np.float32)
        for begin, end in pairwise([0, *sizes.tolist()]):
            two = np.partition(np.concatenate([two, others[:, begin:end]], axis=1), -2, axis=1)[:, -2:]
            best.append(two)
    found = np.stack([np.concatenate(best[index :: len(sizes)]) for index in range(len(sizes))], axis=1)
    return found[..., 1], found[..., 0], np.concatenate(own)


def fit_identified(searches: Searches, *, margin: bool = False) -> dict[str, float]:
    """Fit log-odds that the first candidate is right: intercept + score * s + log_gallery_size * log(N).

    Args:
        searches: simulated.
        margin: adds `margin` times the margin to the next person.
    """
    columns = {"score": searches.scores, "log_gallery_size": np.log(searches.gallery_sizes)}
    if margin:
        columns["margin"] = searches.margins
    features = np.column_stack(list(columns.values()))
    intercept, slopes = fit_logistic(features, searches.right.astype(np.float64), searches.weights)
    return {"intercept": intercept, **dict(zip(columns, map(float, slopes), strict=True))}


def fit_same(scores: BalancedScores) -> dict[str, float]:
    """Fit log-odds that two faces are one person, at even odds before: intercept + similarity * s.

    Raises:
        ConfigError: nobody has two faces.
    """
    if scores.mated_subject_count == 0:
        raise ConfigError("probabilities need people with two faces or more, got none; label more photos of a person")
    centres = (EDGES[1:] + EDGES[:-1]) / 2
    outcomes = np.repeat([1.0, 0.0], len(centres))
    weights = np.concatenate([scores.mated, scores.nonmated]) * scores.mated_subject_count
    intercept, slopes = fit_logistic(np.tile(centres, 2)[:, None], outcomes, weights)
    return {"intercept": intercept, "similarity": float(slopes[0])}


def fit_logistic(
    features: NDArray[np.float64], outcomes: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Return intercept and slopes float64 (f,) of the weighted logistic regression, by Newton's method.

    Args:
        features: float64 (n, f).
        outcomes: float64 (n,) in [0, 1].
        weights: float64 (n,), not negative; their sum counts as the number of trials.
    """
    mean = np.average(features, axis=0, weights=weights)
    spread = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=weights))
    spread[spread == 0] = 1.0
    design = np.column_stack([np.ones(len(features)), (features - mean) / spread])
    penalty = np.array([0.0] + [RIDGE] * features.shape[1])

    def loss(candidate: NDArray[np.float64]) -> float:
        log_odds = design @ candidate
        return float(weights @ (np.logaddexp(0.0, log_odds) - outcomes * log_odds) + penalty @ candidate**2 / 2)

    coefficients = np.zeros(design.shape[1])
    for _ in range(100):
        predicted = 0.5 * (1.0 + np.tanh(0.5 * (design @ coefficients)))
        gradient = design.T @ (weights * (outcomes - predicted)) - penalty * coefficients
        curvature = (design.T * (weights * predicted * (1.0 - predicted))) @ design + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        while loss(coefficients + step) > loss(coefficients) and np.abs(step).max() > 1e-9:
            step /= 2
        coefficients = coefficients + step
        if np.abs(step).max() <= 1e-9:
            break
    slopes = coefficients[1:] / spread
    return float(coefficients[0] - slopes @ mean), slopes
