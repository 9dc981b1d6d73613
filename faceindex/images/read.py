"""Reading a photo's bytes, once and whole, from disk or object store; knows nothing of what is in them."""

import errno
import os
import random
import stat
import time
from collections.abc import Callable

from blake3 import blake3

from faceindex.arrays import ID_BYTES
from faceindex.errors import ItemError
from faceindex.images.crawl import reason
from faceindex.images.remote import Store, protocol_of
from faceindex.types import PhotoRef, PhotoState

MAX_BYTES = 500_000_000
"""Larger files are not read; a photo of 120 megapixels stored without compression is 360 MB."""


WAITS_S = (0.2, 1.0)
"""Before the second and the third attempt at reading what failed for a reason that may pass, more or less by half."""

PASSING = frozenset(
    (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ECONNRESET, errno.EAGAIN, errno.ENETDOWN, errno.EHOSTUNREACH)
)
"""Errors of disks and networks that may be gone a moment later; ESTALE is a file that an NFS server replaced."""


def photo_id(payload: bytes) -> bytes:
    """Return the id of a photo: the first 16 bytes of the BLAKE3 hash of the file's bytes."""
    return blake3(payload).digest(length=ID_BYTES)


def read_photo(ref: PhotoRef) -> bytes:
    """Return the bytes of the file that `ref` describes, and of no other.

    What is indexed under a size and a time must be what stood there at that size and time, or the change would never
    be seen again. So a file that differs from what the crawl saw, before or after it was read, is refused: the next
    crawl sees it as it is then, and plans it anew.

    Raises:
        ItemError: vanished, denied, changed_while_read, too_large (more than `MAX_BYTES`) or unreadable (input/output
            errors, empty files, and what is no regular file).
    """
    if ref.size_bytes > MAX_BYTES:
        raise ItemError(PhotoState.TOO_LARGE, f"{ref.size_bytes} bytes, more than {MAX_BYTES}")
    try:
        payload = _patiently(_read_disk if protocol_of(os.fsdecode(ref.path)) is None else _read_store, ref)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ItemError(PhotoState.VANISHED, reason(error)) from error
    except PermissionError as error:
        raise ItemError(PhotoState.DENIED, reason(error)) from error
    except OSError as error:
        raise ItemError(PhotoState.UNREADABLE, reason(error)) from error
    if not payload:
        raise ItemError(PhotoState.UNREADABLE, "empty file")
    return payload


def _patiently(read: Callable[[PhotoRef], bytes], ref: PhotoRef) -> bytes:
    """Read, and again after a while when that failed for a reason that may pass."""
    for wait_s in WAITS_S:
        try:
            return read(ref)
        except OSError as error:
            # Clients of stores say what is permanent by an error of its own kind, and leave the number out otherwise.
            if error.errno not in PASSING and (error.errno is not None or type(error) is not OSError):
                raise
        time.sleep(wait_s * random.uniform(0.5, 1.5))  # noqa: S311 - workers should not all come back at once
    return read(ref)


def _read_disk(ref: PhotoRef) -> bytes:
    # Opening a pipe waits for a writer, for ever, unless told not to.
    descriptor = os.open(ref.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ItemError(PhotoState.UNREADABLE, "not a regular file")
        _require_same(ref, found.st_size, found.st_mtime_ns)
        # One byte more than expected shows growth, and a file that never stops growing is not read for ever.
        payload = file.read(ref.size_bytes + 1)
        found = os.fstat(descriptor)
    _require_same(ref, len(payload), found.st_mtime_ns)
    _require_same(ref, found.st_size, found.st_mtime_ns)
    return payload


def _read_store(ref: PhotoRef) -> bytes:
    store = Store(os.fsdecode(ref.path))
    try:
        payload = store.read(store.root, ref.size_bytes + 1)
        # Objects are replaced whole, so one look afterwards is enough: an older or newer one has another time.
        found = store.ref(store.info(store.root))
    except OSError:
        raise
    except Exception as error:  # clients of object stores raise what their network library does
        raise OSError(reason(error)) from error
    _require_same(ref, len(payload), found.mtime_ns)
    _require_same(ref, found.size_bytes, found.mtime_ns)
    return payload


def _require_same(ref: PhotoRef, size_bytes: int, mtime_ns: int) -> None:
    if size_bytes != ref.size_bytes:
        raise ItemError(PhotoState.CHANGED_WHILE_READ, f"{ref.size_bytes} bytes when listed, {size_bytes} when read")
    if mtime_ns != ref.mtime_ns:
        raise ItemError(PhotoState.CHANGED_WHILE_READ, "written to since it was listed")
