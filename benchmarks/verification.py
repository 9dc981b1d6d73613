r"""Does `verify --fmr` keep its error rate for people never seen, and does its probability mean what it says?

    faceindex index lfw -c CAT
    python benchmarks/verification.py --catalog CAT

Splits people in halves: the table is made of one as that of a model is, and tested on the other. Pictures of several
faces are put together of single ones, of people drawn at random: what `verify` decides by is the best of all pairs of
faces, at the error rate divided by the number of pairs.
"""

import argparse
import math
from collections import defaultdict
from typing import Any

import numpy as np
from model_table import LABEL_ERRORS
from numpy.typing import NDArray
from report import machine, publish

import faceindex
from faceindex.evaluation.model_table import make_model_table
from faceindex.evaluation.reliability import cllr, min_cllr, reliability
from faceindex.evaluation.scores import EDGES, BalancedScores, balanced_scores, one_face_each
from faceindex.evaluation.thresholds import ModelTable
from faceindex.labelled import people_from_folders

FMRS = (1e-2, 1e-3, 1e-4)
PICTURES = ((1, 1), (1, 5), (2, 2), (5, 5), (10, 10))
"""Faces in the one picture and in the other."""
TRIALS = 100_000
"""Pairs of pictures of different people, and half as many with one person in both, for each size and split."""

Floats = NDArray[np.float64]


