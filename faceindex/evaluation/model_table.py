"""Make the threshold table of a model from labelled faces: a document of the schema `faceindex.thresholds/1`.

Knows the layout of the document; the estimators are in `open_set`, `scores` and `probabilities`.
"""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceindex import __version__
from faceindex.evaluation.cohort import FEWEST_MEMBERS, NOBODY, NORMALISATION, Cohort, one_face_of_each
from faceindex.evaluation.open_set import MEASURED_PAIRS, OpenSetRates, OperatingPoint, tail_exponent
from faceindex.evaluation.pairing import Pool
from faceindex.evaluation.probabilities import fit_identified, fit_same, simulate_searches
from faceindex.evaluation.scores import BalancedScores, balanced_scores
from faceindex.evaluation.thresholds import SCHEMA, Source, ThresholdGrid, tail_threshold
from faceindex.types import ModelId

GALLERY_SIZES = [size for decade in range(7) for size in (10**decade, 2 * 10**decade, 5 * 10**decade)] + [10**7]
SEARCH_SIZES = [5, 10, 20, 50, 100, 200, 500, 1000, 2000]
FPIRS = [0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 5e-3, 3e-3, 2e-3, 1e-3, 5e-4, 3e-4, 2e-4, 1e-4]
FMRS = [float(f"{step}e-{power}") for power in range(1, 9) for step in (5, 2, 1)]

FEWEST_MATED = 100
"""People with two faces from whom probabilities are learnt; with 50 they are off by three times as much."""

SAMPLE = 5000
"""Faces that a cohort is chosen among."""

MOST_COMPARED = 30_000
"""Faces of 1:1 comparisons: 450 million pairs take some seconds."""

SAME_FMR, ALIKE_FMR = 1e-5, 1e-4
"""False match rates of the cosines that people hardly ever, and seldom, reach."""

CLUMPING_OF_COSINES, CLUMPING_OF_SCORES = 0.1, 0.05
"""Standard deviations of log(FPIR) over random splits of LFW's people, less what the number of pairs explains."""

METHOD = (
    "Scores: cosines, and those less the mean of the nearest members of a cohort. FPIR: mean over people of the share "
    "of galleries of N others that hold somebody at or above the threshold (U-statistic over one random face a person, "
    "draws averaged); beyond the pool log(1 - FPIR) grows like N^a; under 10 pairs of people the tail goes on like a "
    "power of (ceiling - score). FMR: all non-mated pairs, weighted 1 / (n_i n_j). Probabilities: logistic, "
    "identity-balanced, at even odds; `identified` on simulated searches."
)


