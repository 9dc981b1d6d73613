"""What programs say of faces: `faceindex people` over HTTP. WHO and FACES are what the command line takes for them."""

import json
from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from faceindex.errors import NothingFoundError
from faceindex.identities.events import Event
from faceindex.identities.labelling import Labelling
from faceindex.identities.selection import Selection, select, select_person
from faceindex.service.access import caller_of, needs
from faceindex.service.api_route import PROBLEMS, ApiRoute, Document, document
from faceindex.service.faces import Snapshot
from faceindex.service.tokens import Scope

MOST_FACES = 100_000
WHO = "A person's name, a cluster's number, a face's id or a photo; `person:`, `cluster:`, `face:`, `photo:` say which."

Text = Annotated[str, Field(min_length=1, max_length=4096)]
Who = Annotated[Text, Field(description=WHO)]
Faces = Annotated[list[Who], Field(min_length=1, max_length=MOST_FACES)]

router = APIRouter(
    prefix="/api/v1/acts",
    route_class=ApiRoute,
    dependencies=[Depends(needs(Scope.LABEL))],
    responses=PROBLEMS | document("event", "What is now in the ledger; of undo and redo, the event that was turned."),
    tags=["acts"],
)


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Naming(_Said):
    """Who faces are."""

    faces: Faces
    name: Text


class Renaming(_Said):
    """Another name."""

    person: Text
    name: Text


class Merging(_Said):
    """Two that are one person; the name of `into` stays."""

    who: Who
    into: Who


class Splitting(_Said):
    """Faces that are not who the rest of a person or a cluster is."""

    who: Who
    faces: Faces
    to: Annotated[Text | None, Field(description="Who they are instead.")] = None


class Rejecting(_Said):
    """Faces that are not a person."""

    person: Text
    faces: Faces


class Leaving(_Said):
    """Faces that matter to nobody, or that are none."""

    faces: Faces


class Turning(_Said):
    """An event, by default what this caller said last."""

    event: Annotated[str | None, Field(pattern="^[0-9a-f]{1,32}$")] = None


@router.post("/name")
def name(request: Request, said: Naming) -> Response:
    """Say who faces are. Of a cluster those are meant that nobody said anything else of."""
    snapshot = _snapshot(request)
    chosen = [_select(snapshot, one) for one in said.faces]
    if len(chosen) > 1:
        places = tuple(place for one in chosen if one.kind != "person" for place in one.places)
        named = next((one for one in chosen if one.kind == "person"), None)
        chosen = [named or Selection("face", "these", places)]
    return _say(request, lambda labelling: labelling.name(chosen[0], said.name))


@router.post("/rename")
def rename(request: Request, said: Renaming) -> Response:
    """Give a person another name, which nobody has."""
    return _say(request, lambda labelling: labelling.rename(said.person, said.name))


@router.post("/merge")
def merge(request: Request, said: Merging) -> Response:
    """Say that two are one person."""
    snapshot = _snapshot(request)
    who, into = _select(snapshot, said.who), _select(snapshot, said.into)
    return _say(request, lambda labelling: labelling.merge(who, into))


@router.post("/split")
def split(request: Request, said: Splitting) -> Response:
    """Take faces out of a person or a cluster."""
    snapshot = _snapshot(request)
    who, places = _select(snapshot, said.who), _places(snapshot, said.faces)
    return _say(request, lambda labelling: labelling.split(who, places, said.to))


@router.post("/reject")
def reject(request: Request, said: Rejecting) -> Response:
    """Say that faces are not a person; they never come back to that person by themselves."""
    snapshot = _snapshot(request)
    person, places = select_person(said.person, snapshot.people), _places(snapshot, said.faces)
    return _say(request, lambda labelling: labelling.reject(person, places))


@router.post("/ignore")
def ignore(request: Request, said: Leaving) -> Response:
    """Leave faces out of clusters and suggestions; naming one brings it back."""
    places = _places(_snapshot(request), said.faces)
    return _say(request, lambda labelling: labelling.leave_out(places))


@router.post("/not-a-face")
def not_a_face(request: Request, said: Leaving) -> Response:
    """Say that the detector took something else for faces."""
    places = _places(_snapshot(request), said.faces)
    return _say(request, lambda labelling: labelling.leave_out(places, faces=False))


@router.post("/undo")
def undo(request: Request, said: Turning) -> Response:
    """Take back what this caller said last, or an event, whoever said it."""
    event = said.event or _last(request, _snapshot(request).people.state.done)
    return _say(request, lambda labelling: labelling.undo(event))


@router.post("/redo")
def redo(request: Request, said: Turning) -> Response:
    """Let what this caller took back last count again, or an event."""
    event = said.event or _last(request, _snapshot(request).people.state.undone)
    return _say(request, lambda labelling: labelling.redo(event))


def _say(request: Request, act: Callable[[Labelling], Event]) -> Response:
    event: Event = request.app.state.archive.say(caller_of(request).name, act)
    return Document(json.loads(event.to_line()))


def _last(request: Request, events: Sequence[Event]) -> str:
    """Return the caller's last event: nobody undoes unawares what another has said meanwhile."""
    who = caller_of(request).name
    event = next((one.event_id for one in reversed(events) if one.author == who), None)
    if event is None:
        raise NothingFoundError(f"there is nothing that {who} has said; give an event to turn another's")
    return event


def _select(snapshot: Snapshot, text: str) -> Selection:
    return select(text, snapshot.people, snapshot.clusters)


def _places(snapshot: Snapshot, texts: list[str]) -> list[int]:
    return [place for text in texts for place in _select(snapshot, text).places]


def _snapshot(request: Request) -> Snapshot:
    snapshot: Snapshot = request.app.state.archive.snapshot()
    return snapshot
