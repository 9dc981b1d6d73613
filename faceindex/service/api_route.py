"""How routes of the HTTP API answer: documents as the command line prints them, mistakes as one line."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from faceindex.errors import FaceIndexError
from faceindex.service.problems import status_of


class Problem(BaseModel):
    """Why a request was not answered."""

    error: str = Field(description="One line: what was wanted, what came, what to do next.")


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        400: "The request cannot be read, or names another service.",
        401: "No token, or a wrong one.",
        403: "The token's scope is too small, or another site sent this.",
        404: "There is no such thing.",
        411: "The request does not say how long it is.",
        413: "The request is too large.",
        422: "A value cannot be used, or a picture cannot be read or has no face.",
        429: "Too many requests.",
        503: "The catalog cannot be read or written.",
    }.items()
}


class Document(JSONResponse):
    """A document; file names that are no Unicode are escaped."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def document(kind: str, text: str) -> dict[int | str, dict[str, Any]]:
    """Return how the OpenAPI describes a route's answer.

    Args:
        kind: what its `schema` says before the version, and the name of the file in `schemas/` that tells the rest.
        text: what it is.
    """
    shape = {
        "type": "object",
        "required": ["schema"],
        "properties": {"schema": {"const": f"faceindex.{kind}/1"}},
        "description": f"Fields and their meaning: schemas/{kind}.v1.json of the project.",
    }
    return {200: {"description": text, "content": {"application/json": {"schema": shape}}}}


class ApiRoute(APIRoute):
    """A route whose errors are JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                return JSONResponse({"error": first_mistake(error)}, 422)
            except FaceIndexError as error:
                return JSONResponse({"error": _plain(str(error))}, status_of(error))

        return handled


def first_mistake(error: RequestValidationError) -> str:
    """Return what is wrong with a request, in a line that repeats none of it but names."""
    found = error.errors()[0]
    where = ".".join(str(part) for part in found["loc"][1:]) or "body"
    return _plain(f"{where}: {found['msg'][:1].lower()}{found['msg'][1:]}")


def _plain(text: str) -> str:
    """Return text that UTF-8 can hold: a message may name a file."""
    return text.encode("utf-8", "backslashreplace").decode()
