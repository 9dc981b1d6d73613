"""The service: the labelling pages and the HTTP API over one catalog."""

from collections.abc import Iterable

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from faceindex import __version__
from faceindex.errors import FaceIndexError
from faceindex.service import acts, api, api_acts, login, pages, watch
from faceindex.service.access import Access
from faceindex.service.api_route import first_mistake
from faceindex.service.archive import Archive
from faceindex.service.limits import Limits
from faceindex.service.problems import status_of
from faceindex.service.security import Forms, Guard, refused

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def create_app(
    archive: Archive, access: Access, hosts: Iterable[str] = LOOPBACK, limits: Limits | None = None
) -> FastAPI:
    """Return the service.

    Args:
        archive: the catalog it serves.
        access: tells who a request is from.
        hosts: the names it goes by.
        limits: how often each caller may ask.
    """
    app = FastAPI(
        title="faceindex",
        version=__version__,
        description="Find people in large photo archives. Documents are those of the command line's --json.",
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )
    state = app.state
    state.archive, state.access, state.forms = archive, access, Forms()
    state.limits, state.metrics = limits or Limits(), watch.Metrics(archive)
    for router in (pages.router, acts.router, login.open_router, login.router, watch.probes, watch.metrics_router):
        app.include_router(router)
    for router in (api.searching, api.reading, api.administration, api_acts.router):
        app.include_router(router)
    app.mount("/static", StaticFiles(packages=[("faceindex.service", "static")]), "static")
    app.add_exception_handler(FaceIndexError, _told)
    app.add_exception_handler(HTTPException, _told)
    app.add_exception_handler(RequestValidationError, _told)
    app.add_middleware(Guard, hosts=tuple(hosts), access=access, limits=state.limits)
    app.add_middleware(watch.Measured, metrics=state.metrics)
    return app


async def _told(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return refused(request.scope, error.status_code, str(error.detail).lower(), dict(error.headers or {}))
    if isinstance(error, RequestValidationError):
        return refused(request.scope, 422, first_mistake(error))
    assert isinstance(error, FaceIndexError)
    return refused(request.scope, status_of(error), str(error))
