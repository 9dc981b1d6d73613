r"""What symmetric top-k mean subtraction gains in open set identification, and which constants are best.

    faceindex index lfw -c CAT
    python benchmarks/normalisation.py --catalog CAT

People are split in halves. Constants are chosen on searches of one half with a cohort of the other, and measured the
other way round. AS-norm, with means and standard deviations of the nearest 200 of the same cohort, stands beside it.
The threshold of each test lets in one of its own strangers in a hundred.
"""

import argparse
from itertools import product
from typing import Any

import numpy as np
from decisions import LARGEST, Half, Scoring, Test, by, halves
from model_table import LABEL_ERRORS
from numpy.typing import NDArray
from report import machine, publish

import faceindex
from faceindex.evaluation.cohort import Cohort, one_face_of_each
from faceindex.evaluation.model_table import person_limits
from faceindex.evaluation.scores import score_blocks
from faceindex.evaluation.thresholds import Normalisation, load_table
from faceindex.labelled import people_from_folders

FPIR = 0.01
SIZES, KS, WEIGHTS = (400, 1000, 1600), (2, 5, 10), (0.5, 0.75, 1.0)
AS_NORM_NEAREST = 200
GALLERIES = 3


class Cohorts:
    """Cohorts of people of one half."""

    def __init__(self, half: Half, model: str) -> None:
        self.same, alike = person_limits(load_table(model).verification)
        order = np.random.default_rng(0).permutation(len(half.people))
        vectors, people = half.vectors[order], half.people[order]
        chosen = one_face_of_each(vectors, people, same=self.same, alike=alike, members=SIZES[-1])
        self.vectors = vectors[chosen]

    def of(self, size: int, k: int, weight: float) -> Cohort:
        """Return the first people, and constants."""
        return Cohort(self.vectors[:size], Normalisation(k, weight), self.same)


def rate(half: Half, scored: Scoring, seed: int) -> float:
    """Return DIR at FPIR, mean of some galleries."""
    draws = [Test.draw(half.vectors, half.people, LARGEST, scored, seed + gallery) for gallery in range(GALLERIES)]
    return float(np.mean([draw.dir(draw.ideal(FPIR)) for draw in draws]))


def as_norm(cohort: Cohort) -> Scoring:
    """Return scores less the mean and divided by the standard deviation of the nearest of the cohort, of both sides."""

    def moments(vectors: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        nearest = np.concatenate(
            [
                np.partition(cosines, -AS_NORM_NEAREST, axis=1)[:, -AS_NORM_NEAREST:]
                for _, cosines in score_blocks(vectors, cohort.vectors)
            ]
        )
        return [nearest.mean(axis=1), nearest.std(axis=1)]

    def scored(probes: NDArray[np.float32], gallery: NDArray[np.float32]) -> NDArray[np.float32]:
        cosines = probes @ gallery.T
        (mean, sd), (gallery_mean, gallery_sd) = moments(probes), moments(gallery)
        return (cosines - mean[:, None]) / sd[:, None] + (cosines - gallery_mean) / gallery_sd

    return scored


def main() -> None:
    """Print and write rates with and without, and the constants chosen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", required=True)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    about = machine()
    labelled = people_from_folders(faceindex.open(arguments.catalog)).without(LABEL_ERRORS)
    choices = list(product(SIZES, KS, WEIGHTS))
    found: dict[str, list[float]] = {"cosine": [], "constants of the other half": [], "AS-norm": []}
    grid = np.zeros((arguments.splits, len(choices)))
    picks = []
    for split in range(arguments.splits):
        seed = arguments.seed + split
        one, other = halves(labelled.vectors, labelled.subjects, seed)
        of_one, of_other = Cohorts(one, labelled.model), Cohorts(other, labelled.model)
        grid[split] = [rate(one, by(of_other.of(*choice)), seed) for choice in choices]
        picks.append(choices[int(grid[split].argmax())])
        found["cosine"].append(rate(other, by(None), seed))
        found["constants of the other half"].append(rate(other, by(of_one.of(*picks[-1])), seed))
        found["AS-norm"].append(rate(other, as_norm(of_one.of(1000, 0, 0.0)), seed))
    rows = [row(name, np.array(rates), np.array(found["cosine"])) for name, rates in found.items()]
    for choice, rates in zip(choices, grid.T, strict=True):
        rows.append(row("cohort {:,}, k {}, weight {}".format(*choice), rates, np.array(found["cosine"])))
    recipe = (
        f"{labelled.model}; {LARGEST:,} of half of {int(labelled.subjects.max()) + 1:,} people enrolled with one face, "
        f"the others are strangers; {arguments.splits} random halves (seeds from {arguments.seed}), {GALLERIES} "
        f"galleries each. Chosen on one half: {'; '.join('{:,}, {}, {}'.format(*pick) for pick in picks)}. What is "
        "shipped is read from the last rows, which are no test."
    )
    publish(
        f"normalisation_{labelled.model.partition('@')[0]}", "Symmetric top-k mean subtraction", recipe, rows, about
    )


def row(name: str, rates: NDArray[np.float64], cosine: NDArray[np.float64]) -> dict[str, Any]:
    """Return a line of the table."""
    return {
        "score": name,
        "DIR at FPIR 1 %": f"{rates.mean():.4f}",
        "gain": f"{rates.mean() - cosine.mean():+.4f}",
        "sd of the splits": f"{rates.std(ddof=1):.4f}",
    }


if __name__ == "__main__":
    main()
