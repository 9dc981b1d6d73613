"""What people do with faces: each act becomes one event of the ledger, or none when it makes no sense.

An act is decided inside the ledger's transaction, by what holds at that moment, so two people who label at once cannot
undo each other unawares.
"""

from collections.abc import Callable, Iterable

from faceindex.errors import ConfigError, NothingFoundError
from faceindex.identities.events import Event, Kind, require_name
from faceindex.identities.people import People, PeopleOf
from faceindex.identities.selection import Selection
from faceindex.identities.state import State
from faceindex.wording import visible


class Labelling:
    """Says things of faces in somebody's name.

    Args:
        people: who is who in a generation.
        author: who says it.
    """

    def __init__(self, people: PeopleOf, author: str) -> None:
        self._people = people
        self._author = author

    def name(self, faces: Selection, name: str) -> Event:
        """Say who faces are. Of a cluster those are meant that nobody said anything else of.

        Raises:
            ConfigError: the name cannot be one, or the faces are a person's already.
            NothingFoundError: no face is left.
        """
        person = require_name(name)
        if faces.kind == "person":
            raise ConfigError(
                f"{visible(faces.text)} has a name; use `faceindex people rename`, or `merge` if both are one person"
            )

        def said(people: People) -> Event:
            places = faces.places if faces.kind != "cluster" else _unsaid(people, faces.places, person)
            if not places:
                raise NothingFoundError(f"no face of {faces.kind} {visible(faces.text)} is without a name")
            return Event(Kind.NAME, self._author, people.refs(places), person=person)

        return self._say(said)

    def rename(self, person: str, name: str) -> Event:
        """Give a person another name, which nobody has.

        Raises:
            NothingFoundError: there is no such person.
            ConfigError: somebody is called that already.
        """
        to = require_name(name)

        def said(people: People) -> Event:
            _require_person(people, person)
            if to in people.everybody:
                raise ConfigError(
                    f"somebody is called {visible(to)} already; if both are one person use `faceindex people merge`"
                )
            return Event(Kind.RENAME, self._author, person=person, to=to)

        return self._say(said)

    def merge(self, faces: Selection, into: Selection) -> Event:
        """Say that two are one person. Of two people the second's name stays; faces without a name take a person's."""
        if into.kind != "person" and faces.kind == "person":
            faces, into = into, faces
        if faces.kind == into.kind == "person":
            if faces.text == into.text:
                raise ConfigError(f"two people are needed for a merge, got {visible(into.text)} twice")

            def said(people: People) -> Event:
                _require_person(people, faces.text)
                _require_person(people, into.text)
                return Event(Kind.MERGE, self._author, person=faces.text, to=into.text)

            return self._say(said)
        if into.kind == "person":
            return self.name(faces, into.text)
        return self.same((*faces.places, *into.places))

    def same(self, places: Iterable[int]) -> Event:
        """Say that faces are one person, whoever that is.

        Raises:
            ConfigError: they have two names, or are one face.
        """
        chosen = sorted(set(places))

        def said(people: People) -> Event:
            names = sorted({name for place in chosen if (name := people.names.get(place))})
            if len(names) > 1:
                raise ConfigError(
                    f"these faces are {visible(names[0])} and {visible(names[1])}; use `faceindex people merge` on them"
                )
            if len(chosen) < 2:
                raise ConfigError("two faces are needed to say that they are the same person, got one")
            if names and not all(place in people.names for place in chosen):
                return Event(Kind.NAME, self._author, people.refs(chosen), person=names[0])
            return Event(Kind.SAME, self._author, people.refs(chosen))

        return self._say(said)

    def not_same(self, places: Iterable[int], others: Iterable[int]) -> Event:
        """Say that none of some faces is the person of any of the others.

        Raises:
            ConfigError: a face is on both sides, or both have faces of one person.
        """
        left, right = sorted(set(places)), sorted(set(others))
        if not left or not right or set(left) & set(right):
            raise ConfigError("two groups of different faces are needed to say that they are not the same person")

        def said(people: People) -> Event:
            mine, theirs = ({people.names[place] for place in side if place in people.names} for side in (left, right))
            if both := sorted(mine & theirs):
                raise ConfigError(
                    f"faces on both sides are {visible(both[0])}; take those that are not out of that person with "
                    "`faceindex people split`"
                )
            return Event(Kind.NOT_SAME, self._author, people.refs(left), people.refs(right))

        return self._say(said)

    def split(self, of: Selection, places: Iterable[int], to: str | None = None) -> Event:
        """Take faces out of a person or a cluster: they are not who the rest is, and `to` if that is given.

        Raises:
            ConfigError: a face is not in it, or none would be left.
        """
        chosen = sorted(set(places))
        name = require_name(to) if to is not None else None
        if of.kind not in ("person", "cluster"):
            raise ConfigError(f"a person or a cluster is needed for a split, got the {of.kind} {visible(of.text)}")
        if stray := set(chosen) - set(of.places):
            raise ConfigError(f"{len(stray)} of the faces are not in {of.kind} {visible(of.text)}; nothing was split")
        rest = sorted(set(of.places) - set(chosen))
        if not chosen or not rest:
            raise ConfigError(f"a split needs some but not all of the {len(of.places)} faces of {visible(of.text)}")
        if of.kind == "person" and name == of.text:
            raise ConfigError(f"faces split from {visible(of.text)} need another name")

        def said(people: People) -> Event:
            if of.kind == "person":
                return Event(Kind.SPLIT, self._author, people.refs(chosen), person=of.text, to=name)
            return Event(Kind.SPLIT, self._author, people.refs(chosen), people.refs(rest), to=name)

        return self._say(said)

    def reject(self, person: str, places: Iterable[int]) -> Event:
        """Say that faces are not a person; they never come back to that person by themselves."""

        def said(people: People) -> Event:
            _require_person(people, person)
            return Event(Kind.REJECT, self._author, people.refs(_some(places)), person=person)

        return self._say(said)

    def leave_out(self, places: Iterable[int], *, faces: bool = True) -> Event:
        """Say that faces matter to nobody, or with `faces` false that they are none; naming one brings it back."""
        kind = Kind.IGNORE if faces else Kind.NOT_A_FACE
        return self._say(lambda people: Event(kind, self._author, people.refs(_some(places))))

    def undo(self, event: str | None = None) -> Event:
        """Take back the last event that counts, or the one whose id begins so; returns that event.

        Raises:
            NothingFoundError: there is none.
        """
        return self._turn(Kind.UNDO, lambda state: state.done[::-1], event)

    def redo(self, event: str | None = None) -> Event:
        """Let the event that was undone last count again, or the one whose id begins so; returns that event."""
        return self._turn(Kind.REDO, lambda state: state.undone[::-1] if event is None else self._off(state), event)

    def _turn(self, kind: Kind, among: Callable[[State], Iterable[Event]], event: str | None) -> Event:
        turned: list[Event] = []

        def said(state: State) -> list[Event]:
            found = [one for one in among(state) if one.event_id.startswith(event or "")]
            if not found:
                raise NothingFoundError(f"there is nothing to {kind}" + (f" that begins with {event}" if event else ""))
            if event is not None and len(found) > 1:
                raise ConfigError(f"{len(found)} events have ids that begin with {event}; give more digits")
            turned.append(found[0])
            return [Event(kind, self._author, target=found[0].event_id)]

        self._people.ledger.write(said)
        return turned[0]

    def _off(self, state: State) -> list[Event]:
        counting = {event.event_id for event in state.done}
        said = self._people.ledger.read
        return [
            one for one in said if one.event_id not in counting and one.kind not in (Kind.UNDO, Kind.REDO, Kind.ERASED)
        ]

    def _say(self, said: Callable[[People], Event]) -> Event:
        [event] = self._people.ledger.write(lambda state: [said(self._people.at(state))])
        return event


def _unsaid(people: People, places: Iterable[int], person: str) -> list[int]:
    """Return the faces that have no name, are not left out, and were not said to be somebody else than the person."""
    state = people.state
    free = []
    for place in places:
        spoken = people.spoken_of.get(place, b"")
        if place not in people.names and spoken not in state.left_out and (spoken, person) not in state.rejected:
            free.append(place)
    return free


def _require_person(people: People, person: str) -> None:
    if person not in people.everybody:
        raise NothingFoundError(f"nobody is called {visible(person)}; see `faceindex people list`")


def _some(places: Iterable[int]) -> list[int]:
    chosen = sorted(set(places))
    if not chosen:
        raise NothingFoundError("no face was meant")
    return chosen
