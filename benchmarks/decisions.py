r"""Do thresholds keep the error rates they promise, and do probabilities mean what they say, for people never seen?

    faceindex index lfw -c CAT
    python benchmarks/decisions.py --catalog CAT

Splits people in halves: on one a table is made as for a catalog's own people, on the other it is tested. One face of
each person is enrolled, and each stranger searches once. A perfect threshold still varies, as so few strangers are
wrong: its share of splits with one gallery each stands beside ours. A constant cosine, as other tools have, is chosen
at the smallest gallery and kept.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from model_table import LABEL_ERRORS
from numpy.typing import NDArray
from report import machine, publish
from scipy.stats import binom

import faceindex
from faceindex.evaluation.cohort import NOBODY, Cohort
from faceindex.evaluation.model_table import make_model_table, nearby_sizes, pool_cohort
from faceindex.evaluation.open_set import OpenSetRates
from faceindex.evaluation.pairing import Pairing, Pool
from faceindex.evaluation.reliability import reliability
from faceindex.evaluation.scores import one_face_each
from faceindex.evaluation.thresholds import ModelTable, ScoreTable
from faceindex.labelled import people_from_folders
from faceindex.types import ModelId

SIZES, FPIRS = (250, 500, 1000), (0.1, 0.01)
KINDS = ("cosine", "normalised")
LARGEST = SIZES[-1]
DRAWS = 5
GALLERIES = 5
"""Galleries drawn of the people of a split: who is a stranger differs, and the realised rate varies less."""


Scoring = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
"""From probes and gallery to scores, float32 (p, g)."""


def by(cohort: Cohort | None) -> Scoring:
    """Return scores normalised by a cohort of other people; cosines without one."""

    def scored(probes: NDArray[np.float32], gallery: NDArray[np.float32]) -> NDArray[np.float32]:
        nobody, anybody = np.full(len(gallery), NOBODY), np.zeros(len(probes), np.int64)
        pairing = Pairing(probes, gallery, anybody, None, cohort, nobody, strangers=False)
        return np.concatenate([block for _, block in pairing.blocks()])

    return scored


@dataclass(frozen=True, slots=True, eq=False)
class Test:
    """Searches of a gallery of people the table was not made with."""

    scores: NDArray[np.float32]
    """Of the first candidate, float32 (searches,)."""
    margins: NDArray[np.float32]
    right: NDArray[np.bool_]
    stranger: NDArray[np.bool_]
    weights: NDArray[np.float64]
    """Strangers 1 each; searches of an enrolled person sum to 1."""

    @classmethod
    def draw(
        cls,
        vectors: NDArray[np.float32],
        people: NDArray[np.int64],
        size: int,
        scored: Scoring,
        seed: int,
    ) -> "Test":
        """Enrol `size` random people."""
        generator = np.random.default_rng(seed)
        first = one_face_each(people, generator)
        order = generator.permutation(len(first))
        enrolled, strangers = order[:size], order[size:]
        place = np.full(len(first), NOBODY)
        place[enrolled] = np.arange(size)
        other = np.setdiff1d(np.arange(len(people)), first)
        other = other[place[people[other]] != NOBODY]
        probes = np.concatenate([first[strangers], other])
        own = np.concatenate([np.full(len(strangers), NOBODY), place[people[other]]])
        scores = scored(vectors[probes], vectors[first[enrolled]])
        two = np.partition(scores, -2, axis=1)[:, -2:]
        counts = np.bincount(people[other], minlength=len(first))
        weights = np.concatenate([np.ones(len(strangers)), 1.0 / counts[people[other]]])
        right = (scores.argmax(axis=1) == own) & (own != NOBODY)
        return cls(two[:, 1], two[:, 1] - two[:, 0], right, own == NOBODY, weights)

    def fpir(self, threshold: float) -> float:
        return float((self.scores[self.stranger] >= threshold).mean())

    def dir(self, threshold: float) -> float:
        """Return DIR at rank 1, each person counted once."""
        mated = ~self.stranger
        return float(np.average((self.right & (self.scores >= threshold))[mated], weights=self.weights[mated]))

    def ideal(self, fpir: float) -> float:
        """Return the threshold that lets in the share of these very strangers."""
        strangers = np.sort(self.scores[self.stranger])
        return float(np.nextafter(strangers[-int(fpir * len(strangers)) - 1], np.inf))


@dataclass(frozen=True, slots=True, eq=False)
class Half:
    """Half of the people."""

    vectors: NDArray[np.float32]
    people: NDArray[np.int64]

    def some(self, count: int) -> "Half":
        """Return its first people, who are in random order."""
        rows = self.people < count
        return Half(self.vectors[rows], self.people[rows])

    def table(self, model: ModelId) -> tuple[ModelTable, Cohort]:
        document = make_model_table(
            self.vectors,
            self.people,
            model,
            data="half of the people",
            source="labels",
            search_sizes=nearby_sizes(LARGEST),
            draws=DRAWS,
        )
        table = ModelTable.from_json(document)
        made = pool_cohort(Pool.of(self.vectors, self.people), table.verification)
        assert made is not None
        return table, made[0]

    def rates(self, table: ModelTable, *, normalised: bool) -> OpenSetRates:
        """Return what the table was read from."""
        pool = Pool.of(self.vectors, self.people)
        if normalised:
            made = pool_cohort(pool, table.verification)
            assert made is not None
            pool = replace(pool, cohort=made[0], members=made[1])
        return OpenSetRates.of_pool(pool, DRAWS, 0)


def halves(vectors: NDArray[np.float32], people: NDArray[np.int64], seed: int) -> tuple[Half, Half]:
    """Split people at random."""
    order = np.random.default_rng(seed).permutation(int(people.max()) + 1)
    rank = np.argsort(order)[people]
    middle = len(order) // 2
    return Half(vectors[rank < middle], rank[rank < middle]), Half(
        vectors[rank >= middle], rank[rank >= middle] - middle
    )


def measured(vectors: NDArray[np.float32], people: NDArray[np.int64], model: ModelId, seed: int) -> Iterator[Any]:
    """Yield what one split tells: (question, (realised / asked, DIR, DIR at a perfect threshold, strangers))."""
    calibration, test = halves(vectors, people, seed)
    table, cohort = calibration.table(model)
    fewer, fewer_cohort = calibration.some(LARGEST // 4 + 1).table(model)
    constant = table.identification_threshold(FPIRS[-1], SIZES[0]).value

    def told(kind: str, size: int, members: Cohort | None, fpir: float, threshold: float) -> Any:
        draws = [drawn(test, size, members, seed, gallery) for gallery in range(GALLERIES)]
        ratio = np.mean([searches.fpir(threshold) for searches in draws]) / fpir
        found, best = (
            np.mean([searches.dir(limit) for searches, limit in zip(draws, limits, strict=True)])
            for limits in ([threshold] * GALLERIES, [searches.ideal(fpir) for searches in draws])
        )
        return (kind, size, fpir), (ratio, found, best, int(draws[0].stranger.sum()))

    for kind, members, members_of_fewer in (("cosine", None, None), ("normalised", cohort, fewer_cohort)):
        normalised = members is not None
        for size in SIZES:
            for fpir in FPIRS:
                limit = table.identification_threshold(fpir, size, normalised=normalised).value
                yield told(kind, size, members, fpir, limit)
            if not normalised:
                yield told("constant cosine", size, None, FPIRS[-1], constant)
        carried_on = replace(calibration.rates(table, normalised=normalised), limit=LARGEST // 4)
        for fpir, point in zip(FPIRS, carried_on.operating_points(FPIRS, LARGEST), strict=True):
            yield told(f"{kind}, from galleries of {LARGEST // 4}", LARGEST, members, fpir, point.threshold)
            limit = fewer.identification_threshold(fpir, LARGEST, normalised=normalised).value
            yield told(f"{kind}, from {LARGEST // 4} people in all", LARGEST, members_of_fewer, fpir, limit)
    for gallery in range(GALLERIES):
        yield (
            "posterior",
            posterior(drawn(test, LARGEST, cohort, seed, gallery), table.scores(normalised=True), LARGEST),
        )


@lru_cache(maxsize=64)
def drawn(test: Half, size: int, cohort: Cohort | None, seed: int, gallery: int) -> Test:
    """Return one gallery of a split, each drawn once."""
    return Test.draw(test.vectors, test.people, size, by(cohort), seed * GALLERIES + gallery)


def posterior(searches: Test, table: ScoreTable, size: int) -> tuple[NDArray[np.float64], ...]:
    """Return probabilities by score and margin, and by score alone, whether they were right, and weights."""
    pairs = list(zip(searches.scores.tolist(), searches.margins.tolist(), strict=True))
    both = np.array([[table.probability(s, size, m), table.probability(s, size)] for s, m in pairs], np.float64)
    halves_alike = np.where(
        searches.stranger,
        0.5 / searches.stranger.sum(),
        0.5 * searches.weights / searches.weights[~searches.stranger].sum(),
    )
    return both[:, 0], both[:, 1], searches.right, halves_alike


def main() -> None:
    """Print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", required=True)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    about = machine()
    labelled = people_from_folders(faceindex.open(arguments.catalog)).without(LABEL_ERRORS)
    found = defaultdict(list)
    for split in range(arguments.splits):
        for question, value in measured(labelled.vectors, labelled.subjects, labelled.model, arguments.seed + split):
            found[question].append(value)
    told = found.pop("posterior")
    rows = [row(*question, np.array(values, np.float64)) for question, values in found.items()]
    by_margin, by_score, right, weights = (np.concatenate(part) for part in zip(*told, strict=True))
    notes = []
    for name, said in (("score and margin", by_margin), ("score", by_score)):
        result = reliability(said, right, weights)
        bins = [one for one in result.bins if one.trials >= 200]
        worst = max(abs(one.predicted - one.observed) for one in bins)
        sure = said >= 0.9
        notes.append(
            f"by {name}: calibration error {result.error:.4f}, worst of {len(bins)} bins with 200 trials or more "
            f"{worst:.3f}; said at 0.9 or more {np.average(said[sure], weights=weights[sure]):.4f} on average, right "
            f"{np.average(right[sure], weights=weights[sure]):.4f}"
        )
    recipe = (
        f"{labelled.model}; {arguments.splits} random halves of {int(labelled.subjects.max()) + 1:,} people (seeds "
        f"from {arguments.seed}); realised / asked FPIR on the half the table was not made with, DIR at rank 1; median "
        f"and 10 to 90 % of the splits, each with {GALLERIES} galleries. Probability of the first candidate, "
        f"{LARGEST:,} enrolled: {'; '.join(notes)}."
    )
    publish("decisions", "Error rates kept, and probabilities meant", recipe, rows, about)


def row(kind: str, size: int, fpir: float, values: NDArray[np.float64]) -> dict[str, Any]:
    """Return a line of the table from what `measured` says of each split."""
    ratios, splits, strangers = values[:, 0], len(values), int(values[0, 3])
    low, middle, high = np.quantile(ratios, [0.1, 0.5, 0.9])
    hits = np.arange(strangers + 1)
    chance, ratio = binom.pmf(hits, strangers, fpir), hits / strangers / fpir
    inside = {factor: int(((ratios > 1 / factor) & (ratios < factor)).sum()) for factor in (1.5, 2)}
    perfect = {factor: splits * chance[(ratio > 1 / factor) & (ratio < factor)].sum() for factor in (1.5, 2)}
    return {
        "threshold": kind,
        "enrolled": size,
        "FPIR asked": fpir,
        "realised / asked": f"{middle:.2f} ({low:.2f} to {high:.2f})",
        "within 1.5": f"{inside[1.5]} of {splits} (perfect {perfect[1.5]:.1f})",
        "within 2": f"{inside[2]} of {splits} (perfect {perfect[2]:.1f})",
        "DIR": f"{values[:, 1].mean():.3f} (perfect {values[:, 2].mean():.3f})",
    }


if __name__ == "__main__":
    main()
