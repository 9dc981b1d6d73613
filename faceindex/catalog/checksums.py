"""What makes a flipped byte visible: recorded checksums of data files, and seals inside small text files.

xxh3-128 guards against damage, not against an attacker. A data file is compared with the `FileEntry` its generation
holds. Texts that nothing else records (`catalog.toml`, the generations themselves) carry a seal: their first line
holds the checksum of all the bytes after it.
"""

from pathlib import Path

import xxhash

from faceindex.catalog.files import BLOCK_BYTES, Files, reading
from faceindex.errors import DamagedError
from faceindex.types import FileEntry

JSON_SEAL = '{{"xxh3": "{}",\n'
TOML_SEAL = "# xxh3 {}\n"


def digest(*parts: bytes | memoryview) -> str:
    """Return the xxh3-128 of the joined parts as 32 hex digits."""
    state = xxhash.xxh3_128()
    for part in parts:
        state.update(part)
    return str(state.hexdigest())


def write_entry(files: Files, path: str, *parts: bytes | memoryview) -> FileEntry:
    """Write a file and return what a generation records of it."""
    entry = FileEntry(path, sum(memoryview(part).nbytes for part in parts), digest(*parts))
    files.write(path, *parts)
    return entry


def entry_of(files: Files, path: str) -> FileEntry:
    """Return what a generation records of a file that is there already, read to its end."""
    state = xxhash.xxh3_128()
    size = 0
    for block in files.blocks(path):
        state.update(block)
        size += len(block)
    return FileEntry(path, size, str(state.hexdigest()))


def verify(files: Files, entry: FileEntry) -> None:
    """Read a file to its end and compare it with what was recorded.

    Raises:
        DamagedError: it is missing or differs; the message names it.
    """
    _require_same(files, entry, entry_of(files, entry.path))


def verified_path(files: Files, entry: FileEntry) -> Path:
    """Return a local path to memory-map, whose bytes are those recorded; an object is fetched once and then checked.

    Raises:
        DamagedError: the file is missing or differs; the message names it.
    """
    path = files.local_path(entry.path)
    state = xxhash.xxh3_128()
    with reading(path), path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            state.update(block)
        _require_same(files, entry, FileEntry(entry.path, file.tell(), str(state.hexdigest())))
    return path


def sized_path(files: Files, entry: FileEntry) -> Path:
    """Return a local path to memory-map, of the size recorded; the caller checks what it reads of the file.

    Raises:
        DamagedError: the file is missing or of another size; the message names it.
    """
    path = files.local_path(entry.path)
    size = path.stat().st_size
    if size != entry.size_bytes:
        raise DamagedError(
            f"{files.root}/{entry.path} is damaged: {entry.size_bytes} bytes recorded, {size} found; "
            f"run `faceindex check`"
        )
    return path


def read_verified(files: Files, entry: FileEntry) -> bytes:
    """Return a file's bytes once they are known to be those recorded; raises what `verify` raises."""
    data = files.read(entry.path)
    _require_same(files, entry, FileEntry(entry.path, len(data), digest(data)))
    return data


def _require_same(files: Files, recorded: FileEntry, found: FileEntry) -> None:
    if found != recorded:
        raise DamagedError(
            f"{files.root}/{recorded.path} is damaged: {recorded.size_bytes} bytes with xxh3 {recorded.xxh3} recorded, "
            f"{found.size_bytes} bytes with xxh3 {found.xxh3} found; run `faceindex check`"
        )


def seal(line: str, body: bytes) -> bytes:
    """Return the body after a first line that holds its checksum; `line` is JSON_SEAL or TOML_SEAL."""
    return line.format(digest(body)).encode() + body


def unseal(line: str, data: bytes, source: str) -> bytes:
    """Return the body of a sealed text.

    Raises:
        DamagedError: any byte of it differs from what was sealed; the message names `source`.
    """
    first, newline, body = data.partition(b"\n")
    if first + newline != line.format(digest(body)).encode():
        raise DamagedError(f"{source} is damaged: its checksum is not that of its text; run `faceindex check`")
    return body
