"""Photos in object stores: URLs, and the fsspec file systems behind them; knows nothing of pictures."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from faceindex.errors import ConfigError
from faceindex.types import PhotoRef

PAGE_OBJECTS = 1000
"""The most that S3 lists in one request."""

_URL = re.compile(r"(?P<protocol>[a-z][a-z0-9+.-]*)://")
_MTIME_KEYS = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")


def protocol_of(path: str) -> str | None:
    """Return the protocol of an fsspec URL such as `s3://bucket/album`, None for a path of this machine."""
    match = _URL.match(path)
    return match["protocol"] if match else None


class Store:
    """The file system behind a URL; paths inside it are as fsspec writes them, without the protocol.

    Raises:
        ConfigError: no file system is known for the protocol, or the package that brings it is not installed.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self._protocol = protocol_of(url)
        try:
            # A remembered listing would hide new photos from a process that lives on.
            self._files, self.root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"{url} cannot be opened: {error}") from error

    def url(self, path: str) -> bytes:
        """Return the URL of a path, UTF-8; bytes that are no UTF-8 stay as they are."""
        return f"{self._protocol}://{path}".encode("utf-8", "surrogateescape")

    def info(self, path: str) -> Mapping[str, Any]:
        """Return what the store tells of a path: name, size, type and more."""
        found: Mapping[str, Any] = self._files.info(path)
        return found

    def entries(self, folder: str) -> list[Mapping[str, Any]]:
        """Return `info` of what a folder holds, without the empty object some stores keep for the folder itself."""
        return [found for found in self._files.ls(folder, detail=True) if found["name"].strip("/") != folder.strip("/")]

    @property
    def is_flat(self) -> bool:
        """Whether all below the root can be listed at once, 1,000 objects a request, instead of folder by folder."""
        return self._protocol in ("s3", "s3a")

    def objects(self) -> Iterator[Mapping[str, Any]]:
        """Yield `info` of every object below the root, of a store that is flat; memory holds one page."""
        bucket, _, prefix = self.root.partition("/")
        wanted = {"Bucket": bucket, "Prefix": f"{prefix}/" if prefix else "", "MaxKeys": PAGE_OBJECTS}
        more = True
        while more:
            page = self._files.call_s3("list_objects_v2", self._files.kwargs, **wanted)
            for found in page.get("Contents", ()):
                yield {"name": f"{bucket}/{found['Key']}", "size": found["Size"], "LastModified": found["LastModified"]}
            more = page.get("IsTruncated", False)
            wanted["ContinuationToken"] = page.get("NextContinuationToken", "")

    def read(self, path: str, limit_bytes: int) -> bytes:
        """Return the first `limit_bytes` bytes of an object."""
        payload: bytes = self._files.cat_file(path, start=0, end=limit_bytes)
        return payload

    def ref(self, info: Mapping[str, Any]) -> PhotoRef:
        """Return the `PhotoRef` of a file by its `info`."""
        return PhotoRef(self.url(info["name"]), int(info["size"]), _mtime_ns(info))


def _mtime_ns(info: Mapping[str, Any]) -> int:
    """Return when an object was last written, in nanoseconds since 1970; 0 where the store does not tell."""
    value = next((info[key] for key in _MTIME_KEYS if info.get(key) is not None), 0)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        value = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return round(value * 1e9)
