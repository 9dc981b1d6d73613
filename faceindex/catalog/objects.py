"""A catalog in an object store, reached by fsspec; what it promises stands in `files.py`."""

import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from faceindex.catalog import files, layout
from faceindex.catalog.files import inside, one_line
from faceindex.errors import CatalogError, ConfigError, MissingExtraError

REFUSED = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchKey", "404"}
"""How S3 says that an object is not the version a put was meant for."""


class UrlFiles:
    """The files of a catalog in an object store."""

    fence: Callable[[], None] | None = None
    """Raises once the lease is lost; set while one is held, and then looked at before every change."""

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
        self._is_s3 = root.startswith(("s3://", "s3a://"))
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
            # By default s3fs asks for the size first, to fetch large objects in parts.
            return bytes(self._fs.cat_file(self._full(path), **({"max_concurrency": 1} if self._is_s3 else {})))

    def blocks(self, path: str) -> Iterator[bytes]:
        with self._one_line("read", path), self._fs.open(self._full(path), "rb") as file:
            while block := file.read(files.BLOCK_BYTES):
                yield block

    def write(self, path: str, *parts: bytes | memoryview) -> None:
        full, data = self._full(path), b"".join(parts)
        if self.fence is None:
            with self._one_line("write", path):
                self._fs.pipe_file(full, data)
            return
        self.fence()
        version = None
        while self.put_if(path, data, version) is None:
            version = self.version(path)
            self.fence()

    def put_if(self, path: str, data: bytes, version: str | None) -> str | None:
        """Put a file where there still is what was seen there: a version of it, or None for no file.

        Returns:
            The new version; None when something else is there, and nothing was put.
        """
        full = self._full(path)
        with self._one_line("write", path):
            try:
                if self._is_s3 and version is not None:
                    put = self._fs.pipe_file(full, data, chunksize=5 << 30, IfMatch=version)  # one request, not parts
                elif version is None or self.version(path) == version:
                    put = self._fs.pipe_file(full, data, mode="overwrite" if version else "create")
                else:
                    return None
            except FileExistsError:
                return None
            except OSError as error:
                if self._is_s3 and _code(error) in REFUSED:
                    return None
                raise
            return put["ETag"] if isinstance(put, dict) else self.version(path)

    def version(self, path: str) -> str | None:
        """Return a token that changes with the file's contents; None where there is no file."""
        with self._one_line("read", path):
            try:
                return str(self._info(path)["ETag"] if self._is_s3 else self._fs.ukey(self._full(path)))
            except (FileNotFoundError, NotADirectoryError):
                return None

    def exists(self, path: str) -> bool:
        # fsspec's own `exists` takes every error for "no", and a catalog that seems empty would be built anew.
        with self._one_line("read", path):
            try:
                self._info(path)
            except (FileNotFoundError, NotADirectoryError):
                return False
            return True

    def size(self, path: str) -> int:
        with self._one_line("read", path):
            return int(self._info(path)["size"])

    def modified(self, path: str) -> float:
        with self._one_line("read", path):
            return float(self._fs.modified(self._full(path)).timestamp())

    def paths(self, folder: str = "") -> Iterator[str]:
        with self._one_line("read", folder):
            found = self._fs.find(f"{self._base}/{folder}".rstrip("/"))
        for full in found:
            yield str(full).removeprefix(f"{self._base}/")

    def delete(self, path: str) -> None:
        full = self._full(path)
        if self.fence:
            self.fence()
        with self._one_line("delete", path), suppress(FileNotFoundError):
            self._fs.rm_file(full)

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

    def _info(self, path: str) -> dict[str, Any]:
        """Return what the store tells of a file; raises FileNotFoundError where there is none."""
        full = self._full(path)
        if not self._is_s3:
            return dict(self._fs.info(full))
        # s3fs would list what is missing, in case it is a folder.
        bucket, _, key = full.partition("/")
        found = self._fs.call_s3("head_object", self._fs.kwargs, Bucket=bucket, Key=key)
        return {"size": found["ContentLength"], "ETag": found["ETag"]}

    def _full(self, path: str) -> str:
        return f"{self._base}/{inside(path)}"

    @contextmanager
    def _one_line(self, action: str, path: str) -> Generator[None]:
        shown = f"{self._url}/{path}"
        try:
            with one_line(action, shown):
                yield
        except CatalogError:
            raise
        except Exception as error:  # each store's client raises errors of its own
            raise CatalogError(f"cannot {action} {shown}: {type(error).__name__}: {error}") from error


def _code(error: OSError) -> str:
    """Return what S3 itself called an error that s3fs translated."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))
