"""Logging in to the pages with a token, from elsewhere."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from faceindex.service.access import COOKIE, SESSION_S, caller_of
from faceindex.service.problems import PageRoute
from faceindex.service.security import too_often
from faceindex.service.shown import TEMPLATES

open_router = APIRouter(include_in_schema=False)
"""For strangers. Its form carries no word of ours: a foreign site could only log its visitor in with a token it has."""
router = APIRouter(include_in_schema=False, route_class=PageRoute)


@open_router.get("/login", response_class=HTMLResponse)
def login() -> HTMLResponse:
    """Ask for a token."""
    return _page("")


@open_router.post("/login")
def log_in(request: Request, token: Annotated[str, Form(max_length=1000)]) -> Response:
    """Give a cookie for a token."""
    state = request.app.state
    session = state.access.log_in(token.strip())
    if session is None:
        client = request.client.host if request.client else ""
        if wait := state.limits.failures.take(client):
            return too_often(request.scope, wait)
        return _page("this is no token, or one for searching by programs only", 401)
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        COOKIE,
        session,
        max_age=int(SESSION_S),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
        path="/",
    )
    return answer


@router.post("/logout")
def log_out(request: Request) -> Response:
    """End a session."""
    request.app.state.access.log_out(caller_of(request).session)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, path="/")
    return answer


def _page(mistake: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(TEMPLATES.get_template("login.html").render(mistake=mistake), status)
