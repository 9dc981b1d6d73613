"""Questions worth an answer: is this unknown face somebody with a name, are two clusters one person, or is one two?

Made anew of the links that were kept with the clusters and of what people have said by now, so that an answer counts at
once: a name given a moment ago is asked about, and what was answered never again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa
from blake3 import blake3
from numpy.typing import NDArray

from faceindex.errors import ConfigError
from faceindex.identities.events import Event
from faceindex.identities.labelling import Labelling
from faceindex.identities.people import People
from faceindex.identities.selection import Clusters, Selection
from faceindex.tables import from_id_column

LEAST = 0.1
"""Probability from which a question is asked."""

UNLINKED = -4.0
"""Log-odds of a face without a link: those that have one begin at -3."""

JOINED = 0.95
"""Probability that a face is who the named faces of its cluster are."""

TWO_PEOPLE = 0.4
"""Probability that a cluster in doubt is two people's."""


@dataclass(frozen=True, slots=True)
class Question:
    """Something to be answered with yes or no."""

    kind: Literal["person", "same", "split"]
    """Are these faces a person's; are they the same unknown person as another group; are they somebody else?"""
    places: tuple[int, ...]
    """The faces that are asked about."""
    others: tuple[int, ...]
    """Whom they are held against."""
    cluster: int | None
    """Cluster of the faces; None for a face by itself."""
    person: str | None
    """Who the others are; None where nobody said."""
    other: int | None
    """Their cluster; None for a person, and for a face by itself."""
    probability: float
    """Of yes, 0 to 1."""

    @property
    def question_id(self) -> str:
        """16 hex digits, the same as long as the same is asked."""
        places = (self.kind, self.places, self.others, self.person)
        return blake3(repr(places).encode()).hexdigest(8)

    @property
    def settles(self) -> float:
        """Faces that the answer is expected to settle.

        A doubt counts as one face: most large clusters in doubt are one person's in different light, and few faces are
        soon seen to be wrong when the cluster is named.
        """
        return self.probability * (1 if self.kind == "split" else len(self.places))

    def answer(self, labelling: Labelling, *, yes: bool) -> Event:
        """Put the answer into the ledger."""
        if yes == (self.kind == "split"):
            if self.person:
                return labelling.reject(self.person, self.places)
            return labelling.not_same(self.places, self.others)
        if self.person:
            return labelling.name(Selection("face", "", self.places), self.person)
        return labelling.same((*self.places, *self.others))


def questions(people: People, clusters: Clusters, links: pa.Table, min_quality: float) -> list[Question]:
    """Return what to ask, what settles most first.

    Args:
        people: who is who now.
        clusters: as the ledger has them, of `grouping.regrouped`.
        links: tables.LINKS of the generation.
        min_quality: named faces below are no example of their person.
    """
    asking = _Asking(people, clusters)
    found = [*asking.joined(), *asking.linked(links, min_quality)]
    return sorted(found, key=lambda question: (-question.settles, question.places))


