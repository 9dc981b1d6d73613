r"""How good clusters of unknown faces are on people the constants were not chosen on, and how the constants are chosen.

    faceindex index lfw -c CAT
    python benchmarks/clustering.py --catalog CAT

One half of the people chooses the limit: the smallest whose pairs are right in 99 of 100 cases when nobody has more
than 20 photos, so that it errs to precision. The other half and everybody test it, as they are and with 20 photos at
most. Beside it the same graph cut at one cosine for everybody: connected components, and Chinese whispers, each at a
cosine chosen in the same way.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from model_table import LABEL_ERRORS
from numpy.typing import NDArray
from report import machine, publish

import faceindex
from faceindex.evaluation.clustering import bcubed, pairwise
from faceindex.identities.clustering import Wishes, cluster, limits_of
from faceindex.identities.graph import NEIGHBOURS, Neighbours, sure_edges
from faceindex.identities.whispers import FREE, whispers
from faceindex.labelled import people_from_folders

LINKED = np.arange(0.386, 0.4101, 0.001)
COSINES = np.arange(0.940, 0.9701, 0.0025)
CAP = 20
WANTED = 0.99
Method = Callable[[Neighbours, float], NDArray[np.int64]]


def neighbours(vectors: NDArray[np.float32]) -> Neighbours:
    """Return the exact neighbours of every face."""
    places = np.empty((len(vectors), NEIGHBOURS), np.int32)
    cosines = np.empty((len(vectors), NEIGHBOURS), np.float32)
    for start in range(0, len(vectors), 1024):
        block = vectors[start : start + 1024] @ vectors.T
        rows = np.arange(len(block))
        block[rows, start + rows] = -2.0
        near = np.argpartition(-block, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        found = np.take_along_axis(block, near, axis=1)
        order = np.argsort(-found, axis=1, kind="stable")
        places[start : start + len(block)] = np.take_along_axis(near, order, axis=1)
        cosines[start : start + len(block)] = np.take_along_axis(found, order, axis=1)
    return Neighbours(vectors, places, cosines)


def nothing_said(count: int) -> Wishes:
    """Return that nobody is known."""
    none = np.empty((0, 2), np.int64)
    return Wishes(np.full(count, FREE), none, none, np.zeros(count, np.bool_))


def capped(people: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """Return the rows of at most CAP random faces of each person."""
    rows = generator.permutation(len(people))
    rows = rows[np.argsort(people[rows], kind="stable")]
    _, starts, sizes = np.unique(people[rows], return_index=True, return_counts=True)
    return rows[np.arange(len(rows)) - np.repeat(starts, sizes) < CAP]


def components(found: Neighbours, cosine: float) -> NDArray[np.int64]:
    """Return the connected components of all links of at least this cosine."""
    edges = sure_edges(found, replace(limits_of("dlib-resnet29"), sure=cosine), np.zeros(len(found.places), np.bool_))
    labels = np.arange(len(found.places))
    owner = np.repeat(labels, np.diff(edges.starts))
    while True:
        lowest = labels.copy()
        np.minimum.at(lowest, owner, labels[edges.ends])
        lowest = lowest[lowest]
        if (lowest == labels).all():
            return labels
        labels = lowest


def plain_whispers(found: Neighbours, cosine: float) -> NDArray[np.int64]:
    """Return Chinese whispers on the same links."""
    count = len(found.places)
    edges = sure_edges(found, replace(limits_of("dlib-resnet29"), sure=cosine), np.zeros(count, np.bool_))
    return whispers(edges, np.full(count, FREE), np.empty((0, 2), np.int64))


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    about = machine()
    labelled = people_from_folders(faceindex.open(arguments.catalog)).without(LABEL_ERRORS)
    limits = limits_of(labelled.model)
    generator = np.random.default_rng(arguments.seed)
    people = labelled.subjects
    order = generator.permutation(int(people.max()) + 1)
    tune = np.flatnonzero(order[people] < len(order) // 2)
    other = np.flatnonzero(order[people] >= len(order) // 2)
    sets = {"the half that chooses": tune, "the other half": other, "everybody": np.arange(len(people))}
    sets |= {f"{name}, {CAP} photos at most": rows[capped(people[rows], generator)] for name, rows in sets.items()}
    graphs = {name: neighbours(labelled.vectors[rows]) for name, rows in sets.items()}

    def crowded(found: Neighbours, linked: float) -> NDArray[np.int64]:
        return cluster(found, nothing_said(len(found.places)), replace(limits, linked=linked))

    few = f"the half that chooses, {CAP} photos at most"
    rows: list[dict[str, Any]] = []
    chosen: dict[str, float] = {}
    for name, method, grid in (
        ("less what is crowded", crowded, LINKED),
        ("whispers at one cosine", plain_whispers, COSINES),
        ("components at one cosine", components, COSINES),
    ):
        precise = [one for one in grid if pairwise(method(graphs[few], one), people[sets[few]]).precision >= WANTED]
        chosen[name] = float(precise[0] if precise else grid[-1])
        rows += [line(name, part, method, chosen[name], graphs[part], people[sets[part]]) for part in sets]
    shipped = [
        line("as shipped", part, crowded, limits.linked, graphs[part], people[sets[part]])
        for part in ("everybody", f"everybody, {CAP} photos at most")
    ]
    recipe = (
        f"{labelled.model}, {len(people):,} faces of {len(order):,} people (seed {arguments.seed}); limits chosen: "
        f"{', '.join(f'{name} {value:.4f}' for name, value in chosen.items())}; shipped {limits.linked}. Exact "
        f"neighbours, {NEIGHBOURS} of each face; seconds are of the clustering."
    )
    publish("clustering", "Clusters of unknown faces", recipe, rows + shipped, about)


def line(
    name: str, part: str, method: Method, limit: float, found: Neighbours, people: NDArray[np.int64]
) -> dict[str, Any]:
    """Return a line of the table."""
    method(found, limit)  # compiled now
    start = time.perf_counter()
    labels = method(found, limit)
    seconds = time.perf_counter() - start
    faces, pairs = bcubed(labels, people), pairwise(labels, people)
    return {
        "method": name,
        "people": part,
        "BCubed F": f"{faces.f:.3f}",
        "precision": f"{faces.precision:.3f}",
        "recall": f"{faces.recall:.3f}",
        "pairwise F": f"{pairs.f:.3f}",
        "of pairs right": f"{pairs.precision:.3f}",
        "of pairs found": f"{pairs.recall:.3f}",
        "seconds": f"{seconds:.2f}",
    }


if __name__ == "__main__":
    main()
