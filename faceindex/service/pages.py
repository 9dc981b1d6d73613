"""The labelling pages. What they show is worked out in `views` and `records`; what is said through them in `acts`."""

import base64
import io
from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Depends, File, Form, Query, Request, UploadFile
from fastapi.responses import HTMLResponse

from faceindex.answers import SearchAnswer
from faceindex.errors import ConfigError
from faceindex.identities.suggestions import Question
from faceindex.service import records, views
from faceindex.service.access import caller_of, needs
from faceindex.service.faces import Snapshot, photos_of
from faceindex.service.problems import PageRoute
from faceindex.service.questions import question_views
from faceindex.service.shown import here, render
from faceindex.service.tokens import Scope
from faceindex.types import Image
from faceindex.wording import percent, visible

router = APIRouter(include_in_schema=False, route_class=PageRoute, dependencies=[Depends(needs(Scope.LABEL))])
FOR_ADMIN = [Depends(needs(Scope.ADMIN))]
# Plain functions, not coroutines: they read files, so each runs in a thread.

Page = Annotated[int, Query(ge=1, le=1_000_000)]
RATES = tuple((str(rate), f"in {percent(rate)} of searches") for rate in records.RATES)
DEFAULT_RATE = "0.01"


@router.get("/", response_class=HTMLResponse)
def home(request: Request) -> HTMLResponse:
    """Show what is there, and what to do next."""
    snapshot = _snapshot(request)
    return render(request, snapshot, "home.html", home=records.home(snapshot))


@router.get("/unknown", response_class=HTMLResponse)
def unknown(request: Request, page: Page = 1) -> HTMLResponse:
    """Show the groups of unknown faces, the largest first."""
    snapshot = _snapshot(request)
    listed = views.unknown_page(snapshot, page)
    return render(request, snapshot, "unknown.html", listed=listed, page_url=_pager(request))


@router.get("/unknown/{cluster}", response_class=HTMLResponse)
def group(request: Request, cluster: int, page: Page = 1) -> HTMLResponse:
    """Show one group: all its faces, to be named or corrected."""
    snapshot = _snapshot(request)
    shown = views.group_page(snapshot, cluster, page)
    names = views.people_by_count(snapshot)
    return render(request, snapshot, "group.html", shown=shown, names=names, page_url=_pager(request))


@router.get("/people", response_class=HTMLResponse)
def people(request: Request, page: Page = 1, name: str = "") -> HTMLResponse:
    """Show everybody who has a name."""
    snapshot = _snapshot(request)
    listed = views.person_list(snapshot, page, name)
    return render(request, snapshot, "people.html", listed=listed, wanted=name, page_url=_pager(request))


@router.get("/person", response_class=HTMLResponse)
def person(request: Request, name: str, page: Page = 1) -> HTMLResponse:
    """Show one person's faces by time."""
    snapshot = _snapshot(request)
    shown = views.person_page(snapshot, name, page)
    names = views.people_by_count(snapshot)
    return render(request, snapshot, "person.html", shown=shown, names=names, page_url=_pager(request))


@router.get("/questions", response_class=HTMLResponse)
def questions(request: Request, skipped: str = "", person: str = "") -> HTMLResponse:
    """Ask what would settle most, of everybody or of one person."""
    snapshot = _snapshot(request)
    passed = set(skipped.split(","))
    asked = [one for one in _questions(request) if one.question_id not in passed and person in ("", one.person)]
    shown = question_views(snapshot, asked[:1])
    first = shown[0] if shown else None
    return render(request, snapshot, "questions.html", shown=first, left=len(asked), skipped=skipped, person=person)


@router.get("/photos/{photo_id}", response_class=HTMLResponse)
def photo(request: Request, photo_id: str) -> HTMLResponse:
    """Show a photo and who is in it."""
    snapshot = _snapshot(request)
    shown = views.photo_page(snapshot, photo_id)
    return render(request, snapshot, "photo.html", shown=shown, names=views.people_by_count(snapshot))


