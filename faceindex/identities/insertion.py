"""New faces join the clusters there are: a clustering in which the faces that were there before keep their places.

Searched for are the new faces and those that may be linked with them, so that a night's photos cost what they are, not
what the archive is. A new face that is like two clusters joins one of them and never makes them one.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from faceindex.identities.clustering import Wishes, as_people, cluster
from faceindex.identities.graph import Limits, Neighbours, Search, with_more
from faceindex.identities.whispers import FREE
from faceindex.tables import UNCLUSTERED

NEW = -1


def insert(
    search: Search, before: NDArray[np.int64], wishes: Wishes, limits: Limits, seed: int = 0
) -> tuple[NDArray[np.int64], Neighbours]:
    """Return the label of each face, int64 (n,), equal for faces of one cluster, and the neighbours of those concerned.

    Faces that are new find their places, and so do those without a name whose cluster contradicts what was said since.
    A face by itself that is like one of them may join it.

    Args:
        search: among all faces.
        before: cluster of each face so far, UNCLUSTERED for a face by itself and NEW for a new one, int64 (n,).
        wishes: what was said.
        limits: of the model.
        seed: of the order.
    """
    said = as_people(wishes)
    held = _held(said, before, wishes)
    found = search(np.flatnonzero((held == FREE) | (before == NEW)))
    near = _alike(found, limits)
    neighbours = with_more(found, search(near))
    held[near[(before[near] == UNCLUSTERED) & (said[near] == FREE)]] = FREE
    return cluster(neighbours, replace(wishes, fixed=held), limits, seed), neighbours


def _held(said: NDArray[np.int64], before: NDArray[np.int64], wishes: Wishes) -> NDArray[np.int64]:
    """Return the group that each face keeps to, int64 (n,), FREE for those that find a place.

    Args:
        said: person of each face that has one or is said to be the same as another, FREE for the others, int64 (n,).
        before: cluster of each face.
        wishes: what was said.
    """
    numbers, cluster_of = np.unique(before, return_inverse=True)
    named, people = said != FREE, int(said.max(initial=FREE)) + 1
    held = np.where(named, said, _groups(said, before, people)[cluster_of])
    alone = ~named & (before == UNCLUSTERED)
    held[alone] = people + len(numbers) + np.arange(int(alone.sum()))
    held[~named & (before == NEW)] = FREE
    placed = np.isin(said, said[(before > UNCLUSTERED) | (wishes.fixed != FREE)])
    held[named & ~placed] = FREE  # the same unknown person, whose cluster is yet to be found
    apart = wishes.apart
    one, other = apart[:, 0], apart[:, 1]
    contradicted = apart[(held[one] == held[other]) & (held[one] != FREE)]
    held[contradicted[~named[contradicted]]] = FREE
    return held


def _groups(said: NDArray[np.int64], before: NDArray[np.int64], people: int) -> NDArray[np.int64]:
    """Return the group of the faces without a name in each cluster, ascending by its number, FREE for none.

    A person is at home where most of their named faces are; the others go there. Who stays behind keeps together,
    unless most of a cluster left, or two people are at home in it.
    """
    numbers, cluster_of, sizes = np.unique(before, return_inverse=True, return_counts=True)
    named = (said != FREE) & (before > UNCLUSTERED)
    pairs, counts = np.unique(np.column_stack([said[named], cluster_of[named]]), axis=0, return_counts=True)
    person, cluster = pairs.T
    at_home = np.zeros(len(pairs), np.bool_)
    order = np.lexsort((cluster, -counts, person))
    at_home[order[np.unique(person[order], return_index=True)[1]]] = True
    owners = np.bincount(cluster[at_home], minlength=len(numbers))
    left = np.bincount(cluster[~at_home], counts[~at_home], minlength=len(numbers))
    groups = people + np.arange(len(numbers))
    groups[cluster[at_home]] = person[at_home]
    groups[(owners > 1) | ((owners == 0) & (2 * left > sizes))] = FREE
    return groups


def _alike(found: Neighbours, limits: Limits) -> NDArray[np.int64]:
    """Return the faces that may be linked with those searched for, which are left out, int64 (p,)."""
    least = min(limits.sure, limits.linked + limits.alpha * limits.floor)
    alike = np.unique(found.places[(found.places >= 0) & (found.cosines >= least)])
    return np.setdiff1d(alike, found.faces).astype(np.int64)
