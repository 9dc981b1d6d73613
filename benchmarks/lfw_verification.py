"""LFW verification: accuracy over the folds of a pairs file, each threshold chosen on the other folds.

    faceindex index lfw-dev -c CAT
    python benchmarks/lfw_verification.py --catalog CAT --pairs lfw-dev-pairs.txt

A pair with a photo in which no face was found counts as an error.
"""

import argparse
from pathlib import Path

import numpy as np
from lfw import main_faces
from numpy.typing import NDArray
from report import machine, publish

Pair = tuple[str, str, bool]


def read_pairs(path: Path) -> list[list[Pair]]:
    """Return the folds of a pairs file: two file names and whether they show one person."""
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    fold_count, per_kind = (int(number) for number in header.split())
    pairs = []
    for line in lines:
        words = line.split()
        left, right = (words[0], words[1]), (words[-2] if len(words) == 4 else words[0], words[-1])
        names = [f"{person}_{int(number):04d}.jpg" for person, number in (left, right)]
        pairs.append((names[0], names[1], len(words) == 3))
    if len(pairs) != fold_count * 2 * per_kind:
        raise SystemExit(f"{path} promises {fold_count * 2 * per_kind} pairs and holds {len(pairs)}")
    return [pairs[start : start + 2 * per_kind] for start in range(0, len(pairs), 2 * per_kind)]


def fold_accuracies(scores: list[NDArray[np.float64]], mated: list[NDArray[np.bool_]]) -> list[tuple[float, float]]:
    """Return for each fold its accuracy and the threshold, which is the best one of the other folds together.

    Args:
        scores: for each fold the similarity of every pair; NaN where a face is missing, which counts as an error.
        mated: for each fold whether a pair shows one person.
    """
    results = []
    for fold in range(len(scores)):
        others = [index for index in range(len(scores)) if index != fold]
        threshold = best_threshold(
            np.concatenate([scores[i] for i in others]), np.concatenate([mated[i] for i in others])
        )
        right = (scores[fold] >= threshold) == mated[fold]
        results.append((float(np.mean(right & ~np.isnan(scores[fold]))), threshold))
    return results


def best_threshold(scores: NDArray[np.float64], mated: NDArray[np.bool_]) -> float:
    """Return the score at which deciding `score >= threshold` is right most often; the middle of its interval."""
    known = ~np.isnan(scores)
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


def main() -> None:
    """Print the accuracy of each fold and of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", required=True)
    parser.add_argument("--pairs", required=True, type=Path)
    arguments = parser.parse_args()
    about = machine()
    photos, vectors, model = main_faces(arguments.catalog)
    rows_of = {Path(photo).name: row for row, photo in enumerate(photos)}
    scores, mated, missing = [], [], 0
    for fold in read_pairs(arguments.pairs):
        found = [(rows_of.get(left), rows_of.get(right)) for left, right, _ in fold]
        missing += sum(None in pair for pair in found)
        scores.append(
            np.array([np.nan if a is None or b is None else float(vectors[a] @ vectors[b]) for a, b in found])
        )
        mated.append(np.array([same for _, _, same in fold]))
    results = fold_accuracies(scores, mated)
    accuracies = [accuracy for accuracy, _ in results]
    thresholds = [threshold for _, threshold in results]
    rows = [
        {"fold": fold, "accuracy %": round(100 * accuracy, 3), "threshold": round(threshold, 4)}
        for fold, accuracy, threshold in [
            *zip(map(str, range(1, len(results) + 1)), accuracies, thresholds, strict=True),
            ("mean", float(np.mean(accuracies)), float(np.mean(thresholds))),
            ("sd", float(np.std(accuracies, ddof=1)), float(np.std(thresholds, ddof=1))),
        ]
    ]
    recipe = (
        f"{model}; {sum(len(fold) for fold in scores):,} pairs in {len(scores)} folds of {arguments.pairs.name}, "
        f"threshold from the other folds; {missing} pairs with an undetected face, counted as errors. No randomness."
    )
    publish("lfw_verification", "LFW verification", recipe, rows, about)


if __name__ == "__main__":
    main()
