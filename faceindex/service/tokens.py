"""Tokens: what programs and people elsewhere show to be let in. Each is shown once and kept as a digest.

A token is 256 random bits, so a plain digest of it is enough: what makes the hashing of passwords slow on purpose is
that people choose few of them, and nobody can go through 2^256.
"""

import json
import os
import re
import secrets
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path

from blake3 import blake3

from faceindex.catalog import layout
from faceindex.catalog.files import Files, LocalFiles
from faceindex.errors import CatalogError, ConfigError, DamagedError, NothingFoundError
from faceindex.wording import visible

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
PREFIX = "faceindex_"
"""How tokens begin, so that programs that look for secrets in texts know one."""

REST_S = 2.0
"""How long after it changed a folder may change again under the same time stamp."""


class Scope(IntEnum):
    """What a token opens; each opens all that those before it do."""

    SEARCH = 1
    """Search, verify and the state of the catalog."""
    LABEL = 2
    """All that is known of faces and people, and to change it; the pages."""
    ADMIN = 3
    """Runs, quarantine, settings, metrics, and who asked for what."""

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token."""

    name: str
    """Whose it is; what is said with it is said by that name."""
    scope: str
    created: str
    """UTC, ISO 8601."""
    digest: str
    """BLAKE3 of the token, hex."""


class TokenStore:
    """The tokens of one catalog: a file each, private to the catalog's owner.

    Raises:
        ConfigError: the catalog is in an object store, where nothing is private to its owner.
    """

    def __init__(self, files: Files) -> None:
        if not isinstance(files, LocalFiles):
            raise ConfigError(f"{files.root} is in an object store, and tokens are kept in local catalogs only")
        self._folder = Path(files.root) / layout.TOKENS
        self._known: tuple[int, Mapping[str, Token]] | None = None

    def create(self, name: str, scope: Scope) -> str:
        """Make a token and return it; it can be had no second time.

        Raises:
            ConfigError: the name cannot be one, or is taken.
        """
        if not NAME.fullmatch(name):
            raise ConfigError(
                f"a token's name is up to 64 letters, digits, dots, dashes and underscores, got {visible(name)!r}"
            )
        text = PREFIX + secrets.token_urlsafe(32)
        token = Token(name, str(scope), datetime.now(UTC).isoformat(timespec="seconds"), _digest(text))
        try:
            self._put(self._folder / f"{name}.json", json.dumps(asdict(token)).encode())
        except FileExistsError as error:
            raise ConfigError(f"there is a token {name} already; revoke it, or choose another name") from error
        except OSError as error:
            raise CatalogError(f"cannot write {self._folder}: {error.strerror}") from error
        return text

    def revoke(self, name: str) -> None:
        """Let nobody in with a token any more; raises `NothingFoundError` when there is none of that name."""
        path = self._folder / f"{name}.json"
        if not NAME.fullmatch(name) or not path.exists():
            raise NothingFoundError(f"there is no token {visible(name)}; see `faceindex token list`")
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise CatalogError(f"cannot remove {path}: {error.strerror}") from error

    def list(self) -> list[Token]:
        """Return all tokens by name.

        Raises:
            DamagedError: the file of one cannot be read.
        """
        return sorted(self._by_digest().values(), key=lambda token: token.name)

    def find(self, text: str) -> Token | None:
        """Return the token that somebody shows; None when it is none of ours."""
        return self.known(_digest(text))

    def known(self, digest: str) -> Token | None:
        """Return the token of a digest, unless it was revoked."""
        return self._by_digest().get(digest)

    def __bool__(self) -> bool:
        return bool(self._by_digest())

    def _by_digest(self) -> Mapping[str, Token]:
        """Return the tokens, which are read again when the folder has changed."""
        try:
            changed = self._folder.stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise CatalogError(f"cannot read {self._folder}: {error.strerror}") from error
        if self._known is not None and self._known[0] == changed:
            return self._known[1]
        found = {token.digest: token for path in self._folder.glob("*.json") if (token := _read(path))}
        self._known = (changed, found) if time.time() - changed / 1e9 > REST_S else None
        return found

    def _put(self, path: Path, payload: bytes) -> None:
        """Write a file that was not there, whole and durable; mkstemp makes it private."""
        path.parent.mkdir(0o700, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=layout.TEMPORARY_PREFIX, dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            path.hardlink_to(temporary)
        finally:
            temporary.unlink(missing_ok=True)


def _digest(text: str) -> str:
    return blake3(text.encode("utf-8", "replace")).hexdigest()


def _read(path: Path) -> Token | None:
    """Return a token; None when it was revoked in this moment."""
    try:
        token = Token(**json.loads(path.read_bytes()))
        Scope[token.scope.upper()]
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedError(f"{path} is no token any more; `faceindex token revoke {path.stem}`") from error
    except OSError as error:
        raise CatalogError(f"cannot read {path}: {error.strerror}") from error
    return token
