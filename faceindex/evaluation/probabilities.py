"""From similarities to probabilities: logistic fits on pairs and on simulated searches, each person counted once.

Knows unit vectors and subject numbers; nothing of files or models.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceindex.errors import ConfigError
from faceindex.evaluation.scores import EDGES, BalancedScores, one_face_each, score_blocks

RIDGE = 1e-4
"""Penalty on standardised slopes, in units of one trial: keeps the fit finite where the classes do not overlap."""


@dataclass(frozen=True, slots=True, eq=False)
class Searches:
    """Simulated searches of galleries of one face a person; for each the first candidate, and whether it is right."""

    similarities: NDArray[np.float64]
    """Of the first candidate, float64 (s,)."""
    gallery_sizes: NDArray[np.int64]
    right: NDArray[np.bool_]
    """Whether the first candidate is the person searched for; never for a stranger."""
    weights: NDArray[np.float64]
    """At each gallery size half for enrolled people and half for strangers, equal within each half; 1 on average."""


def simulate_searches(
    vectors: NDArray[np.float32],
    subjects: NDArray[np.int64],
    gallery_sizes: list[int],
    draws: int,
    seed: int,
) -> Searches:
    """Search galleries of random people for everybody: once as strangers, and once enrolled, those with a second face.

    The people stand in a random order, and the gallery of size N of a search is the first N others, or N - 1 others
    and the person itself when enrolled: one running maximum answers the search at every size.

    Args:
        vectors: float32 (n, d), unit length.
        subjects: int64 (n,), equal for faces of one person.
        gallery_sizes: each from 2 to the number of people less one.
        draws: choices of faces and of the order.
        seed: of the choices.

    Raises:
        ConfigError: nobody has two faces, or a gallery size is out of range.
    """
    known, subjects = np.unique(subjects, return_inverse=True)
    people = len(known)
    if not gallery_sizes or min(gallery_sizes) < 2 or max(gallery_sizes) >= people:
        raise ConfigError(f"galleries of 2 to {people - 1} people can be simulated with this pool, got {gallery_sizes}")
    generator = np.random.default_rng(seed)
    parts = [_searches_of_draw(vectors, subjects, gallery_sizes, generator) for _ in range(draws)]
    similarities, sizes, right, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Searches(similarities, sizes, right, weights / weights.mean())


def _searches_of_draw(
    vectors: NDArray[np.float32],
    subjects: NDArray[np.int64],
    gallery_sizes: list[int],
    generator: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.float64]]:
    enrolled = generator.permutation(one_face_each(subjects, generator))
    others = np.setdiff1d(np.arange(len(subjects)), enrolled)
    if len(others) == 0:
        raise ConfigError("probabilities need people with two faces or more, got none; label more photos of a person")
    probes = others[one_face_each(subjects[others], generator)]
    place = np.empty(len(enrolled), np.int64)
    place[subjects[enrolled]] = np.arange(len(enrolled))
    sizes = np.array(gallery_sizes)
    stranger = _best_other(vectors[enrolled], vectors[enrolled], np.arange(len(enrolled)), sizes)
    rival = _best_other(vectors[probes], vectors[enrolled], place[subjects[probes]], sizes - 1)
    own = np.einsum("ij,ij->i", vectors[probes], vectors[enrolled[place[subjects[probes]]]])[:, None]
    similarities = np.concatenate([stranger, np.maximum(own, rival)])
    right = np.concatenate([np.zeros(stranger.shape, np.bool_), own > rival])
    weights = np.repeat([1.0 / len(enrolled), 1.0 / len(probes)], [stranger.size, rival.size])
    return similarities.ravel().astype(np.float64), np.tile(sizes, len(similarities)), right.ravel(), weights


def _best_other(
    probes: NDArray[np.float32], gallery: NDArray[np.float32], own: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the highest cosine among the first `size` faces other than the one at `own`, float32 (probes, sizes)."""
    best = np.empty((len(probes), len(sizes)), np.float32)
    for start, cosines in score_blocks(probes, gallery):
        place = own[start : start + len(cosines)]
        cosines[np.arange(len(cosines)), place] = -1.0
        running = np.maximum.accumulate(cosines, axis=1)
        # A gallery that would hold the own face takes one more of the others instead.
        column = sizes[None, :] - 1 + (place[:, None] < sizes[None, :])
        best[start : start + len(cosines)] = np.take_along_axis(running, column, axis=1)
    return best


def fit_identified(searches: Searches) -> dict[str, float]:
    """Fit log-odds that the first candidate is right: intercept + similarity * s + log_gallery_size * log(N)."""
    features = np.column_stack([searches.similarities, np.log(searches.gallery_sizes)])
    intercept, slopes = fit_logistic(features, searches.right.astype(np.float64), searches.weights)
    return {"intercept": intercept, "similarity": float(slopes[0]), "log_gallery_size": float(slopes[1])}


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
