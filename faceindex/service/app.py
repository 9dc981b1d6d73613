"""The service: the labelling pages over one catalog."""

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, FastAPI, Path, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.staticfiles import StaticFiles

from faceindex.errors import FaceIndexError, NothingFoundError
from faceindex.service import acts, pages
from faceindex.service.archive import Archive
from faceindex.service.security import Guard, Tokens

LOOPBACK = ("127.0.0.1", "localhost", "::1")
KEPT_S = 86_400
"""How long a browser keeps a face's picture, which never changes under its id."""

Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
pictures = APIRouter(prefix="/api/v1")


def create_app(archive: Archive, author: str, hosts: Iterable[str] = LOOPBACK, key: str | None = None) -> FastAPI:
    """Return the service.

    Args:
        archive: the catalog it serves.
        author: who uses it; what is said through it is said by them.
        hosts: the names it goes by.
        key: that every request needs, `security.new_key`; None lets everybody in who reaches it.
    """
    app = FastAPI(title="faceindex", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.archive = archive
    app.state.author = author
    app.state.tokens = Tokens()
    app.include_router(pages.router)
    app.include_router(acts.router)
    app.include_router(pictures)
    app.mount("/static", StaticFiles(packages=[("faceindex.service", "static")]), "static")
    app.add_exception_handler(FaceIndexError, _told)
    app.add_middleware(Guard, hosts=tuple(hosts), key=key)
    return app


@pictures.get("/faces/{face_id}/crop", response_class=Response)
def crop(request: Request, face_id: Id) -> Response:
    """Return the small picture of a face."""
    return _jpeg(request.app.state.archive.crop(face_id))


@pictures.get("/photos/{photo_id}/picture", response_class=Response)
def picture(request: Request, photo_id: Id) -> Response:
    """Return a photo, reduced and encoded anew."""
    return _jpeg(request.app.state.archive.picture(photo_id))


def _jpeg(data: bytes) -> Response:
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": f"private, max-age={KEPT_S}, immutable"})


def _told(_: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", 404 if isinstance(error, NothingFoundError) else 422)
