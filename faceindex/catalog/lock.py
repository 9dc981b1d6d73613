"""The one writer of a catalog: who may publish, and who is publishing. Readers never take it.

Local folders: the operating system's lock on the file `lock`. It ends with the process, however that ends, so a killed
run leaves nothing to clear away; the file stays. Object stores: a lease, see `lease.py`.
"""

import errno
import fcntl
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from faceindex.catalog import layout
from faceindex.catalog.files import Files, LocalFiles
from faceindex.catalog.lease import LEASE_S, leased
from faceindex.catalog.objects import UrlFiles
from faceindex.catalog.owner import locked, owner_in, this_process
from faceindex.errors import CatalogError


@contextmanager
def writer_lock(files: Files, command: str, lease_s: float = LEASE_S) -> Generator[None]:
    """Hold the catalog's writer lock. Waits only in object stores, to see whether another holder still lives.

    Args:
        command: what the holder is doing, shown to others.
        lease_s: in object stores, how long the holder may be silent before another run takes over.

    Raises:
        LockedError: another process holds it; the message says which, where and since when.
        CatalogError: the lock cannot be written.
    """
    owner = this_process(command)
    if isinstance(files, LocalFiles):
        with _local_lock(files, json.dumps(owner).encode()):
            yield
    elif isinstance(files, UrlFiles):
        with leased(files, owner, lease_s):
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
            raise locked(files.root, owner_in(os.pread(handle, 4096, 0))) from error
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
