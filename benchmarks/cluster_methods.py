"""Ways to cluster faces behind one small interface: neighbours and a setting in, labels out.

Ours, and what others use: one cosine for all with connected components or Chinese whispers, HDBSCAN and Louvain. The
last two are of the packages in the extra `benchmarks`; all of them are given the same neighbours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceindex.identities.clustering import ALPHA, SURE_FMR, Wishes, cluster
from faceindex.identities.graph import Limits, Neighbours, crowdedness, sure_edges
from faceindex.identities.whispers import FREE, whispers

USUAL = 0.35
"""Quantile of crowdedness that surroundings have at least."""
STEPS = 12
"""Hundredths of the way from strangers to mates that limits are tried below and above what is sure."""
LEAST_WEIGHT = 0.03
"""Weight of a link that only just is one, as in `graph`."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What cosines mean, as learnt from labelled faces; rounded to what is shipped."""

    sure: float
    """Cosine that SURE_FMR of pairs of strangers reach."""
    floor: float
    """The quantile USUAL of crowdedness."""
    step: float
    """A hundredth of the way from the mean of strangers to the median of mates, at least 0.001."""

    @classmethod
    def of(cls, found: Neighbours, people: NDArray[np.int64]) -> "Scale":
        """Learn it from faces, their neighbours and who they are, int64 (n,)."""
        cosines = (found.vectors @ found.vectors.T)[np.triu_indices(len(people), 1)]
        mates = (people[:, None] == people[None])[np.triu_indices(len(people), 1)]
        strangers = cosines[~mates]
        sure = float(np.quantile(strangers, 1 - SURE_FMR))
        floor = float(np.quantile(crowdedness(found, people, -1.0), USUAL))
        step = (float(np.median(cosines[mates])) - float(strangers.mean())) / 100
        return cls(round(sure, 3), round(floor, 3), round(max(step, 0.001), 3))

    def cosines(self) -> list[float]:
        """Return cosines about the sure one, ascending."""
        return [round(self.sure + self.step * number, 3) for number in range(-STEPS, STEPS + 1)]


Setting = Any
Clusters = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Method:
    """A way to cluster."""

    name: str
    settings: tuple[Setting, ...]
    """What may be chosen."""
    run: Callable[[Neighbours, Setting], Clusters]
    """Returns a label for each face, int64 (n,)."""


def methods(scale: Scale) -> list[Method]:
    """Return all of them, with settings for a model's scale; ours first."""
    cosines = scale.cosines()
    limits = [Limits(scale.sure, ALPHA, round(cosine - ALPHA * scale.floor, 3), scale.floor) for cosine in cosines]
    return [
        Method("less what is crowded", tuple(limits), ours),
        Method("whispers at one cosine", tuple(cosines), plain_whispers),
        Method("components at one cosine", tuple(cosines), components),
        Method("HDBSCAN", tuple(product((1, 2, 3), (0.0, *(1 - cosine for cosine in cosines[::3])))), hdbscan),
        Method("Louvain", tuple(product((1, 3, 10), cosines)), louvain),
    ]


def ours(found: Neighbours, limits: Limits) -> Clusters:
    """Return the clusters of the product, of which nothing is said."""
    return cluster(found, nothing_said(len(found.vectors)), limits)


def nothing_said(count: int) -> Wishes:
    """Return that nobody is known."""
    none = np.empty((0, 2), np.int64)
    return Wishes(np.full(count, FREE), none, none, np.zeros(count, np.bool_))


def plain_whispers(found: Neighbours, cosine: float) -> Clusters:
    """Return Chinese whispers on all links of at least this cosine."""
    count = len(found.vectors)
    return whispers(_links(found, cosine), np.full(count, FREE), np.empty((0, 2), np.int64))


def components(found: Neighbours, cosine: float) -> Clusters:
    """Return the connected components of all links of at least this cosine."""
    edges = _links(found, cosine)
    labels = np.arange(len(found.vectors))
    owner = np.repeat(labels, np.diff(edges.starts))
    while True:
        lowest = labels.copy()
        np.minimum.at(lowest, owner, labels[edges.ends])
        lowest = lowest[lowest]
        if (lowest == labels).all():
            return labels
        labels = lowest


def hdbscan(found: Neighbours, setting: tuple[int, float]) -> Clusters:
    """Return HDBSCAN of the cosine distances of neighbours; what it calls noise is by itself.

    Args:
        found: the neighbours.
        setting: min_samples and cluster_selection_epsilon.
    """
    from fast_hdbscan import HDBSCAN

    min_samples, epsilon = setting
    similar = _matrix(found, -1.0)
    similar.data = np.maximum(1.0 - similar.data.astype(np.float64), 1e-7)
    method = HDBSCAN(
        min_cluster_size=2, min_samples=min_samples, cluster_selection_epsilon=epsilon, metric="precomputed"
    )
    labels = np.asarray(method.fit_predict(similar), np.int64)
    alone = labels < 0
    labels[alone] = labels.max(initial=-1) + 1 + np.arange(int(alone.sum()))
    return labels


def louvain(found: Neighbours, setting: tuple[float, float]) -> Clusters:
    """Return Louvain on all links of at least a cosine, weighted as whispers are.

    Args:
        found: the neighbours.
        setting: resolution, and the cosine.
    """
    from sknetwork.clustering import Louvain

    resolution, cosine = setting
    links = _matrix(found, cosine)
    links.data += np.float32(LEAST_WEIGHT - cosine)
    return np.asarray(Louvain(resolution=resolution, random_state=0).fit_predict(links), np.int64)


def _links(found: Neighbours, cosine: float) -> Any:
    limits = Limits(sure=cosine, alpha=0.0, linked=cosine, floor=0.0)
    return sure_edges(found, limits, np.zeros(len(found.vectors), np.bool_))


def _matrix(found: Neighbours, cosine: float) -> Any:
    """Return the cosines of all links of at least this one, a symmetric sparse matrix."""
    from scipy.sparse import csr_matrix

    edges = _links(found, cosine)
    count = len(found.vectors)
    return csr_matrix((edges.weights + np.float32(cosine - LEAST_WEIGHT), edges.ends, edges.starts), (count, count))
