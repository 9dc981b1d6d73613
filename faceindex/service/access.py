"""Who a request is from, and what they may do."""

import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from faceindex.errors import FaceIndexError
from faceindex.service.tokens import Scope, Token, TokenStore

COOKIE = "faceindex"
SESSION_S = 12 * 3600.0
"""How long somebody stays logged in."""
KEPT_SESSIONS = 1000

BEARER = HTTPBearer(auto_error=False, description="A token of `faceindex token create`.")


class ForbiddenError(FaceIndexError):
    """A token does not open this."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request is from."""

    name: str
    scope: Scope
    way: Literal["local", "cookie", "bearer"]
    """By being on this computer, by a cookie, which a browser sends by itself, or by a token in a header."""
    session: str = ""
    """What forms of this caller's pages carry is made from it."""

    def may(self, scope: Scope) -> bool:
        """Return whether the caller may do what needs a scope."""
        return self.scope >= scope


@dataclass(frozen=True, slots=True)
class _Session:
    digest: str
    """Of the token that it was opened with: it ends when that is revoked."""
    until: float


class Access:
    """Tells who a request is from.

    Args:
        author: who uses the service on this computer.
        key: what every request needs, as a cookie that is given for it once.
        tokens: those of the catalog.
        open_to_local: whether everybody who gets here is let in while the catalog has no token.
    """

    def __init__(
        self, author: str, key: str | None = None, tokens: TokenStore | None = None, *, open_to_local: bool = True
    ) -> None:
        self.key = key
        self._author = author
        self._tokens = tokens
        self._open = open_to_local
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._turn = threading.Lock()

    def caller(self, asked: HTTPConnection) -> Caller | None:
        """Return who a request is from; None for a stranger."""
        if self.key is not None:
            shown = self.is_key(asked.cookies.get(COOKIE, ""))
            return Caller(self._author, Scope.ADMIN, "cookie") if shown else None
        if self._tokens is None:
            return Caller(self._author, Scope.ADMIN, "local")
        if "authorization" in asked.headers:
            token = self._tokens.find(bearer(asked))
            return _caller(token, "bearer") if token else None
        session = asked.cookies.get(COOKIE, "")
        if token := self._logged_in(session):
            return _caller(token, "cookie", session)
        # Once there is a token it is asked for, here too: a proxy may let others reach this address. That it is
        # revoked later opens nothing.
        self._open = self._open and not self._tokens
        return Caller(self._author, Scope.ADMIN, "local") if self._open else None

    def is_key(self, text: str) -> bool:
        """Return whether a text is the key."""
        return self.key is not None and hmac.compare_digest(text.encode(), self.key.encode())

    def log_in(self, text: str) -> str | None:
        """Return the word of a new session for a token; None when it is not one that opens pages."""
        token = self._tokens.find(text) if self._tokens is not None else None
        if token is None or Scope[token.scope.upper()] < Scope.LABEL:
            return None
        word = secrets.token_urlsafe(32)
        with self._turn:
            self._sessions[word] = _Session(token.digest, time.monotonic() + SESSION_S)
            while len(self._sessions) > KEPT_SESSIONS:
                self._sessions.popitem(last=False)
        return word

    def log_out(self, session: str) -> None:
        """End a session."""
        with self._turn:
            self._sessions.pop(session, None)

    def _logged_in(self, word: str) -> Token | None:
        session = self._sessions.get(word)
        if session is None or self._tokens is None or session.until < time.monotonic():
            return None
        return self._tokens.known(session.digest)


def bearer(asked: HTTPConnection) -> str:
    """Return the token in a request's header; empty where there is none."""
    kind, _, text = asked.headers.get("authorization", "").partition(" ")
    return text.strip() if kind.lower() == "bearer" else ""


def needs(scope: Scope) -> Callable[..., Coroutine[Any, Any, None]]:
    """Return what a route depends on that needs a scope; it raises `ForbiddenError`."""

    async def allowed(
        request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)] = None
    ) -> None:
        caller = caller_of(request)
        if not caller.may(scope):
            raise ForbiddenError(f"this needs a token of scope {scope}, that of {caller.name} has {caller.scope}")

    return allowed


def caller_of(request: Request) -> Caller:
    """Return who a request is from; the guard has let them in."""
    caller: Caller = request.state.caller
    return caller


def _caller(token: Token, way: Literal["cookie", "bearer"], session: str = "") -> Caller:
    return Caller(token.name, Scope[token.scope.upper()], way, session)
