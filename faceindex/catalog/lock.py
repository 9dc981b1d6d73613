"""The one writer of a catalog: who may publish, and who is publishing. Readers never take it.

Local folders: the operating system's lock on the file `lock`. It ends with the process, however that ends, so a killed
run leaves nothing to clear away; the file stays. Object stores: an object `lock` put only where there is none. A run
that was killed leaves it behind, and the message says which object to delete; stores without such a put are refused.
"""

import errno
import fcntl
import json
import os
import platform
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from faceindex.catalog import layout
from faceindex.catalog.files import Files, LocalFiles, UrlFiles
from faceindex.errors import CatalogError, LockedError


@contextmanager
def writer_lock(files: Files, command: str) -> Generator[None]:
    """Hold the catalog's writer lock; never waits.

    Args:
        command: what the holder is doing, shown to others.

    Raises:
        LockedError: another process holds it; the message says which, where and since when.
        CatalogError: the lock cannot be written.
    """
    owner = {
        "pid": os.getpid(),
        "host": platform.node(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
    }
    data = json.dumps(owner).encode()
    if isinstance(files, LocalFiles):
        with _local_lock(files, data):
            yield
    elif isinstance(files, UrlFiles):
        with _object_lock(files, data):
            yield
    else:
        raise TypeError(f"a lock on {type(files).__name__} is not known")


@contextmanager
def _local_lock(files: LocalFiles, owner: bytes) -> Generator[None]:
    path = Path(files.root) / layout.LOCK
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise CatalogError(f"cannot lock {path}: {error.strerror}; is the catalog's disk writable?") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise CatalogError(f"cannot lock {path}: {error.strerror}; use another file system") from error
            raise _locked(files, os.pread(handle, 4096, 0), "wait for it or stop it") from error
        # Whom the others will name. On a full disk the lock still holds, they are only told less. One write, with
        # blanks over what stood there: they may be reading.
        try:
            os.pwrite(handle, owner.ljust(os.fstat(handle).st_size), 0)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise CatalogError(f"cannot write {path}: {error.strerror}") from error
        yield
    finally:
        os.close(handle)


@contextmanager
def _object_lock(files: UrlFiles, owner: bytes) -> Generator[None]:
    if not files.create(layout.LOCK, owner):
        advice = f"wait for it, or delete {files.root}/{layout.LOCK} if it no longer runs"
        raise _locked(files, files.read(layout.LOCK), advice)
    try:
        yield
    finally:
        files.delete(layout.LOCK)


def _locked(files: Files, data: bytes, advice: str) -> LockedError:
    try:
        owner = json.loads(data)
        holder = f"`{owner['command']}` (process {owner['pid']} on {owner['host']}, since {owner['since']})"
    except (ValueError, KeyError, TypeError):
        holder = "another process"
    return LockedError(f"{files.root} is being written by {holder}; {advice}")
