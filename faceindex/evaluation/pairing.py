"""Labelled people as strangers and as searches of enrolled people: the scores that open set error rates count.

Knows unit vectors and subject numbers; nothing of files or models.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from faceindex.arrays import l2_normalize
from faceindex.errors import ConfigError
from faceindex.evaluation.cohort import NOBODY, Cohort
from faceindex.evaluation.scores import one_face_each, score_blocks


@dataclass(frozen=True, slots=True, eq=False)
class Pairing:
    """Probes, and one reference for each enrolled person."""

    probes: NDArray[np.float32]
    """float32 (p, d), unit length."""
    references: NDArray[np.float32]
    """float32 (r, d), unit length."""
    own: NDArray[np.int64]
    """The reference of each probe's person, int64 (p,)."""
    own_scores: NDArray[np.float32] | None = None
    """Cosines to the own reference where that must not be `references[own]`, float32 (p,)."""
    cohort: Cohort | None = None
    """Scores are plain cosines without one."""
    members: NDArray[np.int64] | None = None
    """Member of the cohort that is the person of each reference, NOBODY where none is, int64 (r,)."""
    strangers: bool = True
    """Whether the probes' people are not enrolled: their own reference is then left out, and so is their own member of
    the cohort; probe i is the person of reference i."""

    @property
    def ceiling(self) -> float:
        """The score of a face and itself; of one with usual surroundings, where scores are normalised."""
        if self.cohort is None:
            return 1.0
        means = self.cohort.surroundings(self.references, self.members).means
        return 1.0 - self.cohort.normalisation.weight * float(np.median(means))

    def blocks(self, probes: int | None = None) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield (first probe, scores float32 (block, r)); the own score of a stranger is -inf.

        Args:
            probes: about so many are enough; by default all.
        """
        every = max(1, len(self.probes) // (probes or len(self.probes)))
        normalised = self._normalised() if self.cohort else None
        for start, scores in score_blocks(self.probes, self.references, every=every):
            rows = np.arange(len(scores))
            own = self.own[start : start + len(scores)]
            if self.own_scores is not None:
                scores[rows, own] = self.own_scores[start : start + len(scores)]
            if normalised:
                normalised.apply(scores, start)
            if self.strangers:
                scores[rows, own] = -np.inf
            yield start, scores

    def _normalised(self) -> "_Corrections":
        assert self.cohort is not None
        assert self.members is not None
        half = self.cohort.normalisation.weight / 2
        of_probe = self.members[self.own] if self.strangers else None
        probes = self.cohort.surroundings(self.probes, of_probe)
        references = self.cohort.surroundings(self.references, self.members)
        column_of = np.full(len(self.cohort.vectors), NOBODY)
        column_of[self.members[self.members != NOBODY]] = np.flatnonzero(self.members != NOBODY)
        # The person a probe is compared with is no look-alike of it, and a stranger is in no cohort.
        columns = column_of[probes.members[:, :-1]]
        rows = np.broadcast_to(np.arange(len(columns))[:, None], columns.shape)
        parts = [(rows, columns, half * probes.reliefs)]
        if self.strangers:
            rows = column_of[references.members[:, :-1]]
            columns = np.broadcast_to(np.arange(len(rows))[:, None], rows.shape)
            parts.append((rows, columns, half * references.reliefs))
        row, column, relief = (np.concatenate([part[i].ravel() for part in parts]) for i in range(3))
        known = np.flatnonzero((row != NOBODY) & (column != NOBODY))
        known = known[np.argsort(row[known], kind="stable")]
        means = (np.float32(half) * probes.means, np.float32(half) * references.means)
        return _Corrections(*means, row[known], column[known], relief[known].astype(np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class _Corrections:
    """What is taken off cosines, and given back for members of the cohort that do not count for a pair."""

    probe_means: NDArray[np.float32]
    reference_means: NDArray[np.float32]
    rows: NDArray[np.int64]
    """Ascending."""
    columns: NDArray[np.int64]
    reliefs: NDArray[np.float32]

    def apply(self, scores: NDArray[np.float32], start: int) -> None:
        """Change a block of cosines, whose first row is that of probe `start`, to scores."""
        scores -= self.probe_means[start : start + len(scores), None]
        scores -= self.reference_means[None]
        here = slice(*np.searchsorted(self.rows, [start, start + len(scores)]))
        np.add.at(scores, (self.rows[here] - start, self.columns[here]), self.reliefs[here])


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Labelled people from whom error rates are learnt.

    Args:
        vectors: float32 (n, d), unit length.
        people: int64 (n,), counted from 0 without gaps.
        cohort: that scores are normalised by; plain cosines without one.
        members: member of the cohort that is each person, NOBODY where none is, int64 (people,).
        averaged: people are enrolled as the mean of all their faces, and not by one face.
    """

    vectors: NDArray[np.float32]
    people: NDArray[np.int64]
    cohort: Cohort | None = None
    members: NDArray[np.int64] | None = None
    averaged: bool = False

    @classmethod
    def of(cls, vectors: NDArray[np.float32], subjects: NDArray[np.int64], *, averaged: bool = False) -> Self:
        """Number the people; `subjects` are equal for faces of one person."""
        return cls(vectors, np.unique(subjects, return_inverse=True)[1].astype(np.int64), averaged=averaged)

    @property
    def size(self) -> int:
        """People."""
        return int(self.people.max(initial=-1)) + 1

    def strangers(self, generator: np.random.Generator) -> Pairing:
        """Return a search of one random face of each person among all others."""
        return self.strangers_of(one_face_each(self.people, generator))

    def strangers_of(self, faces: NDArray[np.int64]) -> Pairing:
        """Return a search of one face of each person, in order of people, among all others."""
        references = templates(self.vectors, self.people) if self.averaged else self.vectors[faces]
        return Pairing(self.vectors[faces], references, np.arange(self.size), None, self.cohort, self.members)

    def mated(self, generator: np.random.Generator) -> Pairing:
        """Return a search of one random face that is not enrolled of each person who has one.

        Raises:
            ConfigError: nobody has two faces.
        """
        enrolled = one_face_each(self.people, generator)
        others = np.setdiff1d(np.arange(len(self.people)), enrolled)
        if len(others) == 0:
            raise ConfigError(
                "probabilities need people with two faces or more, got none; label more photos of a person"
            )
        probes = others[one_face_each(self.people[others], generator)]
        own, own_scores = self.people[probes], None
        references = self.vectors[enrolled]
        if self.averaged:
            sums = _sums(self.vectors, self.people)
            references = l2_normalize(sums)
            own_scores = np.einsum("ij,ij->i", self.vectors[probes], l2_normalize(sums[own] - self.vectors[probes]))
        return Pairing(self.vectors[probes], references, own, own_scores, self.cohort, self.members, strangers=False)


def templates(vectors: NDArray[np.float32], people: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the mean of the faces of each person, scaled to unit length, float32 (people, d).

    Args:
        vectors: float32 (n, d), unit length.
        people: int64 (n,), counted from 0 without gaps.
    """
    return l2_normalize(_sums(vectors, people))


def _sums(vectors: NDArray[np.float32], people: NDArray[np.int64]) -> NDArray[np.float32]:
    sums = np.zeros((int(people.max()) + 1, vectors.shape[1]), np.float32)
    np.add.at(sums, people, vectors)
    return sums
