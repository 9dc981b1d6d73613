"""Questions worth an answer: is this unknown cluster somebody who has a name, are these two clusters one person?

Each face of a group is searched for among the faces of those it may be; who is first for most of them is asked about,
with the probability of the middle face. How many of the unknown are anybody at all is estimated from their scores, so
that among thousands of strangers few questions are asked in vain. What people said is never asked again: faces rejected
from a person, faces said not to be the same, and two faces of one photo, rule a question out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from faceindex.arrays import l2_normalize
from faceindex.decisions.calibration import Calibration
from faceindex.errors import ConfigError
from faceindex.evaluation.scores import score_blocks
from faceindex.gallery.search import Gallery
from faceindex.identities.people import People

LEAST = 0.5
"""Probability from which a question is asked."""

ROUNDS = 50
"""Of the estimate of how many are anybody; it settles within some ten."""

MOST_SINGLE = 100_000
"""Faces by themselves that are asked about at most."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One question, to be answered with yes or no."""

    places: tuple[int, ...]
    """The unknown faces."""
    cluster: int | None
    """Their cluster; None for a face by itself."""
    person: str | None
    """Who they are likely to be; None when it is another cluster."""
    other: int | None
    """Which cluster is likely to be the same unknown person; None when it is somebody with a name."""
    similarity: float
    """Cosine of the middle face to the nearest face of theirs."""
    probability: float

    @property
    def settled(self) -> float:
        """Faces that the answer is expected to settle."""
        return self.probability * len(self.places)


@dataclass(frozen=True, slots=True, eq=False)
class _Groups:
    """Faces in groups."""

    places: Sequence[tuple[int, ...]]
    owners: NDArray[np.int64]
    """Group of each face, ascending, int64 (n,)."""
    vectors: NDArray[np.float32]
    """float32 (n, d), unit length."""

    @classmethod
    def of(cls, gallery: Gallery, people: People, groups: Sequence[Sequence[int]]) -> "_Groups":
        owners = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
        every = np.array([place for group in groups for place in group], np.int64)
        vectors = np.empty((0, gallery.dimension or 0), np.float32)
        if len(every):
            vectors = l2_normalize(gallery.vectors_of(people.rows.ids(every)))
        return cls([tuple(group) for group in groups], owners, vectors)


def suggestions(
    calibration: Calibration, gallery: Gallery, people: People, clusters: Mapping[int, Sequence[int]]
) -> list[Suggestion]:
    """Return the questions of a generation, those that settle most first.

    Args:
        calibration: of the generation.
        gallery: of the generation.
        people: who is who now.
        clusters: places of the faces of each cluster.

    Raises:
        ConfigError: no table tells how probable a similarity makes it for this model.
    """
    if calibration.table is None:
        raise ConfigError("no threshold table for this model, so nothing can be suggested; see `faceindex calibrate`")
    names = sorted(people.counts)
    known = _Groups.of(gallery, people, [people.faces_of(name) for name in names])
    numbers = [number for number in sorted(clusters) if not any(place in people.names for place in clusters[number])]
    left_out = {people.places[face] for face in people.state.left_out if face in people.places}
    settled = {place for places in clusters.values() for place in places} | left_out | people.names.keys()
    single = [place for place in people.rows.places.tolist() if place not in settled][:MOST_SINGLE]
    groups = _Groups.of(gallery, people, [clusters[number] for number in numbers])
    alone = _Groups.of(gallery, people, [[place] for place in single])
    rules = _Rules(people)
    found = [
        Suggestion(unknown.places[row], label[row], names[person], None, similarity, probability)
        for unknown, label in ((groups, numbers), (alone, [None] * len(single)))
        for row, person, similarity, probability in _likely(calibration, unknown, known)
        if rules.may_be(unknown.places[row], names[person], known.places[person])
    ]
    asked = {one.places for one in found}
    for row, other, similarity, probability in _likely(calibration, groups, groups):
        mine, theirs = groups.places[row], groups.places[other]
        if not asked & {mine, theirs} and rules.may_be_one(mine, theirs):
            asked |= {mine}
            found.append(Suggestion(mine, numbers[row], None, numbers[other], similarity, probability))
    return sorted(found, key=lambda question: (-question.settled, question.places))


