"""Make the threshold table of a model from labelled faces: a document of the schema `faceindex.thresholds/1`.

Knows the layout of the document; the estimators are in `open_set`, `scores` and `probabilities`.
"""

import platform
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceindex import __version__
from faceindex.evaluation.open_set import MEASURED_PAIRS, OpenSetRates, OperatingPoint, tail_exponent
from faceindex.evaluation.probabilities import fit_identified, fit_same, simulate_searches
from faceindex.evaluation.scores import BalancedScores, balanced_scores
from faceindex.evaluation.thresholds import SCHEMA, tail_threshold
from faceindex.types import ModelId

GALLERY_SIZES = [size for decade in range(7) for size in (10**decade, 2 * 10**decade, 5 * 10**decade)] + [10**7]
FPIRS = [0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 5e-3, 3e-3, 2e-3, 1e-3, 5e-4, 3e-4, 2e-4, 1e-4]
FMRS = [float(f"{step}e-{power}") for power in range(1, 9) for step in (5, 2, 1)]

METHOD = (
    "FPIR: mean over people of the share of galleries of N others that hold somebody at or above the threshold "
    "(U-statistic over one random face a person, draws averaged); beyond the pool log(1 - FPIR) grows like N^a; under "
    "10 pairs of people the tail goes on like a power of (1 - cosine). FMR: all non-mated pairs, weighted "
    "1 / (n_i n_j). Probabilities: logistic, identity-balanced, at even odds; `identified` on simulated searches."
)


def make_model_table(
    vectors: NDArray[np.float32],
    subjects: NDArray[np.int64],
    model: ModelId,
    *,
    data: str,
    draws: int = 5,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the table of a model as a JSON document.

    Args:
        vectors: float32 (n, d), unit length, at least 20 people, one or more with two faces.
        subjects: int64 (n,), equal for faces of one person.
        model: the model that made the vectors.
        data: which photos they are of, in words.
        draws: choices of one face a person that are averaged.
        seed: of the choices.

    Raises:
        ConfigError: too few people, or nobody has two faces.
    """
    scores = balanced_scores(vectors, subjects)
    rates = OpenSetRates.of_pool(vectors, subjects, scores, draws, seed)
    simulated = [size for size in GALLERY_SIZES if 2 <= size <= rates.others]
    searches = simulate_searches(vectors, subjects, simulated, draws, seed)
    return {
        "schema": SCHEMA,
        "model": str(model),
        "data": data,
        "people": scores.subject_count,
        "people_with_two_images": scores.mated_subject_count,
        "images": scores.image_count,
        "draws": draws,
        "seed": seed,
        "made_with": {"faceindex": __version__, "numpy": np.__version__, "python": platform.python_version()},
        "method": METHOD,
        "identification": {
            "gallery_sizes": GALLERY_SIZES,
            "rates": FPIRS,
            **_columns([rates.operating_points(FPIRS, size) for size in GALLERY_SIZES]),
            "tail_exponent": rates.tail_exponent,
        },
        "verification": _verification(scores),
        "probability": {"identified": fit_identified(searches), "same": fit_same(scores)},
    }


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
    return {"gallery_sizes": [1], "rates": FMRS, **_columns([points]), "tail_exponent": exponent}


def _columns(points: list[list[OperatingPoint]]) -> dict[str, Any]:
    return {
        "thresholds": [[round(point.threshold, 6) for point in row] for row in points],
        "pairs": [[point.pairs for point in row] for row in points],
        "extrapolated": [[point.extrapolated for point in row] for row in points],
    }
