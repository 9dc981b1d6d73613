"""Protocols that papers report on: LFW's pairs in folds, and one after BLUFR.

BLUFR (Liao, Lei, Yi and Li, IJCB 2014) has ten random trials and reports mean less standard deviation. Its lists are
not used here: the trials are drawn anew with its proportions, so that figures compare roughly. As there, every
comparison counts once; one prolific person weighs much.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceindex.errors import ConfigError
from faceindex.evaluation.scores import balanced_scores, one_face_each, score_blocks

Pair = tuple[str, str, bool]

TRIALS = 10
SET_ASIDE = 1500 / 5749
"""Share of the people that BLUFR keeps for training; nothing is trained here, so they are left out."""
ENROLLED = 1000 / 1242
"""Share of the other people with two photos or more that are enrolled, with one photo each."""
FAR_OF_VERIFICATION, FAR_OF_IDENTIFICATION = 1e-3, 1e-2


@dataclass(frozen=True, slots=True)
class Fold:
    """One fold of LFW's pairs."""

    accuracy: float
    threshold: float
    """The best one of the other folds together."""


@dataclass(frozen=True, slots=True, eq=False)
class Blufr:
    """Rates of each trial, float64 (TRIALS,)."""

    verification: NDArray[np.float64]
    """Share of mated comparisons at or above the threshold of FAR 0.1 %."""
    identification: NDArray[np.float64]
    """Share of mated searches with the right person first, at or above the threshold of FAR 1 %."""
    gallery_size: int
    mated_searches: float
    """Mean of the trials."""
    nonmated_searches: float


def mean_less_sd(rates: NDArray[np.float64]) -> float:
    """Return what BLUFR reports of its trials."""
    return float(rates.mean() - rates.std(ddof=1))


def read_pairs(path: Path) -> list[list[Pair]]:
    """Return the folds of a pairs file of LFW: two file names and whether they show one person.

    Raises:
        ConfigError: the file cannot be read, or is not in that format.
    """
    try:
        header, *lines = path.read_text(encoding="utf-8").splitlines()
        fold_count, per_kind = (int(number) for number in header.split())
        pairs = [_pair(line.split()) for line in lines]
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"a pairs file of LFW wanted (folds and pairs, then `name i j` lines): {path}: {error}"
        ) from error
    if not pairs or len(pairs) != fold_count * 2 * per_kind:
        raise ConfigError(f"{path} promises {fold_count * 2 * per_kind} pairs and holds {len(pairs)}")
    return [pairs[start : start + 2 * per_kind] for start in range(0, len(pairs), 2 * per_kind)]


def _pair(words: list[str]) -> Pair:
    if len(words) not in (3, 4):
        raise ValueError(f"got {' '.join(words)!r}")
    left, right = (words[0], words[1]), (words[-2] if len(words) == 4 else words[0], words[-1])
    names = [f"{person}_{int(number):04d}.jpg" for person, number in (left, right)]
    return names[0], names[1], len(words) == 3


def fold_accuracies(scores: list[NDArray[np.float64]], mated: list[NDArray[np.bool_]]) -> list[Fold]:
    """Return the accuracy of each fold at the threshold that is best on the others.

    Args:
        scores: for each fold the similarity of every pair; NaN where a face is missing, which counts as an error.
        mated: for each fold whether a pair shows one person.
    """
    results = []
    for fold in range(len(scores)):
        others = [index for index in range(len(scores)) if index != fold] or [fold]
        threshold = best_threshold(
            np.concatenate([scores[i] for i in others]), np.concatenate([mated[i] for i in others])
        )
        right = (scores[fold] >= threshold) == mated[fold]
        results.append(Fold(float(np.mean(right & ~np.isnan(scores[fold]))), threshold))
    return results


def best_threshold(scores: NDArray[np.float64], mated: NDArray[np.bool_]) -> float:
    """Return the score at which deciding `score >= threshold` is right most often; the middle of its interval."""
    known = ~np.isnan(scores)
    if not known.any():
        raise ConfigError("no pair of the file has a face in both photos; are these the photos of the pairs file?")
    order = np.argsort(scores[known])
    values, labels = scores[known][order], mated[known][order]
    # A threshold below the first score calls all pairs mated; each score passed turns one pair into non-mated.
    right = labels.sum() + np.concatenate([[0], np.cumsum(np.where(labels, -1, 1))])
    # No threshold parts equal scores.
    possible = np.flatnonzero(np.concatenate([[True], np.diff(values) > 0, [True]]))
    best = int(possible[np.argmax(right[possible])])
    if best == 0:
        return float(values[0])
    return float(values[-1]) + 1e-9 if best == len(values) else float((values[best - 1] + values[best]) / 2)


def blufr_style(vectors: NDArray[np.float32], subjects: NDArray[np.int64], seed: int = 0) -> Blufr:
    """Return verification and open set identification rates of ten random trials.

    Args:
        vectors: float32 (n, d), unit length.
        subjects: int64 (n,), equal for faces of one person.
        seed: of the trials.

    Raises:
        ConfigError: too few people with two faces.
    """
    people = np.unique(subjects, return_inverse=True)[1]
    several = np.bincount(people) >= 2
    enrolled_count = int(ENROLLED * (1 - SET_ASIDE) * several.sum())
    if enrolled_count < 2:
        raise ConfigError(f"a BLUFR trial needs 4 people with two faces or more, got {int(several.sum())}")
    generator = np.random.default_rng(seed)
    verification, identification, searches = [], [], []
    for _ in range(TRIALS):
        order = generator.permutation(len(several))
        tested = order[int(SET_ASIDE * len(order)) :]
        members = tested[several[tested]][:enrolled_count]
        kept = np.isin(people, tested)
        scores = balanced_scores(vectors[kept], people[kept], balanced=False)
        verification.append(1.0 - float(scores.fnmr[scores.edge_at(FAR_OF_VERIFICATION)]))
        rows = np.flatnonzero(np.isin(people, members))
        gallery = rows[one_face_each(people[rows], generator)]
        mated = np.setdiff1d(rows, gallery)
        strangers = np.flatnonzero(kept & ~np.isin(people, members))
        identification.append(_identified(vectors, people, gallery, mated, strangers))
        searches.append((len(mated), len(strangers)))
    mated_count, stranger_count = np.mean(searches, axis=0)
    return Blufr(
        np.array(verification), np.array(identification), enrolled_count, float(mated_count), float(stranger_count)
    )


def _identified(
    vectors: NDArray[np.float32],
    people: NDArray[np.int64],
    gallery: NDArray[np.int64],
    mated: NDArray[np.int64],
    strangers: NDArray[np.int64],
) -> float:
    """Return the share of mated searches that find the right person first, above what FAR_OF_IDENTIFICATION allows."""
    firsts, right = [], []
    for rows in (strangers, mated):
        best, found = np.empty(len(rows), np.float32), np.empty(len(rows), np.int64)
        for start, cosines in score_blocks(vectors[rows], vectors[gallery]):
            best[start : start + len(cosines)] = cosines.max(axis=1)
            found[start : start + len(cosines)] = people[gallery[cosines.argmax(axis=1)]]
        firsts.append(best)
        right.append(found == people[rows])
    ascending = np.sort(firsts[0])
    # Decided by `>`: the strictest score that too many strangers reach.
    limit = ascending[len(ascending) - 1 - int(FAR_OF_IDENTIFICATION * len(ascending))] if len(ascending) else -1.0
    return float(np.mean(right[1] & (firsts[1] > limit)))
