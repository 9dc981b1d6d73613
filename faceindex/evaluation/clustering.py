"""How good clusters are, held against the people the faces are of: BCubed and pairwise precision, recall and F.

BCubed (Bagga and Baldwin, 1998; Amigo et al., 2009) asks of each face which share of its cluster is its person, and
which share of its person is in its cluster; it counts every face once. Pairwise figures count pairs, and so mostly the
people with hundreds of photos. Knows numbers of clusters and people only.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Agreement:
    """Precision and recall, each from 0 to 1."""

    precision: float
    recall: float

    @property
    def f(self) -> float:
        """Their harmonic mean."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def bcubed(clusters: NDArray[np.int64], people: NDArray[np.int64]) -> Agreement:
    """Return the mean over faces of how pure a face's cluster is, and how complete its person.

    Args:
        clusters: int64 (n,), equal for faces of one cluster; a face by itself has a number of its own.
        people: int64 (n,), equal for faces of one person.
    """
    both, in_cluster, in_person = _counts(clusters, people)
    return Agreement(float((both / in_cluster).mean()), float((both / in_person).mean()))


def pairwise(clusters: NDArray[np.int64], people: NDArray[np.int64]) -> Agreement:
    """Return the share of pairs of one cluster that are one person, and of one person that are in one cluster.

    1 where there is no pair. Arguments as for `bcubed`.
    """
    both, in_cluster, in_person = _counts(clusters, people)
    shared = float((both - 1).sum())
    clustered, mated = float((in_cluster - 1).sum()), float((in_person - 1).sum())
    return Agreement(shared / clustered if clustered else 1.0, shared / mated if mated else 1.0)


def _counts(
    clusters: NDArray[np.int64], people: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return for each face how many share its cluster and person, its cluster, and its person."""
    _, cluster = np.unique(clusters, return_inverse=True)
    _, person = np.unique(people, return_inverse=True)
    _, pair = np.unique(cluster.astype(np.int64) * (int(person.max(initial=0)) + 1) + person, return_inverse=True)
    return np.bincount(pair)[pair], np.bincount(cluster)[cluster], np.bincount(person)[person]
