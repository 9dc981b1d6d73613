"""Bytes of a catalog: one small layer over a local folder or an object store. Knows nothing of what they mean.

What the two kinds of root promise, and where they differ:

| | local folder: a path or `file://` | object store: `s3://`, any other protocol of fsspec |
|---|---|---|
| a file appears whole | written beside its place, renamed into it | one put; multipart above 100 MB |
| it is durable | its bytes are flushed before the rename, its folder after | when the store acknowledges it |
| after a crash | the old file or the new one; a `.tmp-` file that `upkeep.collect` removes | the old or the new |
| one writer | `flock`: ends with its process, however that ends | a lease (`lease.py`): ends when not renewed |
| a writer that lost the lock | cannot be: the kernel holds it | may still be running: each of its puts is fenced |
| a put that depends on what is there | not needed | `If-None-Match: *` and `If-Match: <ETag>` |
| folders | are made, and removed when empty | there are none |
| memory-mapping | the file itself | a copy fetched once, in a folder private to the process |

**Fenced**: while a lease is held, a file is put only after the lease was seen to be one's own, and only where there is
none, or over the version seen before the lease was looked at. A run that was paused for longer than its lease between
any two of these steps finds the lease gone, or the file changed, and changes nothing. `CURRENT` is such a file, so a
later run's generation is never replaced by an earlier one's. Two things are not fenced: batches that workers write,
which have the same bytes whoever does them, and a deletion that is already under way.

Amazon S3, MinIO, Cloudflare R2 and Ceph have the conditional put. Of other stores only the put where there is none is
used, where they have it, and over a version seen they put after looking: there a window of one request remains.
`local://` is a folder reached in that way; it exists to test it, and its put is not even atomic.

Files are private to their owner (folders 0700, files 0600): embeddings are biometric data.
"""

import errno
import os
import tempfile
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from faceindex.catalog import layout
from faceindex.errors import CatalogError, DamagedError

BLOCK_BYTES = 8 << 20


class Files(Protocol):
    """The files of one catalog. Paths are relative to its root, with forward slashes."""

    @property
    def root(self) -> str:
        """Where the catalog is, as messages show it."""

    def make_root(self) -> None:
        """Create the root, private to its owner; it may exist."""

    def read(self, path: str) -> bytes:
        """Return a file's bytes.

        Raises:
            DamagedError: it is not there.
            CatalogError: it cannot be read.
        """

    def blocks(self, path: str) -> Iterator[bytes]:
        """Yield a file's bytes in blocks, so that large files need no memory; raises what `read` raises."""

    def write(self, path: str, *parts: bytes | memoryview) -> None:
        """Put the joined parts in the file's place, whole and durable when this returns.

        Raises:
            CatalogError: it could not be written; the file is as it was before, or whole and new.
        """

    def exists(self, path: str) -> bool:
        """Return whether the file is there; raises what `read` raises when that cannot be told."""

    def size(self, path: str) -> int:
        """Return a file's size in bytes; raises what `read` raises."""

    def modified(self, path: str) -> float:
        """Return when a file was last written, in seconds since 1970; raises what `read` raises."""

    def paths(self, folder: str = "") -> Iterator[str]:
        """Yield the paths of all files under a folder, in no order; none when there is no such folder."""

    def delete(self, path: str) -> None:
        """Remove a file, and the folder it leaves empty; it may be missing. For the holder of the writer lock."""

    def local_path(self, path: str) -> Path:
        """Return a path to memory-map; an object is fetched once into a folder private to this process."""


def open_files(root: str) -> Files:
    """Return the files of the catalog at a path or URL, which need not exist yet.

    Raises:
        ConfigError: the URL cannot be understood.
        MissingExtraError: the protocol's package is not installed.
    """
    protocol, separator, rest = root.partition("://")
    if not separator:
        return LocalFiles(Path(root))
    if protocol == "file":
        return LocalFiles(Path(rest))
    from faceindex.catalog.objects import UrlFiles

    return UrlFiles(root)


