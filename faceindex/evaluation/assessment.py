"""Everything measured on a set of labelled faces, and the document `faceindex.evaluate/1` made of it."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceindex.errors import ConfigError
from faceindex.evaluation.identification import IdentificationPoint, OpenSet
from faceindex.evaluation.intervals import Estimate
from faceindex.evaluation.model_table import pool_cohort
from faceindex.evaluation.open_set import MEASURED_PAIRS
from faceindex.evaluation.pairing import Pool
from faceindex.evaluation.probabilities import simulate_searches
from faceindex.evaluation.protocols import (
    FAR_OF_IDENTIFICATION,
    FAR_OF_VERIFICATION,
    TRIALS,
    Blufr,
    Fold,
    Pair,
    blufr_style,
    fold_accuracies,
    mean_less_sd,
)
from faceindex.evaluation.reliability import Reliability, cllr, min_cllr, reliability
from faceindex.evaluation.scores import EDGES, BalancedScores, balanced_scores
from faceindex.evaluation.thresholds import ModelTable
from faceindex.evaluation.verification import VerificationPoint, operating_points

FMRS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
GALLERY_SIZES = (100, 250, 500, 1000, 2500, 5000, 10_000, 20_000, 50_000)
RANKS = 20
DRAWS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Identification:
    """Rates of searches in galleries of one size."""

    gallery_size: int
    ranks: list[Estimate]
    """Share of enrolled people found at rank 1, 2 ... RANKS or better."""
    points: list[IdentificationPoint]
    fpir: NDArray[np.float64]
    """At the thresholds of `Assessment.thresholds`, float64 (t,)."""
    fnir: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Probabilities:
    """What the probabilities of a model's table are worth on these faces."""

    cllr: float
    min_cllr: float
    gallery_size: int
    searches: int
    reliability: Reliability
    """Of the first candidates of simulated searches, half of them of enrolled people."""


@dataclass(frozen=True, slots=True)
class FoldedPairs:
    """LFW's own protocol."""

    pairs: int
    missing: int
    """Pairs with a photo without a face, counted as errors."""
    folds: list[Fold]

    @property
    def accuracies(self) -> NDArray[np.float64]:
        return np.array([fold.accuracy for fold in self.folds])