def _likely(calibration: Calibration, groups: _Groups, others: _Groups) -> list[tuple[int, int, float, float]]:
    """Return (group, who, cosine, probability) of the groups that are more likely somebody than not.

    Args:
        calibration: of the generation.
        groups: asked about.
        others: whom they may be; the same groups for one another.
    """
    if not len(groups.places) or len(others.places) < 1 + (groups is others):
        return []
    assert calibration.table is not None
    cohort = calibration.members.cohort if calibration.members else None
    table = calibration.table.scores(normalised=cohort is not None)
    half = np.float32(cohort.normalisation.weight / 2 if cohort else 0.0)
    around = half * cohort.surroundings(others.vectors).means if cohort else np.float32(0.0)
    who = np.empty(len(groups.vectors), np.int64)
    cosines, best = np.empty(len(groups.vectors), np.float32), np.empty(len(groups.vectors), np.float32)
    for start, found in score_blocks(groups.vectors, others.vectors):
        rows = slice(start, start + len(found))
        if groups is others:
            found[groups.owners[rows, None] == others.owners[None]] = -np.inf
        first = (found - around).argmax(axis=1)
        who[rows], cosines[rows] = others.owners[first], found[np.arange(len(found)), first]
        best[rows] = (found - around)[np.arange(len(found)), first]
    if cohort:
        best -= half * cohort.surroundings(groups.vectors).means
    told = []
    for row, (start, end) in enumerate(
        pairwise(np.searchsorted(groups.owners, np.arange(len(groups.places) + 1)).tolist())
    ):
        chosen = int(np.bincount(who[start:end]).argmax())
        mine = np.where(who[start:end] == chosen, best[start:end], -1.0)
        even = table.probability(float(np.median(mine)), len(others.vectors))
        told.append((row, chosen, float(np.median(cosines[start:end])), even or 0.0))
    probabilities = _with_prior(np.array([even for *_, even in told]))
    return [(*one[:3], p) for one, p in zip(told, probabilities.tolist(), strict=True) if p >= LEAST]


def _with_prior(even: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return probabilities that hold for as many of the groups as are anybody, from those at even odds.

    Their share is the one that the probabilities add up to: by expectation and maximisation, after Saerens, Latinne and
    Decaestecker (Neural Computation 14, 2002).
    """
    odds = np.clip(even, 1e-12, 1 - 1e-12)
    odds = odds / (1 - odds)
    share = 0.5
    for _ in range(ROUNDS):
        told = odds * share / (odds * share + 1 - share)
        share = float(np.clip(told.mean(), 1e-6, 1 - 1e-6))
    return np.asarray(odds * share / (odds * share + 1 - share), np.float64)


class _Rules:
    """What people said, and photos tell, of who cannot be whom."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._apart = {pair for pair, same in people.state.links.items() if not same}

    def may_be(self, places: Sequence[int], person: str, faces: Sequence[int]) -> bool:
        """Return whether nobody said that one of these faces is not the person, and no photo shows both."""
        spoken = (self._people.spoken_of.get(place, b"") for place in places)
        if any((face, person) in self._people.state.rejected for face in spoken):
            return False
        return self.may_be_one(places, faces)

    def may_be_one(self, places: Sequence[int], others: Sequence[int]) -> bool:
        """Return whether nobody said that two of these faces are not the same, and no photo shows both."""
        spoken = self._people.spoken_of
        for one in places if self._apart else ():
            for other in others:
                pair = (spoken.get(one, b""), spoken.get(other, b""))
                if pair in self._apart or pair[::-1] in self._apart:
                    return False
        mine, theirs = (
            set(self._people.rows.take(np.array(side, np.int64))["photo_id"].to_pylist()) for side in (places, others)
        )
        return not mine & theirs