def main() -> None:
    """Print and publish what was asked against what happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", required=True, help="catalog of LFW's photos")
    parser.add_argument("--splits", type=int, default=20)
    arguments = parser.parse_args()
    about = machine()
    labelled = people_from_folders(faceindex.open(arguments.catalog)).without(LABEL_ERRORS)
    vectors, subjects = labelled.vectors, labelled.subjects
    people = int(subjects.max()) + 1

    found: dict[Any, list[float]] = defaultdict(list)
    costs = []
    for seed in range(arguments.splits):
        generator = np.random.default_rng(seed)
        first = np.isin(subjects, generator.permutation(people)[: people // 2])
        document = make_model_table(vectors[first], subjects[first], labelled.model, data="half", draws=1, seed=seed)
        table = ModelTable.from_json(document)
        scores = balanced_scores(vectors[~first], subjects[~first])
        costs.append((cllr(scores, log_ratios(table, (EDGES[1:] + EDGES[:-1]) / 2)), min_cllr(scores)))
        for fmr in FMRS:
            realised, tar = rates_at(scores, table.verification_threshold(fmr).value)
            found["every pair", fmr].append(realised / fmr)
            found["every pair", fmr, "tar"].append(tar)
        for size in PICTURES:
            for key, value in of_pictures(vectors[~first], subjects[~first], table, size, generator).items():
                found[size, *key].append(value)
        print(f"split {seed}: Cllr {costs[-1][0]:.4f}, at best {costs[-1][1]:.4f}", flush=True)
    rows = [_row(found, "every pair", fmr) for fmr in FMRS]
    rows += [_row(found, size, fmr) for size in PICTURES for fmr in FMRS[:2]]
    cost, least = np.array(costs).T
    recipe = (
        f"{labelled.model}; {arguments.splits} random halves of {people:,} people (seeds from 0): realised / asked on "
        "the half that the table was not made of, median and 10 to 90 % of the splits. First every pair of one face "
        f"and another, each person counted once; then {TRIALS:,} pairs of pictures with so many faces each, of "
        f"different people. Found: pictures that share one person, decided `same` by that person's faces. Cllr "
        f"{cost.mean():.4f}, at best {least.mean():.4f}; the difference {(cost - least).mean():.4f}, at most "
        f"{(cost - least).max():.4f}. Probabilities: at even odds that the pictures share a person."
    )
    publish("verification", "Error rates and probabilities of 1:1 comparisons", recipe, rows, about)


def rates_at(scores: BalancedScores, threshold: float) -> tuple[float, float]:
    """Return false match rate and true accept rate at a threshold, linear within a bin."""
    return float(np.interp(threshold, EDGES, scores.fmr)), float(1 - np.interp(threshold, EDGES, scores.fnmr))


def log_ratios(table: ModelTable, similarities: Floats) -> Floats:
    """Return the log-likelihood ratios of similarities."""
    assert table.same
    return table.same["intercept"] + table.same["similarity"] * similarities


def of_pictures(
    vectors: NDArray[np.float32],
    subjects: NDArray[np.int64],
    table: ModelTable,
    size: tuple[int, int],
    generator: np.random.Generator,
) -> dict[tuple[Any, ...], float]:
    """Return what `verify` makes of pictures with so many faces: realised rates over those asked, and probabilities."""
    pairs = math.prod(size)
    strangers, _ = best_pairs(vectors, subjects, size, TRIALS, generator, shared=False)
    mated, right = best_pairs(vectors, subjects, size, TRIALS // 2, generator, shared=True)
    told: dict[tuple[Any, ...], float] = {}
    for fmr in FMRS[:2]:  # the third is ten of the trials
        threshold = table.verification_threshold(fmr / pairs).value
        told[fmr,] = float((strangers >= threshold).mean()) / fmr
        told[fmr, "tar"] = float(((mated >= threshold) & right).mean())
    odds = log_ratios(table, np.concatenate([strangers, mated]).astype(np.float64)) - math.log(pairs)
    said = 0.5 * (1 + np.tanh(0.5 * odds))
    is_right = np.concatenate([np.zeros(len(strangers), np.bool_), right])
    weights = np.repeat([1 / len(strangers), 1 / len(mated)], [len(strangers), len(mated)])
    told["error",] = reliability(said, is_right, weights).error
    sure = said >= 0.9
    told["said",] = float(np.average(said[sure], weights=weights[sure]))
    told["right",] = float(np.average(is_right[sure], weights=weights[sure]))
    return told


def best_pairs(
    vectors: NDArray[np.float32],
    subjects: NDArray[np.int64],
    size: tuple[int, int],
    count: int,
    generator: np.random.Generator,
    *,
    shared: bool,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the similarity of the most alike faces of pairs of pictures, and whether they are of the shared person."""
    people = np.unique(subjects, return_inverse=True)[1]
    drawn = generator.integers(people.max() + 1, size=(count, sum(size)))
    ordered = np.sort(drawn, axis=1)
    drawn = drawn[(np.diff(ordered, axis=1) > 0).all(axis=1)]
    faces = one_face_each(people, generator)
    left, right = faces[drawn[:, : size[0]]], faces[drawn[:, size[0] :]]
    if shared:
        # The first face of both pictures is of one person, in two photos.
        others = np.setdiff1d(np.arange(len(people)), faces)
        second = others[one_face_each(people[others], generator)]
        chosen = second[generator.integers(len(second), size=len(drawn))]
        unseen = ~(drawn == people[chosen][:, None]).any(axis=1)
        left, right, chosen = left[unseen], right[unseen], chosen[unseen]
        left[:, 0], right[:, 0] = faces[people[chosen]], chosen
    best, place = np.empty(len(left), np.float32), np.empty(len(left), np.int64)
    for start in range(0, len(left), 4096):
        rows = slice(start, start + 4096)
        cosines = (vectors[left[rows]] @ vectors[right[rows]].transpose(0, 2, 1)).reshape(len(left[rows]), -1)
        best[rows], place[rows] = cosines.max(axis=1), cosines.argmax(axis=1)
    return best, (place == 0) & shared


def _row(found: dict[Any, list[float]], what: Any, fmr: float) -> dict[str, Any]:
    ratios = np.array(found[what, fmr])
    low, middle, high = np.quantile(ratios, [0.1, 0.5, 0.9])
    within = int(((ratios < 1.5) & (ratios > 1 / 1.5)).sum())
    errors = found.get((what, "error"))
    return {
        "faces in the pictures": what if isinstance(what, str) else f"{what[0]} and {what[1]}",
        "FMR asked": f"{fmr:g}",
        "realised / asked": f"{middle:.2f} ({low:.2f} to {high:.2f})",
        "within 1.5": f"{within} of {len(ratios)}",
        "found": f"{np.mean(found[what, fmr, 'tar']):.1%}",
        "calibration error": f"{np.mean(errors):.4f}" if errors else "-",
        "said at 0.9 or more: mean; right": f"{np.mean(found[what, 'said']):.3f}; {np.mean(found[what, 'right']):.3f}"
        if errors
        else "-",
    }


if __name__ == "__main__":
    main()
