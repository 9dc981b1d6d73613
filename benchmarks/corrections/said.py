"""A plain model of what somebody said of faces: the oracle of the trials, which knows nothing of the code on trial.

It holds the sentences that were acknowledged, reads those that count from the first to the last, and keeps what follows
in sets of faces, names and pairs. Every pair is written down by itself; nothing is kept short to be quick.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Any

Sentence = dict[str, Any]
"""An event as commands print it: `schemas/event.v1.json`."""


@dataclass
class World:
    """What is so, by what was said."""

    who: dict[str, str] = field(default_factory=dict)
    not_who: set[tuple[str, str]] = field(default_factory=set)
    out: set[str] = field(default_factory=set)
    same: dict[frozenset[str], bool] = field(default_factory=dict)
    """The last that was said of each pair of faces."""

    def take(self, sentence: Sentence) -> None:
        """Let a sentence be so."""
        faces, others = ([face["face_id"] for face in sentence.get(side, ())] for side in ("faces", "others"))
        person, to = sentence.get("person"), sentence.get("to")
        match sentence["kind"]:
            case "name":
                self._is(faces, person)
            case "rename" | "merge":
                self.who = {face: to if name == person else name for face, name in self.who.items()}
                self.not_who = {(face, to if name == person else name) for face, name in self.not_who}
                self.not_who -= set(self.who.items())
            case "split":
                beside = {self.who[face] for face in others if face in self.who}
                self._is_not(faces, [person] if person else [])
                for face in faces:
                    self._is_not([face], beside & {self.who.get(face)})
                self._pairs(product(faces, others), same=False)
                if to:
                    self._is(faces, to)
            case "same":
                self._pairs(combinations(faces, 2), same=True)
            case "not-same":
                self._pairs(product(faces, others), same=False)
            case "reject":
                self._is_not(faces, [person])
            case "ignore" | "not-a-face":
                self.out |= set(faces)
                self.who = {face: name for face, name in self.who.items() if face not in self.out}

    def _is(self, faces: Iterable[str], person: str) -> None:
        for face in faces:
            self.who[face] = person
            self.out.discard(face)
            self.not_who.discard((face, person))

    def _is_not(self, faces: Iterable[str], people: Iterable[str]) -> None:
        for face, person in product(faces, list(people)):
            self.not_who.add((face, person))
            if self.who.get(face) == person:
                del self.who[face]

    def _pairs(self, pairs: Iterable[tuple[str, str]], *, same: bool) -> None:
        for one, other in pairs:
            if one != other:
                self.same[frozenset((one, other))] = same

    def groups(self) -> list[set[str]]:
        """Return the faces that were said to be one another's person, from pair to pair."""
        group_of: dict[str, set[str]] = {}
        for one, other in (tuple(pair) for pair, same in self.same.items() if same):
            small, large = sorted((group_of.get(one, {one}), group_of.get(other, {other})), key=len)
            large |= small
            group_of |= dict.fromkeys(small, large) | {one: large, other: large}
        return list({id(group): group for group in group_of.values()}.values())

    def apart(self) -> list[tuple[str, str]]:
        """Return the pairs that were said to be two people."""
        return [(min(pair), max(pair)) for pair, same in self.same.items() if not same]

    def names(self) -> dict[str, str]:
        """Return who each face is; who is said to be the same as one named person is that person too."""
        names, strangers = dict(self.who), self.strangers()
        for group in self.groups():
            people = {self.who[face] for face in group if face in self.who}
            if len(people) == 1:
                [person] = people
                free = {face for face in group if face not in self.who and face not in self.out}
                names |= {face: person for face in free if not self._denied(face, person, strangers)}
        return names

    def _denied(self, face: str, person: str, strangers: dict[str, set[str]]) -> bool:
        """Return whether it was said that a face is not a person, or not one of the faces that were named so."""
        return (face, person) in self.not_who or any(self.who.get(one) == person for one in strangers.get(face, ()))

    def strangers(self) -> dict[str, set[str]]:
        """Return the faces that each face was said not to be the person of."""
        found: dict[str, set[str]] = {}
        for one, other in self.apart():
            found.setdefault(one, set()).add(other)
            found.setdefault(other, set()).add(one)
        return found

    def unclear(self) -> set[str]:
        """Return the faces of groups in which somebody contradicted himself by way of a third face.

        Such as: these two are one person, those two as well, and then that the first is not the last. Of these groups
        it is only asked that the last word on each pair holds, and that nobody gets a name from elsewhere.
        """
        strangers = self.strangers()
        found: set[str] = set()
        for group in self.groups():
            people = {self.who[face] for face in group if face in self.who}
            parted = any(strangers.get(face, set()) & group for face in group)
            if len(people) > 1 or parted:
                found |= group
        return found


@dataclass
class Said:
    """All that was acknowledged, in order."""

    sentences: list[Sentence] = field(default_factory=list)

    def counting(self) -> list[Sentence]:
        """Return the sentences that count: those not undone, or done again, each in its place."""
        off: set[str] = set()
        for sentence in self.sentences:
            if sentence["kind"] == "undo":
                off.add(sentence["target"])
            elif sentence["kind"] == "redo":
                off.discard(sentence["target"])
        return [one for one in self.sentences if one["kind"] not in ("undo", "redo") and one["event"] not in off]

    def world(self) -> World:
        """Return what is so now."""
        world = World()
        for sentence in self.counting():
            world.take(sentence)
        return world

    def faces(self) -> Iterator[str]:
        """Yield every face that was spoken of, once."""
        yield from {
            face["face_id"]: None
            for one in self.sentences
            for side in ("faces", "others")
            for face in one.get(side, ())
        }
