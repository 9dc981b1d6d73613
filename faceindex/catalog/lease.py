"""The writer lock of a catalog in an object store: a lease on the object `lock`.

The holder writes the object anew every few seconds, each time over the version it wrote last. Whoever else wants it
watches: a version that changes has a holder that lives, and one that stays the same for as long as the lease says may
be taken over, by a put over just that version. So of two who try one succeeds, and the clocks of machines do not
matter, only how long one of them waits. A holder that was paused or cut off for longer finds another version there:
`UrlFiles.fence` then ends its run before it changes anything more. The object stays when the lock is given back, and
says that it is free.
"""

import json
import logging
import secrets
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from faceindex.catalog import layout
from faceindex.catalog.objects import UrlFiles
from faceindex.catalog.owner import locked, owner_in, shown
from faceindex.errors import CatalogError, LockedError

LEASE_S = 60.0
"""How long a holder may be silent before another run takes over."""

RENEWALS = 12
"""How often a lease is renewed in its time: it outlives a minute's trouble, and others soon see that it is held."""

LONGEST_S = 3600.0

NO_VERSION = '"never"'

_log = logging.getLogger(__name__)


@contextmanager
def leased(files: UrlFiles, owner: Mapping[str, Any], lease_s: float) -> Generator[None]:
    """Hold the lease on a catalog, and let its files be changed only as long as it is held.

    Args:
        files: the catalog's.
        owner: who holds it, as others are told.
        lease_s: how long others wait for a sign of life.

    Raises:
        LockedError: another process holds it; or, later and from any change, it has taken it over.
        CatalogError: the store cannot be written, or does not do puts that depend on what is there.
    """
    lease = _Lease(files, owner, lease_s)
    lease.take()
    files.fence = lease.require
    try:
        yield
    finally:
        files.fence = None
        lease.give_back()


class _Lease:
    """One holder's lease; a thread of it renews it."""

    def __init__(self, files: UrlFiles, owner: Mapping[str, Any], lease_s: float) -> None:
        self._files = files
        self._token = secrets.token_hex(8)
        self._owner = {**owner, "token": self._token, "lease_s": lease_s}
        self._lease_s = lease_s
        self._count = 0
        self._version: str | None = None
        self._turn = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def take(self) -> None:
        """Take the lock if it is free, or was not renewed for the time its holder stated."""
        version = None
        while not self._put(version):
            version = self._free_version()
        if self._files.put_if(layout.LOCK, b"", NO_VERSION):
            raise CatalogError(
                f"{self._files.root} is in a store that puts objects whatever is there, so two runs could write at "
                f"once; choose a store with conditional writes, or a folder"
            )
        self._thread.start()

    def require(self) -> None:
        """Raise LockedError when another process has taken over."""
        with self._turn:
            if not self._is_own():
                raise LockedError(
                    f"{self._files.root} was taken over by {shown(self._there()[1])} while this run was paused or "
                    f"cut off for more than {self._lease_s:g} s; it changed nothing since; run the same command again"
                )

    def give_back(self) -> None:
        """Say that the lock is free, if it is still one's own."""
        self._done.set()
        self._thread.join()
        with suppress(CatalogError):  # what was published stays published; others wait until the lease has run out
            self._put(self._version, free=True)

    def _renew(self) -> None:
        while not self._done.wait(self._lease_s / RENEWALS):
            with self._turn, suppress(CatalogError):  # the next time may do; `require` tells when it is too late
                if not (self._put(self._version) or self._is_own()):
                    return

    def _put(self, version: str | None, *, free: bool = False) -> bool:
        """Write the lock as one's own over a version of it, None for none; no two puts are the same."""
        self._count += 1
        text = json.dumps({**self._owner, "renewed": self._count, "free": free})
        put = self._files.put_if(layout.LOCK, text.encode(), version)
        self._version = put or self._version
        return put is not None

    def _is_own(self) -> bool:
        there = self._files.version(layout.LOCK)
        if there != self._version:
            # A put whose answer was lost is ours too.
            there, owner = self._there()
            if owner.get("token") != self._token:
                return False
            self._version = there
        return True

    def _there(self) -> tuple[str | None, Mapping[str, Any]]:
        """Return the version of the lock that is there, and what it says."""
        while (version := self._files.version(layout.LOCK)) is not None:
            data = self._files.read(layout.LOCK)
            if self._files.version(layout.LOCK) == version:
                return version, owner_in(data)
        return None, {}

    def _free_version(self) -> str | None:
        """Return the version of the lock that may be written over, None where there is none.

        Raises:
            LockedError: its holder lives.
        """
        version, owner = self._there()
        if version is None or owner.get("free") is True or owner.get("token") == self._token:
            return version
        if self._is_silent(version, owner):
            return version
        version, now = self._there()
        if version is None or now.get("free") is True:
            return version
        raise locked(self._files.root, now)

    def _is_silent(self, version: str, owner: Mapping[str, Any]) -> bool:
        """Watch the lock for as long as its holder may be silent; return whether it was not written meanwhile."""
        stated = owner.get("lease_s")
        patience = float(stated) if isinstance(stated, int | float) and 0 < stated <= LONGEST_S else self._lease_s
        begun, told = time.monotonic(), False
        while (waited := time.monotonic() - begun) < patience:
            if waited > patience / 4 and not told:
                told = True
                _log.warning("%s: waiting %g s to see whether %s still runs", self._files.root, patience, shown(owner))
            time.sleep(min(patience - waited, patience / RENEWALS / 2))
            if self._files.version(layout.LOCK) != version:
                return False
        return True
