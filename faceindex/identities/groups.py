"""Faces that nobody has named, in groups that look like one person: computed clusters, and what was said since.

A clustering obeys what was said before it ran. What is said afterwards holds at once too: named faces leave their
group, faces that were split stand apart, and groups that were said to be one are one.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from faceindex.identities.people import People
from faceindex.identities.selection import Clusters


@dataclass(frozen=True, slots=True)
class Group:
    """Faces of a cluster that have no name and may be one person."""

    cluster: int
    places: tuple[int, ...]
    first: bool
    """Whether it is the largest group of its cluster; the others were split from it."""
    near: str | None
    """Who most named faces of the cluster are; None where there are none, or the group was said to be somebody else."""


def unknown_groups(people: People, clusters: Clusters) -> list[Group]:
    """Return the groups of faces without a name, the largest first."""
    apart = _apart(people)
    parts = [
        (number, part)
        for number, places in clusters.items()
        for part in _parts([place for place in places if place not in people.names], apart)
    ]
    groups: list[Group] = []
    seen: set[int] = set()
    for number, places in sorted(_joined(parts, people), key=lambda part: (-len(part[1]), part[0], part[1])):
        groups.append(Group(number, tuple(places), number not in seen, _near(people, clusters[number], places)))
        seen.add(number)
    return groups


def _apart(people: People) -> dict[int, set[int]]:
    """Return for each face those that were said not to be the same person."""
    found: dict[int, set[int]] = {}
    for (a, b), same in people.state.links.items():
        if not same and a in people.places and b in people.places:
            one, other = people.places[a], people.places[b]
            found.setdefault(one, set()).add(other)
            found.setdefault(other, set()).add(one)
    return found


def _parts(places: Sequence[int], apart: dict[int, set[int]]) -> list[list[int]]:
    """Return faces in as few parts as a look at one after another needs, none with two that are apart."""
    if not any(place in apart for place in places):
        return [list(places)] if places else []
    parts: list[list[int]] = []
    for place in places:
        others = apart.get(place, set())
        for part in parts:
            if others.isdisjoint(part):
                part.append(place)
                break
        else:
            parts.append([place])
    return parts


def _joined(parts: list[tuple[int, list[int]]], people: People) -> list[tuple[int, list[int]]]:
    """Join parts that share faces said to be one person; the largest part's cluster gives the number."""
    where = {place: index for index, (_, places) in enumerate(parts) for place in places}
    root = list(range(len(parts)))

    def find(index: int) -> int:
        while root[index] != index:
            index = root[index]
        return index

    for (a, b), same in people.state.links.items():
        ends = [where[people.places[face]] for face in (a, b) if people.places.get(face) in where]
        if same and len(ends) == 2:
            one, other = sorted(map(find, ends))
            root[other] = one
    joined: dict[int, list[tuple[int, list[int]]]] = {}
    for index, part in enumerate(parts):
        joined.setdefault(find(index), []).append(part)
    return [(_largest(some), [place for _, places in some for place in places]) for some in joined.values()]


def _largest(parts: Iterable[tuple[int, list[int]]]) -> int:
    return min(parts, key=lambda part: (-len(part[1]), part[0]))[0]


def _near(people: People, cluster: Sequence[int], places: Sequence[int]) -> str | None:
    names = Counter(people.names[place] for place in cluster if place in people.names)
    if not names:
        return None
    name = min(names, key=lambda one: (-names[one], one))
    refused = any((people.spoken_of.get(place, b""), name) in people.state.rejected for place in places)
    return None if refused else name
