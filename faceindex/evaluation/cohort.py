"""Scores less what a face resembles anyway: symmetric top-k mean subtraction.

    score = cos(probe, face) - weight / 2 * (m_probe + m_face)

m is the mean of the k highest cosines of a face to a cohort, one face each of people of the same archive. Some faces
have many look-alikes, and the larger a gallery, the surer it holds one: without them the same share of strangers is
kept out at a lower threshold. With weight 1 it is CSLS (Conneau et al., ICLR 2018) up to a factor. Dividing by the
cohort's spread as well, as AS-norm does, gains less with embeddings whose cosines lie close together.

A score depends on the pair and the cohort alone, so error rates of scores are estimated like those of cosines.
Knows unit vectors; nothing of files or models.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from faceindex.arrays import require
from faceindex.evaluation.scores import score_blocks
from faceindex.evaluation.thresholds import Normalisation

FEWEST_MEMBERS = 100
"""With a smaller cohort means vary more than they help."""

MEMBERS = 2000
"""A few times as many would gain another point, and cost as much time as the search itself."""

NOBODY = -1


NORMALISATION = Normalisation(k=10, weight=0.75)
"""Best or within a standard error of it for each of three models, though their cosines lie quite differently
(`benchmarks/normalisation.py`)."""


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """The nearest members of the cohort of some faces."""

    values: NDArray[np.float32]
    """Their cosines, float32 (n, k + 1), descending."""
    members: NDArray[np.int64]
    """Their places in the cohort, int64 (n, k + 1)."""

    @property
    def k(self) -> int:
        """Look-alikes that the mean is over."""
        return int(self.values.shape[1]) - 1

    @property
    def means(self) -> NDArray[np.float32]:
        """M of each face, float32 (n,)."""
        return np.asarray(self.values[:, :-1].mean(axis=1), np.float32)

    @property
    def reliefs(self) -> NDArray[np.float32]:
        """By how much m falls when one of the k nearest is left out and the next takes its place, float32 (n, k)."""
        return np.asarray((self.values[:, :-1] - self.values[:, -1:]) / self.k, np.float32)


@dataclass(frozen=True, eq=False)
class Cohort:
    """One face each of people who are not searched for: what is usual around a face of this archive.

    Args:
        vectors: float32 (c, d), unit length, at least FEWEST_MEMBERS.
        normalisation: constants of the model.
        same: cosine from which on a member is taken for the person of the face itself, and left out of its mean.
    """

    vectors: NDArray[np.float32]
    normalisation: Normalisation
    same: float

    @cached_property
    def k(self) -> int:
        """Look-alikes that a mean is over: a hundredth of the cohort, at least 2."""
        return max(2, min(self.normalisation.k, len(self.vectors) // 100))

    def surroundings(self, vectors: NDArray[np.float32], own: NDArray[np.int64] | None = None) -> Surroundings:
        """Return the nearest members of each face.

        Args:
            vectors: float32 (n, d), unit length.
            own: int64 (n,), the member that is known to be the same person, NOBODY where none is.
        """
        require("vectors", vectors, np.float32, (None, self.vectors.shape[1]))
        size = self.k + 1
        values, members = np.empty((len(vectors), size), np.float32), np.empty((len(vectors), size), np.int64)
        for start, cosines in score_blocks(vectors, self.vectors):
            rows = slice(start, start + len(cosines))
            cosines[cosines >= self.same] = -1.0
            if own is not None:
                known = np.flatnonzero(own[rows] != NOBODY)
                cosines[known, own[rows][known]] = -1.0
            nearest = np.argpartition(cosines, -size, axis=1)[:, -size:]
            found = np.take_along_axis(cosines, nearest, axis=1)
            order = np.argsort(-found, axis=1, kind="stable")
            values[rows] = np.take_along_axis(found, order, axis=1)
            members[rows] = np.take_along_axis(nearest, order, axis=1)
        return Surroundings(values, members)

    def scores(
        self,
        cosines: NDArray[np.float32],
        probes: Surroundings,
        face_means: NDArray[np.float32],
        own: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Return the normalised scores of lists of candidates, float32 (q, c).

        Args:
            cosines: of probes and candidates, float32 (q, c).
            probes: of q faces.
            face_means: m of the candidates, float32 (q, c).
            own: the member that is the candidate's person, NOBODY where none is, int64 (q, c): it does not count as a
                look-alike of the probe.
        """
        without = (probes.members[:, None, :-1] == own[:, :, None]) & (own[:, :, None] != NOBODY)
        of_probes = probes.means[:, None] - (without * probes.reliefs[:, None]).sum(axis=2)
        half = np.float32(self.normalisation.weight / 2)
        return np.asarray(cosines - half * (of_probes + face_means), np.float32)


def one_face_of_each(
    vectors: NDArray[np.float32], people: NDArray[np.int64], *, same: float, alike: float, members: int = MEMBERS
) -> NDArray[np.int64]:
    """Return the rows of faces that are presumably of different people, in order, int64 (at most `members`,).

    Faces linked by a chain of cosines of at least `same` count as one person, as faces with one number do. Of the
    others none is taken that is as much as `alike` to one before: a cohort in which somebody stands twice would take
    him for his own look-alike.

    Args:
        vectors: float32 (n, d), unit length, in random order; a few thousand.
        people: int64 (n,), equal for faces known to be of one person, NOBODY where unknown.
        same: cosine that two people hardly ever reach.
        alike: cosine that two people seldom reach, below `same`.
        members: faces wanted.
    """
    cosines = vectors @ vectors.T
    linked = cosines >= same
    if (people != NOBODY).any():
        linked |= (people[:, None] == people[None]) & (people[:, None] != NOBODY)
    near = cosines >= alike
    free = np.ones(len(vectors), np.bool_)
    chosen: list[int] = []
    for row in range(len(vectors)):
        if len(chosen) == members:
            break
        if not free[row]:
            continue
        chosen.append(row)
        free &= ~(_chain(linked, row) | near[row])
    return np.array(chosen, np.int64)


def _chain(linked: NDArray[np.bool_], start: int) -> NDArray[np.bool_]:
    """Return which faces are linked to one over any number of others, bool (n,)."""
    reached: NDArray[np.bool_] = linked[start].copy()
    new = reached.copy()
    while new.any():
        following = linked[new].any(axis=0) & ~reached
        reached |= following
        new = following
    return reached
