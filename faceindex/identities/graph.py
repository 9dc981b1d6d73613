"""The nearest neighbours of every face of a gallery, and which of them are similar enough to be one person.

How alike strangers are differs: in a large gallery, and among people whom the model separates badly, everybody has
closer look-alikes. So a similarity counts after taking off how crowded the surroundings of both faces are, the mean
similarity to the nearest other clusters. One limit then serves from 300 to thousands of people.
Knows vectors and positions of faces; nothing of files.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES, l2_normalize
from faceindex.evaluation.scores import score_blocks
from faceindex.faces.compiled import compiled
from faceindex.gallery.search import Gallery

NEIGHBOURS = 60
"""A person of some hundred photos falls apart with half as many."""

SEARCHED = 8192
"""Faces that are searched for at a time."""

SKIPPED, AVERAGED = 2, 10
"""Of the nearest other clusters the first may be the same person in two parts; the next tell how crowded it is."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Constants of one model, from `benchmarks/clustering.py`."""

    sure: float
    """Cosine from which on two faces are one person, wherever they are: for a first idea of the clusters."""
    alpha: float
    """How much of the crowdedness is taken off."""
    linked: float
    """What is left of the cosine of two faces that are linked."""
    floor: float
    """Crowdedness of surroundings that are not crowded: what a small gallery cannot tell."""


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """The nearest faces of each face, or of m of all n."""

    vectors: NDArray[np.float32]
    """Of all, float32 (n, d), unit length."""
    places: NDArray[np.int32]
    """int32 (m, k), nearest first; -1 where there are fewer."""
    cosines: NDArray[np.float32]
    """float32 (m, k)."""
    some: NDArray[np.int64] | None = None
    """Whose neighbours they are, int64 (m,); None for everybody's."""

    @property
    def faces(self) -> NDArray[np.int64]:
        """Whose neighbours they are, int64 (m,)."""
        return np.arange(len(self.vectors)) if self.some is None else self.some


Search = Callable[[NDArray[np.int64]], Neighbours]
"""Gives the neighbours of some faces."""


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Links of faces in both directions, those of face i from `starts[i]` to `starts[i + 1]`."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int32]
    weights: NDArray[np.float32]


def neighbours_of(gallery: Gallery, face_ids: NDArray[np.void], threads: int) -> Neighbours:
    """Search the gallery for each of some of its faces; faces that are not among these are left out of the answers.

    Args:
        gallery: of all faces.
        face_ids: V16 (n,), ascending.
        threads: for searching.
    """
    found = search_of(gallery, face_ids, threads)(np.arange(len(face_ids)))
    return Neighbours(found.vectors, found.places, found.cosines)


def search_of(gallery: Gallery, face_ids: NDArray[np.void], threads: int) -> Search:
    """Return what searches for some of these faces, and takes what `neighbours_of` takes."""
    ids = face_ids.view(f"S{ID_BYTES}")
    vectors = (
        l2_normalize(gallery.vectors_of(face_ids)) if len(ids) else np.empty((0, gallery.dimension or 0), np.float32)
    )

    def search(faces: NDArray[np.int64]) -> Neighbours:
        places = np.full((len(faces), NEIGHBOURS), -1, np.int32)
        cosines = np.full((len(faces), NEIGHBOURS), -1.0, np.float32)
        for start in range(0, len(faces), SEARCHED):
            block = slice(start, start + SEARCHED)
            found = gallery.search(vectors[faces[block]], gallery.model, NEIGHBOURS + 1, threads)
            wanted = found.face_ids.view(f"S{ID_BYTES}")
            near = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
            there = np.arange(wanted.shape[1])[None] < found.counts[:, None]
            good = there & (ids[near] == wanted) & (near != faces[block, None])
            order = np.argsort(~good, axis=1, kind="stable")[:, :NEIGHBOURS]
            kept = np.take_along_axis(good, order, axis=1)
            width = order.shape[1]
            places[block, :width] = np.where(kept, np.take_along_axis(near, order, axis=1), -1)
            cosines[block, :width] = np.where(kept, np.take_along_axis(found.similarities, order, axis=1), -1.0)
        return Neighbours(vectors, places, cosines, faces)

    return search


def with_more(one: Neighbours, other: Neighbours) -> Neighbours:
    """Return the neighbours of the faces of both, which share none."""
    return Neighbours(
        one.vectors,
        np.concatenate([one.places, other.places]),
        np.concatenate([one.cosines, other.cosines]),
        np.concatenate([one.faces, other.faces]),
    )


def sure_edges(neighbours: Neighbours, limits: Limits, weak: NDArray[np.bool_]) -> Edges:
    """Return links of faces that are one person wherever they are."""
    nothing = np.zeros(len(neighbours.vectors), np.float32)
    return _edges(neighbours, nothing, 0.0, limits.sure, weak, margin=0.03)