class LocalFiles:
    """A catalog in a local folder."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    @property
    def root(self) -> str:
        return str(self._root)

    def make_root(self) -> None:
        with one_line("create", self.root):
            for folder in reversed([self._root, *self._root.parents]):
                if not folder.is_dir():
                    _make_folder(folder)

    def read(self, path: str) -> bytes:
        full = self._full(path)
        with one_line("read", str(full)):
            return full.read_bytes()

    def blocks(self, path: str) -> Iterator[bytes]:
        full = self._full(path)
        with one_line("read", str(full)), full.open("rb", buffering=0) as file:
            while block := file.read(BLOCK_BYTES):
                yield block

    def write(self, path: str, *parts: bytes | memoryview) -> None:
        full = self._full(path)
        with one_line("write", str(full)):
            self._make_parents(full.parent)
            handle, name = tempfile.mkstemp(prefix=layout.TEMPORARY_PREFIX, dir=full.parent)
            temporary = Path(name)
            try:
                try:
                    for part in parts:
                        _write_all(handle, part)
                    os.fsync(handle)
                finally:
                    os.close(handle)
                temporary.replace(full)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
            _sync_folder(full.parent)

    def exists(self, path: str) -> bool:
        full = self._full(path)
        with one_line("read", str(full)):
            try:
                full.stat()
            except (FileNotFoundError, NotADirectoryError):
                return False
            return True

    def size(self, path: str) -> int:
        full = self._full(path)
        with one_line("read", str(full)):
            return full.stat().st_size

    def modified(self, path: str) -> float:
        full = self._full(path)
        with one_line("read", str(full)):
            return full.stat().st_mtime

    def paths(self, folder: str = "") -> Iterator[str]:
        pending = [folder]
        while pending:
            inside = pending.pop()
            full = self._root / inside
            with one_line("read", str(full)):
                try:
                    entries = list(os.scandir(full))
                except FileNotFoundError:
                    continue
            for entry in entries:
                path = f"{inside}/{entry.name}" if inside else entry.name
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)
                else:
                    yield path

    def delete(self, path: str) -> None:
        full = self._full(path)
        with one_line("delete", str(full)):
            full.unlink(missing_ok=True)
        if full.parent != self._root:
            with suppress(OSError):
                full.parent.rmdir()

    def local_path(self, path: str) -> Path:
        full = self._full(path)
        with one_line("read", str(full)):
            full.stat()
        return full

    def _full(self, path: str) -> Path:
        return self._root / inside(path)

    def _make_parents(self, folder: Path) -> None:
        """Create the folders between the root and a file, but never the root: its disk may have been unmounted."""
        missing = []
        while folder != self._root and not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for one in reversed(missing):
            _make_folder(one)


def inside(path: str) -> str:
    """Return a path that leads nowhere but into the catalog; manifests may come from elsewhere."""
    parts = path.split("/")
    if "" in parts or "." in parts or ".." in parts:
        raise DamagedError(f"a file inside the catalog was wanted, got {path!r}; run `faceindex check`")
    return path


@contextmanager
def one_line(action: str, shown: str) -> Generator[None]:
    """Turn the operating system's errors into ours: one line that names the file and says what to do."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) and action == "read":
            raise DamagedError(f"{shown} is missing; run `faceindex check`") from error
        reason = error.strerror or str(error) or type(error).__name__
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "no space left on the device; free some and run the same command again: finished batches are kept"
        elif isinstance(error, PermissionError):
            reason = "permission denied; run as the catalog's owner or correct its permissions"
        elif error.errno == errno.EROFS:
            reason = "the file system is read-only; mount it writable or choose another catalog with -c"
        elif isinstance(error, FileNotFoundError):
            reason = "the catalog's folder is gone; is its disk mounted?"
        raise CatalogError(f"cannot {action} {shown}: {reason}") from error


def reading(path: Path) -> AbstractContextManager[None]:
    """Return a context for reading a local path, in which the system's errors become those that `Files.read` raises."""
    return one_line("read", str(path))


def _make_folder(folder: Path) -> None:
    with suppress(FileExistsError):
        folder.mkdir(0o700)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems have nothing to flush for a folder and say so.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def _write_all(handle: int, part: bytes | memoryview) -> None:
    """Write every byte; one call may take only some of them."""
    view = memoryview(part)
    if view.nbytes:
        view = view.cast("B")
        while view:
            view = view[os.write(handle, view) :]