@dataclass(slots=True, eq=False)
class Assessment:
    """Error rates of labelled faces; a part that too few labels allow is None, and `notes` says why."""

    scores: BalancedScores
    equal_error_rate: Estimate
    verification: list[VerificationPoint]
    seed: int
    identification: list[Identification] = field(default_factory=list)
    normalised: bool = False
    """Whether searches are by normalised scores, as those of a catalog are, and not by cosines."""
    mated_searches: int = 0
    blufr: Blufr | None = None
    probabilities: Probabilities | None = None
    pairs: FoldedPairs | None = None
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the measured part of the document."""
        scores = self.scores
        return {
            "people": scores.subject_count,
            "people_with_two_faces": scores.mated_subject_count,
            "faces": scores.image_count,
            "seed": self.seed,
            "verification": {
                "mated_comparisons": scores.mated_count,
                "nonmated_comparisons": scores.nonmated_count,
                "person_pairs": scores.person_pair_count,
                "eer": asdict(self.equal_error_rate),
                "points": [_verification_json(point) for point in self.verification],
            },
            "identification": {
                "score": "normalised" if self.normalised else "cosine",
                "draws": DRAWS,
                "mated_searches": self.mated_searches,
                "nonmated_searches": DRAWS * scores.subject_count,
                "galleries": [_gallery_json(one) for one in self.identification],
            }
            if self.identification
            else None,
            "blufr_style": _blufr_json(self.blufr) if self.blufr else None,
            "probability": asdict(self.probabilities) if self.probabilities else None,
            "pairs": _pairs_json(self.pairs) if self.pairs else None,
            "notes": self.notes,
        }


def assess(
    vectors: NDArray[np.float32], subjects: NDArray[np.int64], table: ModelTable | None, seed: int = 0
) -> Assessment:
    """Measure the error rates of labelled faces, and the probabilities of a table on them.

    Args:
        vectors: float32 (n, d), unit length.
        subjects: int64 (n,), equal for faces of one person.
        table: of the model that made the vectors, if there is one.
        seed: of the choices of faces.

    Raises:
        ConfigError: fewer than two people, or nobody has two faces.
    """
    scores = balanced_scores(vectors, subjects)
    least = MEASURED_PAIRS / scores.person_pair_count
    points, equal = operating_points(vectors, subjects, scores, [fmr for fmr in FMRS if fmr >= least])
    found = Assessment(scores, equal, points, seed)
    if not points:
        found.notes.append(
            f"no rate at an FMR: {FMRS[0]:g} needs {MEASURED_PAIRS / FMRS[0]:,.0f} pairs of people, got "
            f"{scores.person_pair_count:,}"
        )
    try:
        sizes = gallery_sizes(scores.subject_count)
        pool = _pool(vectors, subjects, table)
        found.normalised = pool.cohort is not None
        open_set = OpenSet.of_pool(pool, sizes, DRAWS, seed)
        found.identification = [_identification(open_set, size) for size in sizes]
        found.mated_searches = len(open_set.mated.similarities)
        size = max(size for size in sizes if size <= max(1000, sizes[0]))
        found.probabilities = _probabilities(pool, scores, table, size, seed)
        found.blufr = blufr_style(vectors, subjects, seed)
    except ConfigError as error:
        found.notes.append(f"no searches: {error}")
    if table is None:
        found.notes.append("no probabilities: no threshold table for this model")
    return found


def fold_pairs(folds: list[list[Pair]], vectors: NDArray[np.float32], files: list[str]) -> FoldedPairs:
    """Return the accuracy on pairs of photos, which are known by their file names.

    Args:
        folds: from `protocols.read_pairs`.
        vectors: float32 (n, d), unit length.
        files: name of the photo of each vector.
    """
    rows = {name: row for row, name in enumerate(files)}
    scores, mated, missing = [], [], 0
    for fold in folds:
        found = [(rows.get(left), rows.get(right)) for left, right, _ in fold]
        missing += sum(None in pair for pair in found)
        scores.append(
            np.array([np.nan if a is None or b is None else float(vectors[a] @ vectors[b]) for a, b in found])
        )
        mated.append(np.array([same for _, _, same in fold]))
    return FoldedPairs(sum(map(len, folds)), missing, fold_accuracies(scores, mated))


def gallery_sizes(people: int) -> list[int]:
    """Return the sizes to measure with so many people: each search leaves its own person out."""
    return [size for size in GALLERY_SIZES if size < people] or [max(people - 1, 1)]


def _identification(open_set: OpenSet, size: int) -> Identification:
    return Identification(
        size,
        open_set.identification_rates(size, RANKS),
        open_set.points(size),
        open_set.strangers.rates(size),
        open_set.false_negative_rates(open_set.strangers.thresholds, size),
    )


def _pool(vectors: NDArray[np.float32], subjects: NDArray[np.int64], table: ModelTable | None) -> Pool:
    """Return the people, with a cohort of their own where searches with this table normalise scores."""
    pool = Pool.of(vectors, subjects)
    made = pool_cohort(pool, table.verification) if table and table.normalised else None
    return replace(pool, cohort=made[0], members=made[1]) if made else pool


def _probabilities(
    pool: Pool,
    scores: BalancedScores,
    table: ModelTable | None,
    size: int,
    seed: int,
) -> Probabilities | None:
    """Return what a table's probabilities are worth; None where it has none, made of people with one face each."""
    if table is None or table.same is None or table.cosines.identified is None:
        return None
    centres = (EDGES[1:] + EDGES[:-1]) / 2
    log_ratios = table.same["intercept"] + table.same["similarity"] * centres
    searches = simulate_searches(pool, [size], DRAWS, seed)
    of_scores = table.scores(normalised=pool.cohort is not None)
    pairs = zip(searches.scores.tolist(), searches.margins.tolist(), strict=True)
    said = np.array([of_scores.probability(score, size, margin) for score, margin in pairs], np.float64)
    told = reliability(said, searches.right, searches.weights)
    return Probabilities(cllr(scores, log_ratios), min_cllr(scores), size, len(said), told)


def _verification_json(point: VerificationPoint) -> dict[str, Any]:
    return {
        "fmr_asked": point.asked,
        "threshold": round(point.threshold, 6),
        "fmr": asdict(point.fmr),
        "fnmr": asdict(point.tar.complement()),
        "tar": asdict(point.tar),
        "nonmated_above": point.comparisons,
        "person_pairs_above": point.person_pairs,
    }


def _gallery_json(found: Identification) -> dict[str, Any]:
    return {
        "gallery_size": found.gallery_size,
        "rank_1": asdict(found.ranks[0]),
        "cmc": [rate.value for rate in found.ranks],
        "points": [
            {
                "fpir_asked": point.asked,
                "threshold": round(point.threshold, 6),
                "fpir": asdict(point.fpir),
                "fnir": asdict(point.dir.complement()),
                "dir": asdict(point.dir),
                "person_pairs_above": point.pairs,
                "measured": point.measured,
            }
            for point in found.points
        ],
    }


def _blufr_json(found: Blufr) -> dict[str, Any]:
    return {
        "trials": TRIALS,
        "gallery_size": found.gallery_size,
        "mated_searches": found.mated_searches,
        "nonmated_searches": found.nonmated_searches,
        "verification_rate": _trials_json(found.verification, FAR_OF_VERIFICATION),
        "identification_rate": _trials_json(found.identification, FAR_OF_IDENTIFICATION),
    }


def _trials_json(rates: NDArray[np.float64], far: float) -> dict[str, Any]:
    mean, sd = float(rates.mean()), float(rates.std(ddof=1))
    return {"far": far, "mean": mean, "sd": sd, "mean_less_sd": mean_less_sd(rates), "trials": rates.tolist()}


def _pairs_json(found: FoldedPairs) -> dict[str, Any]:
    sd = float(found.accuracies.std(ddof=1)) if len(found.folds) > 1 else None
    return {
        "pairs": found.pairs,
        "missing": found.missing,
        "accuracy": float(found.accuracies.mean()),
        "sd": sd,
        "standard_error": sd / len(found.folds) ** 0.5 if sd is not None else None,
        "folds": [asdict(fold) for fold in found.folds],
    }