@router.get("/find", response_class=HTMLResponse)
def find(request: Request) -> HTMLResponse:
    """Ask for a picture."""
    return _found(request, None, [], "", DEFAULT_RATE)


@router.post("/find", response_class=HTMLResponse)
def found(
    request: Request, picture: Annotated[UploadFile, File()], fpir: Annotated[str, Form()] = DEFAULT_RATE
) -> HTMLResponse:
    """Show who is in a picture."""
    try:
        rate = float(fpir)
    except ValueError as error:
        raise ConfigError(f"a rate is a number between 0 and 1, got {visible(fpir)}") from error
    name = name_of(picture)
    who = caller_of(request).name
    answer, pixels = request.app.state.archive.search_upload(picture.file.read(), name, who, fpir=rate)
    return _found(request, answer, _chips(answer, pixels), name, fpir)


@router.get("/history", response_class=HTMLResponse)
def history(request: Request, page: Page = 1) -> HTMLResponse:
    """Show what was said."""
    snapshot = _snapshot(request)
    listed = records.history(snapshot, request.app.state.archive.events(), page)
    return render(request, snapshot, "history.html", listed=listed, page_url=_pager(request))


@router.get("/runs", response_class=HTMLResponse, dependencies=FOR_ADMIN)
def runs(request: Request, page: Page = 1) -> HTMLResponse:
    """Show what was indexed when, and what could not be read."""
    snapshot = _snapshot(request)
    listed = records.quarantine(snapshot, page)
    reports = records.run_reports(snapshot)
    return render(request, snapshot, "runs.html", runs=reports, listed=listed, page_url=_pager(request))


@router.get("/settings", response_class=HTMLResponse, dependencies=FOR_ADMIN)
def settings(request: Request) -> HTMLResponse:
    """Show the thresholds and the catalog's settings."""
    snapshot = _snapshot(request)
    return render(
        request,
        snapshot,
        "settings.html",
        thresholds=records.thresholds(request.app.state.archive.calibration()),
        settings=records.settings(snapshot),
        generation=snapshot.generation,
    )


def name_of(picture: UploadFile) -> str:
    """Return the name that a picture that was sent goes by, safe to show."""
    return visible((picture.filename or "picture").replace("\\", "/").rpartition("/")[2])[:200]


def _snapshot(request: Request) -> Snapshot:
    snapshot: Snapshot = request.app.state.archive.snapshot()
    return snapshot


def _questions(request: Request) -> list[Question]:
    questions: list[Question] = request.app.state.archive.questions()
    return questions


def _pager(request: Request) -> Callable[[int], str]:
    """Return what gives the URL of another page of the same list."""
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in ("page", "said", "at")]
    return lambda page: f"{urlsplit(here(request)).path}?{urlencode([*kept, ('page', page)])}"


def _found(request: Request, answer: SearchAnswer | None, chips: list[str], file: str, fpir: str) -> HTMLResponse:
    snapshot = _snapshot(request)
    shown = [one.face_id for face in answer.faces for one in face.candidates] if answer else []
    photos = photos_of(snapshot, shown)
    return render(
        request,
        snapshot,
        "find.html",
        answer=answer,
        chips=chips,
        file=file,
        fpir=fpir,
        rates=RATES,
        photo_url_of_face=lambda face_id: f"/photos/{photos[face_id]}",
    )


def _chips(answer: SearchAnswer, image: Image) -> list[str]:
    """Return each face of a picture as a small picture inside the page: what was sent is kept nowhere."""
    from PIL import Image as Pillow

    chips = []
    picture = Pillow.fromarray(image.pixels)
    for face in answer.faces:
        if face.box is None:
            chips.append("")
            continue
        x0, y0, x1, y1 = face.box
        reach = 0.65 * max(x1 - x0, y1 - y0)
        middle = ((x0 + x1) / 2, (y0 + y1) / 2)
        edges = (middle[0] - reach, middle[1] - reach, middle[0] + reach, middle[1] + reach)
        file = io.BytesIO()
        picture.crop(edges).resize((224, 224)).save(file, "JPEG", quality=85)
        chips.append("data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii"))
    return chips