def make_model_table(
    vectors: NDArray[np.float32],
    subjects: NDArray[np.int64],
    model: ModelId,
    *,
    data: str,
    source: Source = "model",
    averaged: bool = False,
    gallery_sizes: Sequence[int] = GALLERY_SIZES,
    search_sizes: Sequence[int] = SEARCH_SIZES,
    cohort: "CohortMaker | None" = None,
    probabilities: Mapping[str, Any] | None = None,
    draws: int = 5,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the table of a model as a JSON document.

    Args:
        vectors: float32 (n, d), unit length, at least 20 people, one or more with two faces.
        subjects: int64 (n,), equal for faces of one person.
        model: the model that made the vectors.
        data: which photos they are of, in words.
        source: whose people they are.
        averaged: people are enrolled as the mean of their faces, and not by one.
        gallery_sizes: of the grid, ascending.
        search_sizes: galleries whose searches are simulated for probabilities; larger ones than there are people for
            count as the largest there can be.
        cohort: gives the cohort that scores are normalised by, once the verification thresholds are known, and the
            member that is each person in order of subject number, NOBODY where none is; by default people of
            the pool.
        probabilities: table that they are taken from when fewer than FEWEST_MATED people have two faces.
        draws: choices of one face a person that are averaged.
        seed: of the choices.

    Raises:
        ConfigError: too few people, or people whose faces are the same.
    """
    compared = _some(subjects, seed)
    scores = balanced_scores(vectors[compared], subjects[compared])
    mated = scores.mated_subject_count >= (FEWEST_MATED if probabilities else 1)
    plain = Pool.of(vectors, subjects, averaged=averaged)
    verification = _verification(scores)
    table = {
        "schema": SCHEMA,
        "model": str(model),
        "source": source,
        "data": data,
        "people": plain.size,
        "people_with_two_images": int((np.bincount(plain.people) >= 2).sum()),
        "images": len(vectors),
        "averaged": averaged,
        "draws": draws,
        "seed": seed,
        "made_with": {"faceindex": __version__, "numpy": np.__version__, "python": platform.python_version()},
        "method": METHOD,
        "verification": verification,
        "same": fit_same(scores) if mated else _borrowed(probabilities, "same"),
        "cosines": {
            "identification": _identification(plain, gallery_sizes, draws, seed),
            **(_probabilities(plain, search_sizes, draws, seed) if mated else _borrowed(probabilities, "cosines")),
            "clumping": CLUMPING_OF_COSINES,
        },
        "normalised": None,
    }
    made = (cohort or pool_cohort)(plain, ThresholdGrid.from_json(verification))
    if made:
        pool = replace(plain, cohort=made[0], members=made[1])
        normalisation = made[0].normalisation
        about = {"k": normalisation.k, "weight": normalisation.weight, "cohort": len(made[0].vectors)}
        table["normalised"] = {
            **about,
            "identification": _identification(pool, gallery_sizes, draws, seed),
            **(_probabilities(pool, search_sizes, draws, seed) if mated else _borrowed(probabilities, "normalised")),
            "clumping": CLUMPING_OF_SCORES,
        }
    return table


CohortMaker = Callable[[Pool, ThresholdGrid], tuple[Cohort, NDArray[np.int64]] | None]


def pool_cohort(pool: Pool, verification: ThresholdGrid) -> tuple[Cohort, NDArray[np.int64]] | None:
    """Return a cohort of people of the pool, and which member is each person; None where they are too few."""
    order = np.random.default_rng(0).permutation(len(pool.people))[:SAMPLE]
    same, alike = person_limits(verification)
    chosen = order[one_face_of_each(pool.vectors[order], pool.people[order], same=same, alike=alike)]
    if len(chosen) < FEWEST_MEMBERS:
        return None
    members = np.full(pool.size, NOBODY)
    members[pool.people[chosen]] = np.arange(len(chosen))
    return Cohort(pool.vectors[chosen], NORMALISATION, same), members


def person_limits(verification: ThresholdGrid) -> tuple[float, float]:
    """Return the cosines that two people hardly ever and seldom reach, see `one_face_of_each`."""
    (same, *_), (alike, *_) = verification.look_up(SAME_FMR, 1), verification.look_up(ALIKE_FMR, 1)
    return same, alike


def _some(subjects: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return the faces that 1:1 comparisons are made of, at most about MOST_COMPARED, as many of each person."""
    if len(subjects) <= MOST_COMPARED:
        return np.arange(len(subjects))
    order = np.random.default_rng(seed).permutation(len(subjects))
    order = order[np.argsort(subjects[order], kind="stable")]
    _, starts, sizes = np.unique(subjects[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(starts, sizes)
    return np.sort(order[rank < max(2, MOST_COMPARED // len(starts))])


def local_sizes(gallery_size: int) -> list[int]:
    """Return the sizes of a grid for galleries of this size, and of parts of it that a filter leaves."""
    return sorted({max(1, gallery_size // part) for part in (1, 2, 5, 10, 30, 100, 1000, gallery_size)} | {1})


def nearby_sizes(gallery_size: int) -> list[int]:
    """Return the sizes of simulated searches that tell most of a gallery of this size."""
    return [max(3, gallery_size // part) for part in (4, 2, 1)]


def _identification(pool: Pool, gallery_sizes: Sequence[int], draws: int, seed: int) -> dict[str, Any]:
    rates = OpenSetRates.of_pool(pool, draws, seed)
    return {
        "gallery_sizes": list(gallery_sizes),
        "rates": FPIRS,
        **_columns([rates.operating_points(FPIRS, size) for size in gallery_sizes]),
        "tail_exponent": rates.tail_exponent,
        "ceiling": rates.ceiling,
    }


def _probabilities(pool: Pool, sizes: Sequence[int], draws: int, seed: int) -> dict[str, Any]:
    inside = sorted({min(size, pool.size - 1) for size in sizes if size >= 3})
    searches = simulate_searches(pool, inside, draws, seed)
    return {"identified": fit_identified(searches), "identified_by_margin": fit_identified(searches, margin=True)}


def _borrowed(table: Mapping[str, Any] | None, part: str) -> Any:
    """Return what another table says of probabilities; None where there is none."""
    found = table[part] if table else None
    if part == "same":
        return found
    return {name: found[name] if found else None for name in ("identified", "identified_by_margin")}


def _verification(scores: BalancedScores) -> dict[str, Any]:
    measured = np.geomspace(FMRS[0], MEASURED_PAIRS / scores.person_pair_count, 400)
    thresholds = scores.thresholds_at(measured)
    exponent = tail_exponent(thresholds, measured * scores.person_pair_count)
    strictest = float(measured[-1])
    points = []
    for fmr in FMRS:
        inside = max(fmr, strictest)
        threshold = tail_threshold(float(scores.thresholds_at(np.array([inside]))[0]), fmr / inside, exponent)
        pairs = int(fmr * scores.person_pair_count)
        points.append(OperatingPoint(threshold, pairs, extrapolated=fmr < strictest))
    return {"gallery_sizes": [1], "rates": FMRS, **_columns([points]), "tail_exponent": exponent, "ceiling": 1.0}


def _columns(points: list[list[OperatingPoint]]) -> dict[str, Any]:
    return {
        "thresholds": [[round(point.threshold, 6) for point in row] for row in points],
        "pairs": [[point.pairs for point in row] for row in points],
        "extrapolated": [[point.extrapolated for point in row] for row in points],
    }
