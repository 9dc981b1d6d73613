"""Clusters as they are with what people said since they were computed: an answer holds at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from faceindex.identities.events import Event, FaceRef, Kind
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
    for event in people.state.done:
        faces, others = (
            [people.places[ref.face_id] for ref in refs if ref.face_id in people.places]
            for refs in (event.faces, event.others)
        )
        if event.kind is Kind.SAME:
            groups.join([place for place in faces if _still(people, event.faces, place)])
        elif event.kind in (Kind.SPLIT, Kind.NOT_SAME, Kind.REJECT):
            groups.part(faces, _stays(people, event, set(others)))
    left_out = {people.places[face] for face in people.state.left_out if face in people.places}
    found = {
        number: kept
        for number, places in sorted(groups.places.items())
        if len(kept := sorted(set(places) - left_out)) > 1 or (kept and number in clusters)
    }
    return found, groups.first_free


def _still(people: People, refs: Sequence[FaceRef], place: int) -> bool:
    """Return whether a face that was said to be the same as the first of some still is."""
    face, first = people.spoken_of.get(place), refs[0].face_id
    return face == first or people.state.links.get((min(face or b"", first), max(face or b"", first)), False)


def _stays(people: People, event: Event, others: set[int]) -> Callable[[int], bool]:
    """Return who the faces of an event cannot be with."""
    person = people.state.aliases.get(event.person, event.person) if event.person else None
    return lambda place: place in others or (person is not None and people.names.get(place) == person)


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

    def part(self, faces: Sequence[int], stays: Callable[[int], bool]) -> None:
        """Take faces out of the groups in which somebody stays."""
        by_group: dict[int, list[int]] = {}
        for place in faces:
            if place in self.number and not stays(place):
                by_group.setdefault(self.number[place], []).append(place)
        for number, leaving in sorted(by_group.items()):
            rest = [place for place in self.places[number] if place not in set(leaving)]
            if any(stays(place) for place in rest):
                self._put(rest, number)
                self._put(leaving, self._new())

    def _put(self, places: Sequence[int], number: int) -> None:
        self.places[number] = places
        self.number |= dict.fromkeys(places, number)

    def _new(self) -> int:
        self.first_free += 1
        return self.first_free - 1
