"""How pages are made: the templates, what all of them know, and where links lead."""

import json
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from faceindex.service.access import caller_of
from faceindex.service.faces import Snapshot
from faceindex.service.records import event_view
from faceindex.service.tokens import Scope
from faceindex.service.views import GroupView
from faceindex.wording import percent, visible

HTMX = {
    # Nothing may be evaluated or styled from strings, and no page with faces stays in the browser's storage.
    "allowEval": False,
    "allowScriptTags": False,
    "includeIndicatorStyles": False,
    "historyCacheSize": 0,
    "defaultSettleDelay": 0,  # else keys that are hit at once find forms that do not work yet
    "selfRequestsOnly": True,
    "responseHandling": [
        {"code": "204", "swap": False},
        {"code": "...", "swap": True},
    ],
}


def crop_url(face_id: str) -> str:
    """Return where the small picture of a face is."""
    return f"/api/v1/faces/{face_id}/crop"


def picture_url(photo_id: str) -> str:
    """Return where the reduced picture of a photo is."""
    return f"/api/v1/photos/{photo_id}/picture"


def person_url(name: str) -> str:
    """Return where a person's page is. A name may hold slashes and dots, so it is no part of the path."""
    return "/person?" + urlencode({"name": name})


def group_url(group: GroupView) -> str:
    """Return where a group's page is."""
    return f"/unknown/{group.cluster}"


def local(url: str, otherwise: str = "/") -> str:
    """Return a URL if it is one of our own pages: no form may send people elsewhere."""
    parts = urlsplit(url) if url.isprintable() and "\\" not in url else None
    ours = parts is not None and url.startswith("/") and not url.startswith("//") and not parts.netloc
    return url if ours else otherwise


def here(request: Request) -> str:
    """Return this page's URL without what only says what was just done."""
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in ("said", "at")]
    if request.method != "GET":
        return "/find" if request.url.path == "/find" else "/"
    return request.url.path + (f"?{urlencode(kept)}" if kept else "")


def with_message(url: str, event_id: str, at: str) -> str:
    """Return a page's URL that also says what was just done, and where."""
    parts = urlsplit(local(url))
    kept = [(name, value) for name, values in parse_qs(parts.query).items() for value in values]
    asked = [(name, value) for name, value in kept if name not in ("said", "at")]
    return f"{quote(parts.path, safe='/%')}?{urlencode([*asked, ('said', event_id), ('at', local(at))])}"


def capitalised(text: str) -> str:
    """Return text with its first letter large."""
    return text[:1].upper() + text[1:]


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("faceindex.service"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    made.filters |= {"visible": visible, "percent": percent, "capitalised": capitalised}
    made.globals |= {
        "crop_url": crop_url,
        "picture_url": picture_url,
        "person_url": person_url,
        "group_url": group_url,
        "htmx_config": json.dumps(HTMX),
    }
    return made


TEMPLATES = _environment()


def render(request: Request, snapshot: Snapshot, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page."""
    wanted = request.query_params.get("said", "")
    state = snapshot.people.state
    said = next((event for event in (*state.done[::-1], *state.undone) if event.event_id == wanted), None)
    caller = caller_of(request)
    known: dict[str, Any] = {
        "request": request,
        "csrf_token": request.app.state.forms.word(caller),
        "for_admin": caller.may(Scope.ADMIN),
        "logged_in": bool(caller.session),
        "here": here(request),
        "said": event_view(snapshot, said) if wanted and said else None,
        "at": local(request.query_params.get("at", "/")),
        "mistake": None,
    }
    return HTMLResponse(TEMPLATES.get_template(template).render(known | values), status)
