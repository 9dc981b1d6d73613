"""What keeps strangers out: by which name, from which pages, how often and how much at once somebody may ask."""

import hmac
import secrets
from collections.abc import Iterable
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from faceindex.errors import FaceIndexError
from faceindex.service.access import COOKIE, Access, Caller, caller_of
from faceindex.service.limits import Limits

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

PROBES = ("/healthz", "/readyz")
"""What systems ask that watch the service: they know no token, and call it by its address."""
OPEN = (*PROBES, "/login")
SEARCHES = ("/api/v1/search", "/api/v1/verify", "/find")
SAFE = ("GET", "HEAD")


class ForgedError(FaceIndexError):
    """A form did not come from a page of this service."""


class Forms:
    """The word that every form carries: only our own pages can know it."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def word(self, caller: Caller) -> str:
        """Return the word of a caller's forms; nobody else's are taken for theirs."""
        return hmac.digest(self._secret, caller.session.encode(), "sha256").hex()

    def require(self, caller: Caller, word: object) -> None:
        """Refuse a form without the word; raises `ForgedError`."""
        if not isinstance(word, str) or not hmac.compare_digest(word.encode(), self.word(caller).encode()):
            raise ForgedError("this form is of another start of the service, or of another site; open the page again")


class Guard:
    """Refuses strangers, requests by another name than ours, from other sites, too large or too many.

    The name matters even on the loopback address: a hostile page may let a name of its own lead there. It also adds
    headers to all answers.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], access: Access, limits: Limits) -> None:
        """Stand before an app.

        Args:
            app: what is guarded.
            hosts: the names it goes by.
            access: tells who a request is from.
            limits: how often each caller may ask.
        """
        self._app = app
        self._hosts = frozenset(hosts)
        self._access = access
        self._limits = limits

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

        answer = self._refusal(scope)
        if answer is None and not _is_open(scope["path"]):
            answer = self._let_in(scope)
        if answer is None:
            await self._app(scope, receive, guarded)
        else:
            await answer(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if scope["path"] not in PROBES and _name(headers.get("host", "")) not in self._hosts:
            return refused(scope, 400, "this service does not go by that name; let it with --allow-host")
        if scope["method"] in SAFE:
            return None
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host", ""):
            return refused(scope, 403, "this request came from another site")
        length = headers.get("content-length", "")
        if not length.isdecimal():
            return refused(scope, 411, "a request must say how long it is")
        if int(length) > MAX_UPLOAD:
            return refused(scope, 413, f"at most {MAX_UPLOAD:,} bytes are taken")
        return None

    def _let_in(self, scope: Scope) -> Response | None:
        """Note who a request is from; return what is answered to those who do not get on."""
        asked = HTTPConnection(scope)
        client = scope["client"][0] if scope.get("client") else ""
        caller = self._access.caller(asked)
        if caller is None:
            return self._stranger(scope, asked, client)
        who = client if caller.way == "local" else f"token {caller.name}"
        wait = self._limits.requests.take(who)
        if not wait and scope["method"] == "POST" and scope["path"] in SEARCHES:
            wait = self._limits.searches.take(who)
        if wait:
            return too_often(scope, wait)
        by_itself = caller.way == "cookie" and _is_api(scope["path"]) and scope["method"] not in SAFE
        if by_itself and "origin" not in asked.headers:
            # The forms of our pages carry a word. Here it is the origin, which a browser names whenever it posts.
            return refused(scope, 403, "send a token in the header Authorization; a cookie is for pages")
        scope["state"] = {**scope.get("state", {}), "caller": caller}
        return None

    def _stranger(self, scope: Scope, asked: HTTPConnection, client: str) -> Response:
        if self._access.key is not None:
            query = parse_qs(scope["query_string"].decode("latin-1"))
            if scope["path"] == "/" and self._access.is_key(query.get("key", [""])[0]):
                answer = RedirectResponse("/", 303)
                answer.set_cookie(COOKIE, self._access.key, httponly=True, samesite="strict", path="/")
                return answer
            return refused(scope, 403, "open the address that `faceindex label` printed; it holds the key")
        if "authorization" in asked.headers and (wait := self._limits.failures.take(client)):
            # A right token is never kept waiting by wrong ones, and 256 bits are not found by trying either way.
            return too_often(scope, wait)
        if scope["method"] == "GET" and "text/html" in asked.headers.get("accept", ""):
            return RedirectResponse("/login", 303)
        line = "a token is needed: send the header `Authorization: Bearer TOKEN`; `faceindex token create` makes one"
        return refused(scope, 401, line, {"WWW-Authenticate": "Bearer"})


def refused(scope: Scope, status: int, line: str, headers: dict[str, str] | None = None) -> Response:
    """Return a line that says why a request was not taken: JSON for programs, text for people."""
    if _is_api(scope["path"]):
        return JSONResponse({"error": line}, status, headers)
    return PlainTextResponse(f"{line}\n", status, headers)


def too_often(scope: Scope, wait: float) -> Response:
    """Return what is answered to who asks too often."""
    seconds = max(1, round(wait + 0.5))
    return refused(scope, 429, f"too many requests; try again in {seconds} s", {"Retry-After": str(seconds)})


def new_key() -> str:
    """Return a key that nobody can guess."""
    return secrets.token_urlsafe(24)


async def require_own_form(request: Request) -> None:
    """Refuse what is sent by no page of ours; raises `ForgedError`. No browser sends a token by itself."""
    caller = caller_of(request)
    if request.method == "POST" and caller.way != "bearer":
        form = await request.form()
        request.app.state.forms.require(caller, form.get("csrf_token"))


def _is_open(path: str) -> bool:
    return path in OPEN or path.startswith("/static/")


def _is_api(path: str) -> bool:
    return path.startswith("/api/") or path in (*PROBES, "/metrics")


def _name(host: str) -> str:
    """Return the name in a Host header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
