"""What was said, without one person: as if that person's faces had never been there.

What was said of others stays as it was: where a sentence needs the name to make sense (somebody was renamed to it
and then to another name), another word stands for it that nobody has.
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from faceindex.identities.events import NEEDED, Event, FaceRef, Kind
from faceindex.identities.state import State


def former_names(state: State, person: str) -> tuple[str, ...]:
    """Return the name of a person and all that it was renamed or merged from, but those that others have now."""
    names = [person]
    for event in reversed(state.done):
        if event.kind in (Kind.RENAME, Kind.MERGE) and event.to in names and event.person:
            names.append(event.person)
    others = set(state.names.values()) - {person}
    return tuple(dict.fromkeys(name for name in names if name == person or name not in others))


def forgotten(events: Sequence[Event], faces: Collection[bytes], names: Collection[str]) -> list[Event]:
    """Return the same events without some faces and names; of those with nothing left only that there was one stays."""
    stand_ins = {name: f"erased {secrets.token_hex(4)}" for name in names}
    return [_without(event, faces, stand_ins) for event in events]


def _without(event: Event, faces: Collection[bytes], stand_ins: Mapping[str, str]) -> Event:
    kept, others = (_kept(refs, faces) for refs in (event.faces, event.others))
    person, to = (stand_ins.get(name, name) if name else name for name in (event.person, event.to))
    made = {"faces": kept, "others": others, "person": person, "to": to}
    left = {**made, "target": event.target}
    lone = event.kind is Kind.SAME and len(kept) < 2
    if lone or not all(left[name] for name in NEEDED[event.kind]):
        return Event(Kind.ERASED, event.author, event_id=event.event_id, at=event.at)
    if made == {name: getattr(event, name) for name in made}:
        return event
    return replace(event, **made)  # type: ignore[arg-type]


def _kept(refs: Sequence[FaceRef], faces: Collection[bytes]) -> tuple[FaceRef, ...]:
    return tuple(ref for ref in refs if ref.face_id not in faces)