class _Asking:
    """Groups of faces: people, unknown clusters, and faces by themselves."""

    def __init__(self, people: People, clusters: Clusters) -> None:
        self._people = people
        self._clusters = clusters
        self._cluster_of = {place: number for number, places in clusters.items() for place in places}

    def joined(self) -> Iterable[Question]:
        """Ask about faces without a name in clusters of which others have one."""
        names = self._people.names
        for number, places in self._clusters.items():
            named = [place for place in places if place in names]
            free = tuple(place for place in places if place not in names)
            if named and free:
                person = max(sorted({names[place] for place in named}), key=[names[place] for place in named].count)
                if self._may_be(free, person, [place for place in named if names[place] == person]):
                    yield Question("person", free, tuple(named), number, person, None, JOINED)

    def linked(self, links: pa.Table, min_quality: float) -> Iterable[Question]:
        """Ask about groups that links lead from one to the other, and about parts of groups."""
        one, other = (self._people.rows.find(from_id_column(links[name])) for name in ("face_id", "other_id"))
        log_odds = links["log_odds"].to_numpy().astype(np.float64)
        weak = self._weak(min_quality)
        out = np.array(sorted(self._people.left_out), np.int64)
        kept = (one >= 0) & (other >= 0) & ~np.isin(one, out) & ~np.isin(other, out)
        kept &= ~np.isin(one, weak) & ~np.isin(other, weak)
        one, other, log_odds = one[kept], other[kept], log_odds[kept]
        inside = links["inside"].to_numpy()[kept]
        together = self._groups(one) == self._groups(other)
        # A link of two clusters that became one is an answer, no doubt.
        yield from self._splits(one[inside & together])
        apart = ~inside & ~together
        yield from self._pairs(one[apart], other[apart], log_odds[apart])

    def _weak(self, min_quality: float) -> NDArray[np.int64]:
        named = np.array(sorted(self._people.names), np.int64)
        weak = self._people.rows.take(named)["quality"].to_numpy() < min_quality
        return np.asarray(named[weak], np.int64)

    @cached_property
    def _names(self) -> list[str]:
        return sorted(self._people.counts)

    def _groups(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the group of each face: people from 0, then clusters, then faces by themselves."""
        index = {name: number for number, name in enumerate(self._names)}
        names, clusters = self._people.names, self._cluster_of
        first = 1 + len(index) + max(self._clusters, default=0)
        return np.array(
            [
                index[names[place]]
                if place in names
                else len(index) + clusters[place]
                if place in clusters
                else first + place
                for place in places.tolist()
            ],
            np.int64,
        )

    def _members(self, group: int) -> tuple[tuple[int, ...], int | None, str | None]:
        """Return the faces of a group, its cluster, and its name."""
        if group < len(self._names):
            name = self._names[group]
            return self._faces_of[name], None, name
        number = group - len(self._names)
        if number in self._clusters:
            free = tuple(place for place in self._clusters[number] if place not in self._people.names)
            return free, number, None
        return (number - 1 - max(self._clusters, default=0),), None, None

    @cached_property
    def _faces_of(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, list[int]] = {}
        for place, name in sorted(self._people.names.items()):
            found.setdefault(name, []).append(place)
        return {name: tuple(places) for name, places in found.items()}

    def _splits(self, one: NDArray[np.int64]) -> Iterable[Question]:
        groups = self._groups(one)
        for group in np.unique(groups).tolist():
            part = tuple(sorted(set(one[groups == group].tolist())))
            places, number, person = self._members(group)
            rest = tuple(place for place in places if place not in part)
            if rest and not self._said_same(part, rest):
                yield Question("split", part, rest, number, person, None, TWO_PEOPLE)

    def _said_same(self, part: Sequence[int], rest: Sequence[int]) -> bool:
        """Return whether somebody said that these are one person, by name or in so many words."""
        faces = {self._people.spoken_of.get(place, b"") for place in (*part, *rest)}
        return any(faces.issubset(group) for group in self._people.state.groups)

    def _pairs(
        self, one: NDArray[np.int64], other: NDArray[np.int64], log_odds: NDArray[np.float64]
    ) -> Iterable[Question]:
        """Ask of each unknown group whether it is the one that it is most likely to be."""
        one, other, log_odds = np.append(one, other), np.append(other, one), np.tile(log_odds, 2)
        mine, theirs = self._groups(one), self._groups(other)
        order = np.lexsort((-log_odds, one, theirs, mine))
        mine, theirs, one, log_odds = mine[order], theirs[order], one[order], log_odds[order]
        best = np.ones(len(one), bool)
        best[1:] = (mine[1:] != mine[:-1]) | (theirs[1:] != theirs[:-1]) | (one[1:] != one[:-1])
        mine, theirs, log_odds = mine[best], theirs[best], log_odds[best]
        pairs, start, counts = np.unique(np.column_stack([mine, theirs]), axis=0, return_index=True, return_counts=True)
        sums = np.add.reduceat(log_odds, start) if len(start) else np.empty(0)
        sizes = {int(group): len(self._members(int(group))[0]) for group in np.unique(pairs)}
        of_pair: dict[tuple[int, int], float] = {}
        for (a, b), total, count in zip(pairs.tolist(), sums.tolist(), counts.tolist(), strict=True):
            mean = (total + UNLINKED * (sizes[a] - count)) / sizes[a]
            # The smaller group tells: most faces of a large one have their nearest among themselves.
            if sizes[a] <= sizes[b]:
                of_pair[min(a, b), max(a, b)] = max(mean, of_pair.get((min(a, b), max(a, b)), UNLINKED))
        asked: set[int] = set()
        for (a, b), odds in sorted(of_pair.items(), key=lambda item: (-item[1], item[0])):
            probability = float(1 / (1 + np.exp(-odds)))
            if probability < LEAST:
                break
            question = self._question(a, b, sizes, probability, asked)
            if question is not None:
                yield question

    def _question(
        self, a: int, b: int, sizes: Mapping[int, int], probability: float, asked: set[int]
    ) -> Question | None:
        named = len(self._names)
        if b < named:
            return None  # two people with names: only somebody who knows both would say that they are one
        who, whose = (b, a) if a < named or sizes[b] <= sizes[a] else (a, b)
        places, cluster, _ = self._members(who)
        others, other, person = self._members(whose)
        if {who, *([] if person else [whose])} & asked:
            return None
        allowed = self._may_be(places, person, others) if person else self._may_be_one(places, others)
        if not allowed:
            return None
        asked |= {who} if person else {who, whose}
        return Question("person" if person else "same", places, others, cluster, person, other, probability)

    def _may_be(self, places: Sequence[int], person: str, faces: Sequence[int]) -> bool:
        """Return whether nobody said that one of these faces is not the person, and no photo shows both."""
        spoken = (self._people.spoken_of.get(place, b"") for place in places)
        if any((face, person) in self._people.state.rejected for face in spoken):
            return False
        return self._may_be_one(places, faces)

    def _may_be_one(self, places: Sequence[int], others: Sequence[int]) -> bool:
        """Return whether nobody said that two of these faces are not the same, and no photo shows both."""
        spoken = self._people.spoken_of
        mine, theirs = ([spoken[place] for place in side if place in spoken] for side in (places, others))
        apart = self._people.state.apart
        if apart and any((min(a, b), max(a, b)) in apart for a in mine for b in theirs):
            return False
        photos = self._people.rows.take(np.array([*places, *others], np.int64))["photo_id"].to_pylist()
        return not set(photos[: len(places)]) & set(photos[len(places) :])


def require_links(links: pa.Table | None) -> pa.Table:
    """Return the links, which a generation has once it was clustered.

    Raises:
        ConfigError: it has none yet.
    """
    if links is None:
        raise ConfigError("nothing can be asked before the faces were clustered; run `faceindex cluster`")
    return links
