"""From neighbours to clusters: who the unknown faces of an archive are likely to be, as groups to be named."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceindex.errors import ConfigError
from faceindex.evaluation.thresholds import ModelTable
from faceindex.identities.graph import Limits, Neighbours, as_one, linked_edges, sure_edges
from faceindex.identities.whispers import FREE, whispers
from faceindex.tables import UNCLUSTERED

ALPHA = 0.6
"""Between 0.3 and 1 any other does as well, with a limit of its own."""

LIMITS = {
    "dlib-resnet29": Limits(sure=0.953, alpha=ALPHA, linked=0.397, floor=0.916),
    "edgeface-xs": Limits(sure=0.395, alpha=ALPHA, linked=0.236, floor=0.225),
    "mobilefacenet": Limits(sure=0.465, alpha=ALPHA, linked=0.290, floor=0.292),
    "omz-0095": Limits(sure=0.501, alpha=ALPHA, linked=0.315, floor=0.286),
}
"""By name of the model; chosen by `benchmarks/clustering.py`, erring to precision: a wrong face in a cluster costs a
person more than a cluster in two parts."""

SURE_FMR, USUAL_FMR = 1e-5, 5e-3
"""For models without constants of their own."""

ROUNDS = 2
"""Clusters tell how crowded surroundings are, which tells the clusters; a third round changes nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Wishes:
    """What is known of the faces, by their places."""

    fixed: NDArray[np.int64]
    """Person of each named face, counted from 0, FREE for the others, int64 (n,)."""
    together: NDArray[np.int64]
    """Pairs of unnamed faces that are one person, int64 (p, 2)."""
    apart: NDArray[np.int64]
    """Pairs that are two people, int64 (p, 2)."""
    weak: NDArray[np.bool_]
    """Faces of low quality, bool (n,): they join clusters and found none."""


def limits_of(model: str, table: ModelTable | None = None) -> Limits:
    """Return the constants of a model, `name@digest` or a name; without any, those that its table gives.

    Raises:
        ConfigError: none were chosen for it, and it has no table.
    """
    name = model.partition("@")[0]
    if name not in LIMITS and table is None:
        raise ConfigError(
            f"no constants for clustering faces of {name}, only of {', '.join(sorted(LIMITS))}, and no table of its "
            f"error rates to derive them from; name some people, or make a table with `faceindex calibrate`"
        )
    return LIMITS[name] if name in LIMITS or table is None else limits_by_table(table)


def limits_by_table(table: ModelTable) -> Limits:
    """Return constants for a model by the rates at which it takes strangers for one another, erring to precision.

    Surroundings are at least as crowded as one stranger in 200 is alike; there, and for a first idea of the clusters,
    a link takes a cosine that one pair of strangers in 100,000 reaches. For the models in LIMITS that is about as
    strict as what was chosen for them, or stricter.
    """
    floor, sure = (table.verification_threshold(fmr).value for fmr in (USUAL_FMR, SURE_FMR))
    return Limits(sure=sure, alpha=ALPHA, linked=sure - ALPHA * floor, floor=floor)


def cluster(neighbours: Neighbours, wishes: Wishes, limits: Limits, seed: int = 0) -> NDArray[np.int64]:
    """Return the label of each face, int64 (n,), equal for faces of one cluster; its numbers mean nothing."""
    node, fixed, apart = _moved_as_one(wishes)
    labels = whispers(as_one(sure_edges(neighbours, limits, wishes.weak), node), fixed, apart, seed)[node]
    for _ in range(ROUNDS):
        edges = linked_edges(neighbours, labels, limits, wishes.weak)
        labels = whispers(as_one(edges, node), fixed, apart, seed)[node]
    return labels


def _moved_as_one(wishes: Wishes) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the face that each one moves with, the person of each that has one, and who is kept apart.

    Unnamed faces said to be the same move as one, so that they stay with others of their person.
    """
    said = as_people(wishes)
    node = np.arange(len(said))
    unnamed = said > wishes.fixed.max(initial=FREE)
    _, first, group = np.unique(said[unnamed], return_index=True, return_inverse=True)
    node[unnamed] = np.flatnonzero(unnamed)[first][group]
    apart = node[wishes.apart].reshape(-1, 2)
    return node, np.where(unnamed, FREE, said), apart[apart[:, 0] != apart[:, 1]]


def as_people(wishes: Wishes) -> NDArray[np.int64]:
    """Return the person of each face that has a name or is said to be the same as another, FREE for others.

    Unnamed faces that are said to be the same get a person of their own, unless they are also said not to be.
    """
    fixed = wishes.fixed.copy()
    if not len(wishes.together):
        return fixed
    parent = np.arange(len(fixed))

    def root(face: int) -> int:
        while parent[face] != face:
            parent[face] = parent[parent[face]]
            face = int(parent[face])
        return face

    forbidden = {tuple(sorted(pair)) for pair in wishes.apart.tolist()}
    for one, other in wishes.together.tolist():
        if tuple(sorted((one, other))) not in forbidden:
            parent[root(max(one, other))] = root(min(one, other))
    following = int(fixed.max(initial=FREE)) + 1
    groups: dict[int, list[int]] = {}
    for face in np.unique(wishes.together).tolist():
        groups.setdefault(root(face), []).append(face)
    for faces in groups.values():
        known = fixed[faces][fixed[faces] != FREE]
        fixed[[face for face in faces if fixed[face] == FREE]] = known[0] if len(known) else following
        following += not len(known)
    return fixed


def numbered(labels: NDArray[np.int64], before: NDArray[np.int64], first_free: int) -> tuple[NDArray[np.int64], int]:
    """Return the cluster of each face, int64 (n,), UNCLUSTERED for a face by itself, and the next free number.

    A cluster keeps the number that most of its faces had, the larger cluster first; others get new ones.

    Args:
        labels: from `cluster`.
        before: cluster of each face so far, UNCLUSTERED for faces without, int64 (n,).
        first_free: number that was never used.
    """
    groups, place, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    clusters = np.zeros(len(groups), np.int64)
    kept = before != UNCLUSTERED
    pairs, shared = np.unique(np.column_stack([place[kept], before[kept]]), axis=0, return_counts=True)
    taken: set[int] = set()
    for index in np.lexsort((pairs[:, 1], -shared)).tolist():
        group, number = pairs[index].tolist()
        if sizes[group] > 1 and clusters[group] == UNCLUSTERED and number not in taken:
            clusters[group] = number
            taken.add(number)
    new = np.flatnonzero((sizes > 1) & (clusters == UNCLUSTERED))
    order = new[np.argsort(-sizes[new], kind="stable")]
    clusters[order] = first_free + np.arange(len(order))
    return clusters[place], first_free + len(order)
