"""Clusters as they are with what people said since they were computed: an answer holds at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from faceindex.identities.events import Kind
from faceindex.identities.people import People
from faceindex.identities.selection import Clusters


def regrouped(clusters: Clusters, people: People, first_free: int) -> tuple[dict[int, list[int]], int]:
    """Return clusters of two faces or more as the ledger has them, and the next number for a cluster.

    Faces that were told apart from others of their cluster leave it together and get a number of their own; clusters
    said to be one person are one, under the lower number. Faces that are left out are in none.

    Args:
        clusters: as computed.
        people: who is who now.
        first_free: number that no cluster had.
    """
    groups = _Groups(dict(clusters), first_free)
    same = {face: number for number, group in enumerate(people.state.groups) for face in group}
    for event in people.state.done:
        faces, others = (
            [people.places[ref.face_id] for ref in refs if ref.face_id in people.places]
            for refs in (event.faces, event.others)
        )
        if event.kind is Kind.SAME:
            still: dict[int, list[int]] = {}
            for place in faces:
                still.setdefault(same.get(people.spoken_of[place], -1), []).append(place)
            still.pop(-1, None)
            for together in still.values():
                groups.join(together)
        elif event.kind in (Kind.SPLIT, Kind.NOT_SAME, Kind.REJECT):
            groups.part(faces, _kept_apart(people, set(others)))
    found = {
        number: kept
        for number, places in sorted(groups.places.items())
        if len(kept := sorted(set(places) - people.left_out)) > 1 or (kept and number in clusters)
    }
    return found, groups.first_free


def _kept_apart(people: People, others: set[int]) -> Callable[[int, int], bool]:
    """Return what tells of a face and another whether they still cannot be together."""
    state = people.state

    def apart(place: int, other: int) -> bool:
        face, its = people.spoken_of[place], people.spoken_of.get(other, b"")
        if place in people.names and people.names[place] == people.names.get(other):
            return False
        return (face, people.names.get(other)) in state.rejected or (
            other in others and (min(face, its), max(face, its)) in state.apart
        )

    return apart


@dataclass(slots=True)
class _Groups:
    """Faces in groups that change."""

    places: dict[int, Sequence[int]]
    first_free: int
    number: dict[int, int] = field(init=False)
    """Of each face in a group."""

    def __post_init__(self) -> None:
        self.number = {place: number for number, places in self.places.items() for place in places}

    def join(self, faces: Sequence[int]) -> None:
        """Make one group of all the groups of these faces."""
        if len(faces) < 2:
            return
        numbers = {self.number[place] for place in faces if place in self.number}
        together = dict.fromkeys([place for number in sorted(numbers) for place in self.places[number]])
        together |= dict.fromkeys(faces)
        for number in numbers:
            del self.places[number]
        self._put(list(together), min(numbers) if numbers else self._new())

    def part(self, faces: Sequence[int], apart: Callable[[int, int], bool]) -> None:
        """Take faces out of the groups in which others are that they cannot be with."""
        by_group: dict[int, list[int]] = {}
        for place in faces:
            if place in self.number:
                by_group.setdefault(self.number[place], []).append(place)
        for number, here in sorted(by_group.items()):
            among = set(here)
            others = [place for place in self.places[number] if place not in among]
            leaving = [place for place in here if any(apart(place, other) for other in others)]
            if leaving:
                gone = set(leaving)
                self._put([place for place in self.places[number] if place not in gone], number)
                self._put(leaving, self._new())

    def _put(self, places: Sequence[int], number: int) -> None:
        self.places[number] = places
        self.number |= dict.fromkeys(places, number)

    def _new(self) -> int:
        self.first_free += 1
        return self.first_free - 1
