"""What is said through the pages: each form becomes one act of labelling, then the next page tells of it."""

from collections.abc import Callable
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from faceindex.errors import ConfigError, NothingFoundError
from faceindex.identities.events import Event
from faceindex.identities.labelling import Labelling
from faceindex.identities.people import People
from faceindex.identities.selection import Selection
from faceindex.service.access import caller_of, needs
from faceindex.service.faces import Snapshot, digest_of, places_of
from faceindex.service.problems import PageRoute
from faceindex.service.shown import group_url, local, person_url, with_message
from faceindex.service.tokens import Scope
from faceindex.service.views import find_group, group_views, groups_of
from faceindex.wording import visible

router = APIRouter(include_in_schema=False, route_class=PageRoute, dependencies=[Depends(needs(Scope.LABEL))])

Text = Annotated[str, Form()]
MOST_SKIPPED = 100
Act = Literal["name", "split", "not", "ignore", "not-a-face"]


@router.post("/say")
def say(
    request: Request,
    kind: Annotated[Literal["group", "person", "faces"], Form()],
    act: Annotated[Act, Form()],
    at: Text = "/",
    name: Text = "",
    face: Annotated[list[str] | None, Form()] = None,
    cluster: Annotated[int, Form()] = 0,
    person: Text = "",
    digest: Text = "",
) -> Response:
    """Take what a form says of faces: of those selected, or of all that it showed."""
    snapshot: Snapshot = request.app.state.archive.snapshot()
    chosen = places_of(snapshot.people, face or [])
    if kind == "group":
        return _of_group(request, snapshot, act, cluster, chosen, known_as(snapshot.people, name), digest, at)
    if not chosen:
        raise ConfigError("no face was selected; select the faces that are meant")
    to = known_as(snapshot.people, name)
    if kind == "person":
        event = _say(request, lambda labelling: _of_person(labelling, snapshot, act, person, chosen, to))
    else:
        event = _say(request, lambda labelling: _of_faces(labelling, act, person, chosen, to))
    return _go(at, event, at)


@router.post("/answer")
def answer(
    request: Request,
    question: Text,
    answer: Annotated[Literal["yes", "no", "skip"], Form()],
    at: Text = "/questions",
    skipped: Text = "",
    person: Text = "",
) -> Response:
    """Take the answer to a question; skipped ones are not shown again until the page is opened anew."""
    if answer == "skip":
        again = ",".join([*filter(None, skipped.split(",")), question][-MOST_SKIPPED:])
        return RedirectResponse(
            "/questions?" + urlencode({"skipped": again, **({"person": person} if person else {})}), status_code=303
        )
    asked = next((one for one in request.app.state.archive.questions() if one.question_id == question), None)
    if asked is None:
        raise NothingFoundError("this question is not open any more; go on to the next")
    event = _say(request, lambda labelling: asked.answer(labelling, yes=answer == "yes"))
    return _go(at, event, at)


@router.post("/rename")
def rename(request: Request, person: Text, name: Text, at: Text = "/") -> Response:
    """Give a person another name."""
    event = _say(request, lambda labelling: labelling.rename(person, name))
    return _go(person_url(event.to or name), event, at)


@router.post("/merge")
def merge(request: Request, person: Text, name: Text, at: Text = "/") -> Response:
    """Say that two people are one; the second's name stays."""
    people: People = request.app.state.archive.snapshot().people
    into = known_as(people, name)
    if into not in people.everybody:
        raise NothingFoundError(f"nobody is called {visible(into)}; rename the person instead")
    chosen = [Selection("person", one, tuple(people.faces_of(one))) for one in (person, into)]
    event = _say(request, lambda labelling: labelling.merge(*chosen))
    return _go(person_url(into), event, at)


@router.post("/undo")
def undo(request: Request, at: Text = "/", event: Text = "") -> Response:
    """Take back what this user said last, or one event."""
    state = request.app.state.archive.snapshot().people.state
    author = caller_of(request).name
    last = event or next((one.event_id for one in state.done[::-1] if one.author == author), "")
    if not last:
        raise NothingFoundError("there is nothing to undo")
    undone = _say(request, lambda labelling: labelling.undo(last))
    return _go(at, undone, at)


@router.post("/redo")
def redo(request: Request, at: Text = "/", event: Text = "") -> Response:
    """Let what this user took back last count again, or one event."""
    state = request.app.state.archive.snapshot().people.state
    author = caller_of(request).name
    last = event or next((one.event_id for one in state.undone[::-1] if one.author == author), "")
    if not last:
        raise NothingFoundError("there is nothing to redo")
    redone = _say(request, lambda labelling: labelling.redo(last))
    return _go(at, redone, at)


def known_as(people: People, name: str) -> str:
    """Return a name as it is known, if only the case of its letters differs: two Annas are mostly a slip."""
    wanted = " ".join(name.split())
    if wanted in people.everybody:
        return wanted
    alike = [one for one in people.everybody if one.casefold() == wanted.casefold()]
    return alike[0] if len(alike) == 1 else wanted


def _of_group(
    request: Request,
    snapshot: Snapshot,
    act: Act,
    cluster: int,
    chosen: tuple[int, ...],
    name: str,
    digest: str,
    at: str,
) -> Response:
    position, group = find_group(snapshot, cluster)
    if not chosen and digest != digest_of(snapshot, group.places):
        raise ConfigError("this group has changed since it was shown; look at it again")
    if stray := set(chosen) - set(group.places):
        raise ConfigError(f"{len(stray)} of the selected faces are in this group no more; look at it again")
    meant = chosen or group.places
    whole = Selection("cluster", str(group.cluster), group.places)

    def said(labelling: Labelling) -> Event:
        match act:
            case "name":
                return labelling.name(Selection("face", str(group.cluster), meant), name)
            case "split":
                return labelling.split(whole, chosen, name or None)
            case "not":
                return labelling.reject(name, meant)
            case _:
                return labelling.leave_out(meant, faces=act == "ignore")

    event = _say(request, said)
    after = groups_of(request.app.state.archive.snapshot())
    rest = set(group.places) - (set() if act == "not" else set(meant))
    # What is left of the group is shown again; else the one that has moved up to its place in the list.
    left = [one for one in after if rest & set(one.places)]
    following = [*left, *after[position:], *after][:1]
    to = group_url(group_views(snapshot, following)[0]) if following else "/unknown"
    return _go(to, event, at)


def _of_person(
    labelling: Labelling, snapshot: Snapshot, act: Act, person: str, chosen: tuple[int, ...], to: str
) -> Event:
    if act == "split":
        if not to:
            raise ConfigError("no name was given; say who the selected faces are instead")
        places = tuple(snapshot.people.faces_of(person))
        if set(chosen) == set(places):
            return labelling.name(Selection("face", person, chosen), to)
        return labelling.split(Selection("person", person, places), chosen, to)
    return _of_faces(labelling, act, person, chosen, to)


def _of_faces(labelling: Labelling, act: Act, person: str, chosen: tuple[int, ...], to: str) -> Event:
    match act:
        case "name" | "split":
            return labelling.name(Selection("face", "these", chosen), to)
        case "not":
            return labelling.reject(person, chosen)
        case _:
            return labelling.leave_out(chosen, faces=act == "ignore")


def _say(request: Request, act: Callable[[Labelling], Event]) -> Event:
    event: Event = request.app.state.archive.say(caller_of(request).name, act)
    return event


def _go(to: str, event: Event, at: str) -> Response:
    return RedirectResponse(with_message(to, event.event_id, local(at)), status_code=303)
