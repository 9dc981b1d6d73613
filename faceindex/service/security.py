"""What keeps strangers out: who may call the service by which name, from which pages, and how much they may send."""

import hmac
import secrets
from collections.abc import Iterable
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from faceindex.errors import FaceIndexError

MAX_UPLOAD = 64 * 2**20
"""Bytes of a request."""

HEADERS = {
    # Nothing inline, nothing from elsewhere. A picture that was searched is shown from inside the page: it is not kept.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


COOKIE = "faceindex"


class ForgedError(FaceIndexError):
    """A form did not come from a page of this service."""


class Tokens:
    """The word that every form carries: only our own pages can know it."""

    def __init__(self) -> None:
        self.word = secrets.token_urlsafe(32)

    def require(self, word: object) -> None:
        """Refuse a form without the word; raises `ForgedError`."""
        if not isinstance(word, str) or not hmac.compare_digest(word.encode(), self.word.encode()):
            raise ForgedError("this form is of another start of the service, or of another site; open the page again")


class Guard:
    """Refuses requests by another name than ours, from other sites, or too large; adds headers to all answers.

    The name matters even on the loopback address: a hostile page may let a name of its own lead there. And so does the
    key: other users of this computer reach that address too.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], key: str | None = None) -> None:
        """Stand before an app.

        Args:
            app: what is guarded.
            hosts: the names it goes by.
            key: that every request needs, as a cookie that is given for it once; None lets everybody in who gets here.
        """
        self._app = app
        self._hosts = frozenset(hosts)
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        if answer := self._refusal(scope) or self._exchange(scope):
            await answer(scope, receive, guarded)
        else:
            await self._app(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        if _name(headers.get("host", "")) not in self._hosts:
            return PlainTextResponse("this service does not go by that name\n", 400)
        if scope["method"] in ("GET", "HEAD"):
            return None
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers["host"]:
            return PlainTextResponse("this request came from another site\n", 403)
        length = headers.get("content-length", "")
        if not length.isdecimal():
            return PlainTextResponse("a request must say how long it is\n", 411)
        if int(length) > MAX_UPLOAD:
            return PlainTextResponse(f"at most {MAX_UPLOAD:,} bytes are taken\n", 413)
        return None

    def _exchange(self, scope: Scope) -> Response | None:
        """Return what gives the cookie for the key, or a refusal; None for who has the cookie."""
        if self._key is None or scope["path"].startswith("/static/"):
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if scope["path"] == "/" and self._is_key(query.get("key", [""])[0]):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(COOKIE, self._key, httponly=True, samesite="strict", path="/")
            return answer
        if self._is_key(Request(scope).cookies.get(COOKIE, "")):
            return None
        return PlainTextResponse("open the address that `faceindex label` printed; it holds the key\n", 403)

    def _is_key(self, text: str) -> bool:
        return self._key is not None and hmac.compare_digest(text.encode(), self._key.encode())


def new_key() -> str:
    """Return a key that nobody can guess."""
    return secrets.token_urlsafe(24)


async def require_own_form(request: Request) -> None:
    """Refuse what is sent by no page of ours; raises `ForgedError`."""
    if request.method == "POST":
        form = await request.form()
        request.app.state.tokens.require(form.get("csrf_token"))


def _name(host: str) -> str:
    """Return the name in a Host header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
