"""What holds now, from all that was ever said: a pure function of the ledger's events.

Events count in their order, the later wins. Undone ones are left out and all others read again, so that undoing gives
exactly what was before, whatever was said in between.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import combinations, product

from faceindex.identities.events import Event, FaceRef, Kind


@dataclass(frozen=True, slots=True)
class State:
    """What people have said of faces, as it holds now. Faces are those of the events."""

    names: Mapping[bytes, str] = field(default_factory=dict)
    """Person of each named face."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """What people are called now who came with the photos, where that is another name than theirs."""
    rejected: frozenset[tuple[bytes, str]] = frozenset()
    """Faces with a person they are not."""
    ignored: frozenset[bytes] = frozenset()
    not_faces: frozenset[bytes] = frozenset()
    apart: Set[tuple[bytes, bytes]] = frozenset()
    """Pairs of faces that are two people, the smaller id first."""
    groups: tuple[tuple[bytes, ...], ...] = ()
    """Faces that are one person each, whoever that is; no pair of them is apart."""
    refs: Mapping[bytes, FaceRef] = field(default_factory=dict)
    """Every face that is spoken of."""
    done: tuple[Event, ...] = ()
    """Events that count, in order: the last is undone next."""
    undone: tuple[Event, ...] = ()
    """Events that may be redone, the last first: those undone since the last new one."""
    fold: "_Fold | None" = field(default=None, compare=False, repr=False)
    """Where to go on from when more is said."""

    @property
    def left_out(self) -> frozenset[bytes]:
        """Faces that nobody wants to see again."""
        return self.ignored | self.not_faces

    def person_of(self, face_id: bytes, came_with: str | None = None) -> str | None:
        """Return who a face is; None when nobody said.

        Args:
            face_id: of the face as events know it.
            came_with: the person that the photo came with, which holds unless an event says otherwise.
        """
        if face_id in self.names:
            return self.names[face_id]
        if came_with is None or face_id in self.ignored or face_id in self.not_faces:
            return None
        person = self.aliases.get(came_with, came_with)
        return None if (face_id, person) in self.rejected else person


def state_of(events: Iterable[Event]) -> State:
    """Return what holds after these events."""
    stacks = _Stacks()
    for event in events:
        stacks.take(event)
    return folded(stacks.counting(), tuple(stacks.undone))


def continued(state: State, events: Sequence[Event]) -> State | None:
    """Return what holds when these are said after all that a state knows; None if that must be told from the start."""
    if state.fold is None or any(event.kind in (Kind.UNDO, Kind.REDO, Kind.ERASED) for event in events):
        return None
    return _state(state.fold.copy(), events, state.done, ())


def folded(done: tuple[Event, ...], undone: tuple[Event, ...] = ()) -> State:
    """Return what holds after events of which none undoes another."""
    return _state(_Fold(), done, (), undone)


def _state(fold: "_Fold", events: Sequence[Event], before: tuple[Event, ...], undone: tuple[Event, ...]) -> State:
    for event in events:
        for ref in (*event.faces, *event.others):
            fold.refs[ref.face_id] = ref
        fold.take(event)
    groups = fold.groups()
    return State(
        names=fold.names | fold.shared_names(groups),
        aliases={name: now for name, now in fold.aliases.items() if name != now},
        rejected=frozenset(fold.rejected),
        ignored=frozenset(fold.ignored),
        not_faces=frozenset(fold.not_faces),
        apart=fold.apart,
        groups=groups,
        refs=fold.refs,
        done=(*before, *events),
        undone=undone,
        fold=fold,
    )


class _Stacks:
    """Which events count, and which may be redone."""

    def __init__(self) -> None:
        self.said: dict[str, Event] = {}
        self.off: set[str] = set()
        self.undone: list[Event] = []

    def take(self, event: Event) -> None:
        if event.kind is Kind.ERASED:
            return
        if event.kind not in (Kind.UNDO, Kind.REDO):
            self.said[event.event_id] = event
            self.undone.clear()
        elif event.target in self.said:
            target = self.said[event.target]
            self.undone = [one for one in self.undone if one.event_id != event.target]
            if event.kind is Kind.UNDO:
                self.off.add(event.target)
                self.undone.append(target)
            else:
                self.off.discard(event.target)

    def counting(self) -> tuple[Event, ...]:
        return tuple(event for identity, event in self.said.items() if identity not in self.off)


class _Fold:
    """The state while events are read one after another."""

    def __init__(self) -> None:
        self.names: dict[bytes, str] = {}
        self.aliases: dict[str, str] = {}
        self.rejected: set[tuple[bytes, str]] = set()
        self.ignored: set[bytes] = set()
        self.not_faces: set[bytes] = set()
        self.apart: set[tuple[bytes, bytes]] = set()
        self.same: list[tuple[bytes, ...]] = []
        """Faces that were said to be one person, time after time."""
        self.refs: dict[bytes, FaceRef] = {}

    def copy(self) -> "_Fold":
        """Return one that can go on while states made of this one stay as they are."""
        other = _Fold()
        for name, value in vars(self).items():
            setattr(other, name, value.copy())
        return other

    def take(self, event: Event) -> None:
        faces = [ref.face_id for ref in event.faces]
        others = [ref.face_id for ref in event.others]
        match event.kind:
            case Kind.NAME:
                self._name(faces, event.person or "")
            case Kind.RENAME | Kind.MERGE:
                self._rename(event.person or "", event.to or "")
            case Kind.SPLIT:
                self._split(faces, others, event)
            case Kind.SAME:
                self._same(faces)
            case Kind.NOT_SAME:
                self._apart(faces, others)
            case Kind.REJECT:
                self._reject(faces, event.person or "")
            case Kind.IGNORE | Kind.NOT_A_FACE:
                self._leave_out(faces, self.ignored if event.kind is Kind.IGNORE else self.not_faces)

    def _name(self, faces: list[bytes], person: str) -> None:
        for face in faces:
            self.names[face] = person
            self.ignored.discard(face)
            self.not_faces.discard(face)
            self.rejected.discard((face, person))

    def _rename(self, person: str, to: str) -> None:
        self.names = {face: to if now == person else now for face, now in self.names.items()}
        self.aliases = {name: to if now == person else now for name, now in self.aliases.items()}
        self.aliases.setdefault(person, to)
        moved = {(face, to if name == person else name) for face, name in self.rejected}
        self.rejected = {(face, name) for face, name in moved if self.names.get(face) != name}

    def _split(self, faces: list[bytes], others: list[bytes], event: Event) -> None:
        if event.person:
            self._reject(faces, event.person)
        beside = {self.names[other] for other in others if other in self.names}
        for face in faces:
            if self.names.get(face) in beside:
                self._reject([face], self.names[face])
        self._apart(faces, others)
        if event.to:
            self._name(faces, event.to)

    def _reject(self, faces: list[bytes], person: str) -> None:
        for face in faces:
            self.rejected.add((face, person))
            if self.names.get(face) == person:
                del self.names[face]

    def _same(self, faces: list[bytes]) -> None:
        self.same.append(tuple(faces))
        if len(faces) ** 2 < len(self.apart):
            self.apart.difference_update(_pair(a, b) for a, b in combinations(faces, 2))
        else:
            among = set(faces)
            self.apart = {pair for pair in self.apart if not among.issuperset(pair)}

    def _apart(self, faces: list[bytes], others: list[bytes]) -> None:
        self.apart.update(_pair(face, other) for face, other in product(faces, others) if face != other)

    def groups(self) -> tuple[tuple[bytes, ...], ...]:
        """Return the faces that are the same: those said to be so, but for what was said to be two people since.

        Where sentences contradict one another by way of a third face, the earlier ones of them join. Who is not the
        person that the others of a group are leaves it alone.
        """
        strangers = self._strangers()
        groups: dict[bytes, _Group] = {}
        for faces in self.same:
            parts: list[_Group] = []
            for face in faces:
                group = groups.setdefault(face, _Group([face], strangers.get(face, frozenset())))
                if any(group is part for part in parts):
                    continue
                welcome = next((part for part in parts if part.strangers.isdisjoint(group.faces)), None)
                if welcome is None:
                    parts.append(group)
                else:
                    welcome.faces += group.faces
                    welcome.strangers |= group.strangers
                    groups |= dict.fromkeys(group.faces, welcome)
        kept = (self._of_one(group.faces, strangers) for group in {id(one): one for one in groups.values()}.values())
        return tuple(tuple(faces) for faces in kept if len(faces) > 1)

    def _strangers(self) -> dict[bytes, frozenset[bytes]]:
        """Return whom each face that was said to be the same as others is not."""
        spoken = {face for faces in self.same for face in faces}
        found: dict[bytes, set[bytes]] = {}
        for a, b in self.apart if spoken else ():
            for face, other in ((a, b), (b, a)):
                if face in spoken:
                    found.setdefault(face, set()).add(other)
        return {face: frozenset(others) for face, others in found.items()}

    def _of_one(self, faces: list[bytes], strangers: Mapping[bytes, Set[bytes]]) -> list[bytes]:
        """Return those of a group who can be the person that some of it are; the unnamed where those are several."""
        people = {self.names[face] for face in faces if face in self.names}
        if len(people) > 1:
            return [face for face in faces if face not in self.names]
        for person in people:
            faces = [
                face
                for face in faces
                if face in self.names
                or (
                    (face, person) not in self.rejected
                    and all(self.names.get(other) != person for other in strangers.get(face, ()))
                )
            ]
        return faces

    def shared_names(self, groups: Iterable[Sequence[bytes]]) -> dict[bytes, str]:
        """Return the names of faces that are the same as named ones."""
        left_out = self.ignored | self.not_faces
        return {
            face: self.names[named]
            for group in groups
            if (named := next((one for one in group if one in self.names), None)) is not None
            for face in group
            if face not in self.names and face not in left_out
        }

    def _leave_out(self, faces: list[bytes], where: set[bytes]) -> None:
        where.update(faces)
        for face in faces:
            self.names.pop(face, None)


@dataclass(slots=True)
class _Group:
    """Faces that are one person."""

    faces: list[bytes]
    strangers: frozenset[bytes]
    """Faces that any of them is told apart from."""


def _pair(a: bytes, b: bytes) -> tuple[bytes, bytes]:
    return (a, b) if a < b else (b, a)
