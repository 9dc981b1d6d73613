"""New faces put into the clusters there are, against clustering everybody afresh; is what was said obeyed?

    faceindex index lfw -c CAT
    python benchmarks/insertion.py --catalog CAT CAT2...

A share of the faces, at random, is new. The others are clustered, the new ones join, and the result is held against
clusters of all faces made afresh, and both against the people. In the lines with answers somebody has named two faces
in five of half of the people, has told apart up to 300 pairs of faces that were wrongly together, and has joined up to
300 of other people that were wrongly apart, all by the labels: violated are such answers that do not hold.
"""

import argparse
import time
from dataclasses import replace
from typing import Any

import numpy as np
from cluster_methods import nothing_said
from clustering import capped, neighbours
from model_table import LABEL_ERRORS
from numpy.typing import NDArray
from report import machine, publish

import faceindex
from faceindex.evaluation.clustering import bcubed, pairwise
from faceindex.identities.clustering import Wishes, cluster, limits_of
from faceindex.identities.graph import Limits, Neighbours
from faceindex.identities.insertion import NEW, insert
from faceindex.identities.whispers import FREE
from faceindex.labelled import people_from_folders
from faceindex.tables import UNCLUSTERED

SHARES = (0.01, 0.1, 0.2)
NAMED = 0.4
ANSWERS = 300

Labels = NDArray[np.int64]


def clusters_so_far(found: Neighbours, old: NDArray[np.int64], limits: Limits) -> Labels:
    """Return the cluster of each face when only the old ones, int64 (p,), have been clustered."""
    labels = cluster(neighbours(found.vectors[old]), nothing_said(len(old)), limits)
    labels = np.unique(labels, return_inverse=True)[1]
    before = np.full(len(found.vectors), NEW)
    before[old] = np.where(np.bincount(labels)[labels] > 1, labels + 1, UNCLUSTERED)
    return before


def answers(before: Labels, people: Labels, generator: np.random.Generator) -> Wishes:
    """Return what a truthful person says of the clusters there are."""
    said = nothing_said(len(people))
    known = generator.random(int(people.max()) + 1)[people] < 0.5
    fixed = np.where(known & (generator.random(len(people)) < NAMED), people, FREE)
    alone = -1 - np.arange(len(before))
    clusters = np.where(before > UNCLUSTERED, before, alone)
    # Nobody was asked about new faces yet.
    wrong = _pairs(np.where(before == NEW, alone, clusters), people, generator)
    missed = _pairs(np.where(known | (before == NEW), alone, people), clusters, generator)
    apart = wrong[~(fixed[wrong] != FREE).all(axis=1)]
    return replace(said, fixed=fixed, apart=apart, together=missed[(fixed[missed] == FREE).any(axis=1)])


def _pairs(same: Labels, differ: Labels, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return at most ANSWERS pairs of faces that are together in one grouping and apart in another, int64 (p, 2)."""
    order = np.argsort(same, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(same[order])) + 1)
    found = [
        (one, other)
        for group in groups
        for one, other in zip(group[:-1].tolist(), group[1:].tolist(), strict=True)
        if differ[one] != differ[other]
    ]
    chosen = generator.permutation(len(found))[:ANSWERS]
    return np.array([found[index] for index in chosen], np.int64).reshape(-1, 2)


def joined(before: Labels, together: NDArray[np.int64]) -> Labels:
    """Return the clusters as they are once faces were said to be the same: those of both are one at once."""
    before = before.copy()
    for one, other in together.tolist():
        numbers = sorted({number for number in before[[one, other]].tolist() if number != UNCLUSTERED})
        number = numbers[0] if numbers else int(before.max()) + 1
        before[np.isin(before, numbers)] = number
        before[[one, other]] = number
    return before


def violated(labels: Labels, wishes: Wishes) -> int:
    """Return how many answers do not hold."""
    named = np.flatnonzero(wishes.fixed != FREE)
    groups = np.unique(np.column_stack([wishes.fixed[named], labels[named]]), axis=0)
    split = len(groups) - len(np.unique(groups[:, 0]))
    merged = len(groups) - len(np.unique(groups[:, 1]))
    apart, together = wishes.apart, wishes.together
    return int(
        split
        + merged
        + (labels[apart[:, 0]] == labels[apart[:, 1]]).sum()
        + (labels[together[:, 0]] != labels[together[:, 1]]).sum()
    )


def line(
    model: str, part: str, share: float, found: Neighbours, people: Labels, limits: Limits, *, said: bool, seed: int
) -> dict[str, Any]:
    """Return a line of the table."""
    generator = np.random.default_rng(seed)
    new = generator.random(len(people)) < share
    before = clusters_so_far(found, np.flatnonzero(~new), limits)
    wishes = answers(before, people, generator) if said else nothing_said(len(people))
    searched = 0

    def search(faces: NDArray[np.int64]) -> Neighbours:
        nonlocal searched
        searched += len(faces)
        return Neighbours(found.vectors, found.places[faces], found.cosines[faces], faces)

    start = time.perf_counter()
    labels, _ = insert(search, joined(before, wishes.together), wishes, limits)
    seconds = time.perf_counter() - start
    afresh = cluster(found, wishes, limits)
    agreement = bcubed(labels, afresh)
    return {
        "model": model,
        "people": part,
        "new": f"{share:.0%}",
        "answers": int((wishes.fixed != FREE).sum() + len(wishes.apart) + len(wishes.together)),
        "agreement": f"{agreement.f:.4f}",
        "of pairs": f"{pairwise(labels, afresh).f:.4f}",
        "BCubed F": f"{bcubed(labels, people).f:.3f}",
        "afresh": f"{bcubed(afresh, people).f:.3f}",
        "pairwise F": f"{pairwise(labels, people).f:.3f}",
        "afresh, pairs": f"{pairwise(afresh, people).f:.3f}",
        "violated": violated(labels, wishes),
        "searched for": f"{searched / len(people):.0%}",
        "seconds": f"{seconds:.2f}",
    }


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", nargs="+", required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    about = machine()
    rows = []
    for catalog in arguments.catalog:
        labelled = people_from_folders(faceindex.open(catalog)).without(LABEL_ERRORS)
        limits = limits_of(labelled.model)
        few = capped(labelled.subjects, np.random.default_rng(arguments.seed))
        for part, faces in {"everybody": np.arange(len(labelled.subjects)), "20 photos at most": few}.items():
            found, people = neighbours(labelled.vectors[faces]), labelled.subjects[faces]
            for share in SHARES:
                for said in (False, True):
                    name = labelled.model.partition("@")[0]
                    rows.append(line(name, part, share, found, people, limits, said=said, seed=arguments.seed))
    recipe = (
        f"The faces of LFW, each the most prominent one of its photo (seed {arguments.seed}). agreement: BCubed F and "
        f"pairwise F of the clusters after insertion, held against those made afresh with the same answers. searched "
        f"for: share of all faces, new ones and those that may be linked with them. seconds: of the insertion, without "
        f"the search."
    )
    publish("insertion", "New faces in the clusters there are", recipe, rows, about)


if __name__ == "__main__":
    main()
