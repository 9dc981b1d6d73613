"""Mistakes as pages: what was wanted, what came, what to do next."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from faceindex.errors import CatalogError, FaceIndexError, ModelMismatchError, NothingFoundError, WeightsError
from faceindex.service.access import ForbiddenError
from faceindex.service.security import ForgedError, require_own_form
from faceindex.service.shown import local, render


class PageRoute(APIRoute):
    """A route that takes forms of our own pages only, and whose errors are pages too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                await require_own_form(request)
                return await handle(request)
            except RequestValidationError:
                return await _problem(request, 422, "this address or form is not one of ours")
            except FaceIndexError as error:
                return await _problem(request, status_of(error), str(error))

        return handled


def status_of(error: FaceIndexError) -> int:
    """Return the HTTP status of an error: 4xx is the caller's, 503 the catalog's or this machine's."""
    match error:
        case ForgedError() | ForbiddenError():
            return 403
        case NothingFoundError():
            return 404
        case CatalogError() | WeightsError() | ModelMismatchError():
            return 503
    return 422


async def _problem(request: Request, status: int, text: str) -> Response:
    snapshot = request.app.state.archive.snapshot()
    if request.method == "GET":
        heading = {403: "Not allowed", 404: "Not found"}.get(status, "That did not work")
        return render(request, snapshot, "error.html", status, heading=heading, problem=text, at="/")
    form = await request.form()
    at = form.get("at", "/")
    back = local(at if isinstance(at, str) else "/")
    page = render(request, snapshot, "error.html", status, heading="That did not work", problem=text, at=back)
    if request.headers.get("HX-Request") == "true":
        # The page stays as it is, with what was selected and typed; only the message changes.
        page = render(
            request, snapshot, "error.html", status, heading="That did not work", problem=text, at=back, mistake=text
        )
        page.headers["HX-Reswap"] = "none"
        page.headers["HX-Push-Url"] = "false"
    return page