def linked_edges(neighbours: Neighbours, labels: NDArray[np.int64], limits: Limits, weak: NDArray[np.bool_]) -> Edges:
    """Return links of faces that are similar for where they are; both must have been searched for.

    Args:
        neighbours: of the faces.
        labels: cluster of each face, as far as known, int64 (n,).
        limits: of the model.
        weak: faces of low quality, bool (n,): they are linked to good faces only, so that they found no cluster.
    """
    crowded = np.full(len(labels), np.inf, np.float32)
    crowded[neighbours.faces] = crowdedness(neighbours, labels, limits.floor)
    return _edges(neighbours, crowded, limits.alpha, limits.linked, weak, margin=0.03)


def crowdedness(neighbours: Neighbours, labels: NDArray[np.int64], floor: float) -> NDArray[np.float32]:
    """Return the mean cosine of each face to the nearest faces of other clusters, at least `floor`, float32 (m,)."""
    labels = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    found, seen = _walked(neighbours.faces, neighbours.places, neighbours.cosines, labels)
    short = np.flatnonzero(seen < SKIPPED + AVERAGED)
    if len(short):
        found[short] = _among_representatives(neighbours.vectors, labels, neighbours.faces[short], floor)
    return np.maximum(found, np.float32(floor))


def _among_representatives(
    vectors: NDArray[np.float32], labels: NDArray[np.int64], faces: NDArray[np.int64], floor: float
) -> NDArray[np.float32]:
    """Return the same for faces whose neighbours are all of their own person: held against one face of each cluster."""
    sums = np.zeros((int(labels.max()) + 1, vectors.shape[1]), np.float32)
    np.add.at(sums, labels, vectors)
    to_mean = np.einsum("ij,ij->i", vectors, sums[labels])
    order = np.lexsort((-to_mean, labels))
    representatives = order[np.unique(labels[order], return_index=True)[1]]
    wanted = SKIPPED + AVERAGED
    means = np.empty(len(faces), np.float32)
    for start, cosines in score_blocks(vectors[faces], vectors[representatives]):
        rows = np.arange(len(cosines))
        cosines[rows, labels[faces[start : start + len(cosines)]]] = -np.inf
        if cosines.shape[1] < wanted + 1:
            missing = np.full((len(cosines), wanted + 1 - cosines.shape[1]), -np.inf, np.float32)
            cosines = np.concatenate([cosines, missing], axis=1)  # noqa: PLW2901 - the same block, wide enough
        best = np.sort(np.partition(cosines, -wanted, axis=1)[:, -wanted:], axis=1)[:, :AVERAGED]
        means[start : start + len(cosines)] = np.where(np.isfinite(best), best, floor).mean(axis=1)
    return means


@compiled
def _walked(
    faces: NDArray[np.int64], places: NDArray[np.int32], cosines: NDArray[np.float32], labels: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the mean cosine to the nearest faces of other clusters, one of each, and how many clusters were met."""
    count, width = places.shape
    means = np.zeros(count, np.float32)
    seen = np.zeros(count, np.int64)
    met = np.empty(width, np.int64)
    for row in range(count):
        total = 0.0
        for column in range(width):
            other = places[row, column]
            if other < 0 or seen[row] == SKIPPED + AVERAGED:
                break
            label = labels[other]
            known = label == labels[faces[row]]
            for index in range(seen[row]):
                known = known or met[index] == label
            if not known:
                met[seen[row]] = label
                if seen[row] >= SKIPPED:
                    total += cosines[row, column]
                seen[row] += 1
        means[row] = total / AVERAGED
    return means, seen


def _edges(
    neighbours: Neighbours,
    crowded: NDArray[np.float32],
    alpha: float,
    limit: float,
    weak: NDArray[np.bool_],
    margin: float,
) -> Edges:
    """Return the links whose score reaches the limit, in both directions, each once; nearly equal weights do best."""
    count, faces = len(neighbours.vectors), neighbours.faces
    near = np.maximum(neighbours.places, 0)
    scores = neighbours.cosines - np.float32(alpha / 2) * (crowded[faces][:, None] + crowded[near])
    kept = (neighbours.places >= 0) & (scores >= limit) & ~(weak[faces][:, None] & weak[near])
    row, column = np.nonzero(kept)
    one, other = faces[row], neighbours.places[row, column].astype(np.int64)
    keys = np.concatenate([one * count + other, other * count + one])
    weights = np.tile(scores[row, column] - np.float32(limit - margin), 2)
    keys, first = np.unique(keys, return_index=True)
    starts = np.searchsorted(keys, np.arange(count + 1, dtype=np.int64) * count)
    return Edges(starts.astype(np.int64), (keys % max(count, 1)).astype(np.int32), weights[first].astype(np.float32))


def as_one(edges: Edges, node: NDArray[np.int64]) -> Edges:
    """Return the links of faces that move as one: the first of each group, `node` int64 (n,), has those of all."""
    count = len(node)
    if (node == np.arange(count)).all():
        return edges
    one, other = node[np.repeat(np.arange(count), np.diff(edges.starts))], node[edges.ends]
    outside = one != other
    keys, group = np.unique(one[outside] * count + other[outside], return_inverse=True)
    weights = np.bincount(group, edges.weights[outside], minlength=len(keys)).astype(np.float32)
    starts = np.searchsorted(keys, np.arange(count + 1, dtype=np.int64) * count)
    return Edges(starts.astype(np.int64), (keys % max(count, 1)).astype(np.int32), weights)
