"""Bytes of a catalog: one small layer over a local folder or an object store. Knows nothing of what they mean.

What the two kinds of root promise, and where they differ:

* **Local folder** (a path or `file://`): a file is written beside its place under an unpredictable name, flushed to
  the disk, renamed, and its folder flushed. After a crash or power failure there is the old file or the new one,
  whole. What a killed process leaves behind is a `.tmp-` file, which nobody reads and `upkeep.collect` removes.
* **URL** (`s3://`, `gs://`, `memory://`, any fsspec protocol): a file is one put, which object stores show whole or
  not at all and acknowledge only when it is durable. There are no folders, no renames and no temporaries.
  `local://` is a folder reached through fsspec; it exists to test this road, and its put is not atomic.

Files are private to their owner (folders 0700, files 0600): embeddings are biometric data.
"""

import errno
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from faceindex.catalog import layout
from faceindex.errors import CatalogError, ConfigError, DamagedError, MissingExtraError

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
    return UrlFiles(root)


class LocalFiles:
    """A catalog in a local folder."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    @property
    def root(self) -> str:
        return str(self._root)

    def make_root(self) -> None:
        with _one_line("create", self.root):
            for folder in reversed([self._root, *self._root.parents]):
                if not folder.is_dir():
                    _make_folder(folder)

    def read(self, path: str) -> bytes:
        full = self._full(path)
        with _one_line("read", str(full)):
            return full.read_bytes()

    def blocks(self, path: str) -> Iterator[bytes]:
        full = self._full(path)
        with _one_line("read", str(full)), full.open("rb", buffering=0) as file:
            while block := file.read(BLOCK_BYTES):
                yield block

    def write(self, path: str, *parts: bytes | memoryview) -> None:
        full = self._full(path)
        with _one_line("write", str(full)):
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
        with _one_line("read", str(full)):
            try:
                full.stat()
            except (FileNotFoundError, NotADirectoryError):
                return False
            return True

    def size(self, path: str) -> int:
        full = self._full(path)
        with _one_line("read", str(full)):
            return full.stat().st_size

    def modified(self, path: str) -> float:
        full = self._full(path)
        with _one_line("read", str(full)):
            return full.stat().st_mtime

    def paths(self, folder: str = "") -> Iterator[str]:
        pending = [folder]
        while pending:
            inside = pending.pop()
            full = self._root / inside
            with _one_line("read", str(full)):
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
        with _one_line("delete", str(full)):
            full.unlink(missing_ok=True)
        if full.parent != self._root:
            with suppress(OSError):
                full.parent.rmdir()

    def local_path(self, path: str) -> Path:
        full = self._full(path)
        with _one_line("read", str(full)):
            full.stat()
        return full

    def _full(self, path: str) -> Path:
        return self._root / _inside(path)

    def _make_parents(self, folder: Path) -> None:
        """Create the folders between the root and a file, but never the root: its disk may have been unmounted."""
        missing = []
        while folder != self._root and not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for one in reversed(missing):
            _make_folder(one)


class UrlFiles:
    """A catalog in an object store, reached by fsspec."""

    def __init__(self, root: str) -> None:
        import fsspec

        self._url = root.rstrip("/")
        # Readers must see what another machine wrote a moment ago. Only the local test road knows auto_mkdir.
        options: dict[str, Any] = {"use_listings_cache": False}
        if root.startswith("local://"):
            options["auto_mkdir"] = True
        try:
            self._fs, base = fsspec.core.url_to_fs(root, **options)
        except ImportError as error:
            raise MissingExtraError(f"a catalog at {root} needs a package that is not installed: {error}") from error
        except ValueError as error:
            raise ConfigError(f"{root} is not a place for a catalog: {error}") from error
        self._base = base.rstrip("/")
        self._fetched: Path | None = None
        self._fetching = threading.Lock()

    def __reduce__(self) -> tuple[type["UrlFiles"], tuple[str]]:
        return type(self), (self._url,)

    @property
    def root(self) -> str:
        return self._url

    def make_root(self) -> None:
        """Object stores have no folders to create."""

    def read(self, path: str) -> bytes:
        with self._one_line("read", path):
            return bytes(self._fs.cat_file(self._full(path)))

    def blocks(self, path: str) -> Iterator[bytes]:
        with self._one_line("read", path), self._fs.open(self._full(path), "rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block

    def write(self, path: str, *parts: bytes | memoryview) -> None:
        with self._one_line("write", path):
            self._fs.pipe_file(self._full(path), b"".join(parts))

    def create(self, path: str, data: bytes) -> bool:
        """Put a file only where there is none, as one operation of the store; return whether it was put."""
        with self._one_line("write", path):
            try:
                self._fs.pipe_file(self._full(path), data, mode="create")
            except FileExistsError:
                return False
            return True

    def exists(self, path: str) -> bool:
        # fsspec's own `exists` takes every error for "no", and a catalog that seems empty would be built anew.
        with self._one_line("read", path):
            try:
                self._fs.info(self._full(path))
            except (FileNotFoundError, NotADirectoryError):
                return False
            return True

    def size(self, path: str) -> int:
        with self._one_line("read", path):
            return int(self._fs.info(self._full(path))["size"])

    def modified(self, path: str) -> float:
        with self._one_line("read", path):
            return float(self._fs.modified(self._full(path)).timestamp())

    def paths(self, folder: str = "") -> Iterator[str]:
        with self._one_line("read", folder):
            found = self._fs.find(f"{self._base}/{folder}".rstrip("/"))
        for full in found:
            yield str(full).removeprefix(f"{self._base}/")

    def delete(self, path: str) -> None:
        with self._one_line("delete", path), suppress(FileNotFoundError):
            self._fs.rm_file(self._full(path))

    def local_path(self, path: str) -> Path:
        full = self._full(path)
        with self._fetching, self._one_line("read", path):
            if self._fetched is None:
                # A cache that outlived the process would keep faces of people erased from the catalog.
                self._fetched = Path(tempfile.mkdtemp(prefix="faceindex-"))
                weakref.finalize(self, shutil.rmtree, self._fetched, ignore_errors=True)
            # The store's own token for the contents: a file that was replaced is fetched again.
            target = self._fetched / str(self._fs.ukey(full)) / PurePosixPath(path).name
            if not target.exists():
                target.parent.mkdir(exist_ok=True)
                partial = target.with_name(layout.TEMPORARY_PREFIX + target.name)
                self._fs.get_file(full, str(partial))
                partial.replace(target)
            return target

    def _full(self, path: str) -> str:
        return f"{self._base}/{_inside(path)}"

    @contextmanager
    def _one_line(self, action: str, path: str) -> Generator[None]:
        shown = f"{self._url}/{path}"
        try:
            with _one_line(action, shown):
                yield
        except CatalogError:
            raise
        except Exception as error:  # each store's client raises errors of its own
            raise CatalogError(f"cannot {action} {shown}: {type(error).__name__}: {error}") from error


def _inside(path: str) -> str:
    """Return a path that leads nowhere but into the catalog; manifests may come from elsewhere."""
    parts = path.split("/")
    if "" in parts or "." in parts or ".." in parts:
        raise DamagedError(f"a file inside the catalog was wanted, got {path!r}; run `faceindex check`")
    return path


@contextmanager
def _one_line(action: str, shown: str) -> Generator[None]:
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
    return _one_line("read", str(path))


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
