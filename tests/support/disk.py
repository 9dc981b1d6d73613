"""Disks that fail: system calls watched and refused, small file systems, and what a power cut leaves behind."""

import gc
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CALLS = ("mkdir", "open", "write", "fsync", "replace", "unlink", "rmdir")
"""The system calls by which a catalog changes anything."""


def target(argument: Any) -> Path:
    """Return the path a system call is about, given a path or an open file."""
    return Path(f"/proc/self/fd/{argument}").readlink() if isinstance(argument, int) else Path(argument)


@contextmanager
def watched(root: Path, before: Callable[[str, tuple[Any, ...]], None]) -> Iterator[None]:
    """Call `before` with every system call that changes something under `root`, and its arguments."""
    real = {name: getattr(os, name) for name in CALLS}

    def make(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            changes = name != "open" or arguments[1] & os.O_CREAT
            if changes and target(arguments[0]).is_relative_to(root):
                before(name, arguments)
            return real[name](*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, make(name))
        yield


_watching: list[tuple[Path, Callable[[str, tuple[Any, ...]], None]]] = []


def _audited(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event in ("open", "os.scandir", "os.listdir") and isinstance(arguments[0], str | os.PathLike):
        root, before = _watching[-1]
        if Path(arguments[0]).is_relative_to(root) and not (event == "open" and arguments[2] & os.O_CREAT):
            before(event, arguments)


@contextmanager
def opened(root: Path, before: Callable[[str, tuple[Any, ...]], None]) -> Iterator[None]:
    """Call `before` with every file opened for reading and every folder listed under `root`."""
    if not _hooked:
        sys.addaudithook(_audited)  # it stays for good, so it is put there once
        _hooked.append(True)
    _watching.append((root, before))
    try:
        yield
    finally:
        _watching.pop()


_hooked: list[bool] = []


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Mount a file system of a few megabytes, where the system lets us."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        gc.collect()  # memory maps of files on it
        subprocess.run(["umount", folder], check=True)


@contextmanager
def memory_folder(otherwise: Path) -> Iterator[Path]:
    """Give a folder in memory, where flushing costs nothing, for tests that commit thousands of times."""
    if not os.access("/dev/shm", os.W_OK):
        yield otherwise
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


class Disk:
    """What is safe after each call: bytes once their file was flushed, names once their folder was."""

    def __init__(self) -> None:
        self._bytes: list[tuple[bytes, bytes]] = []
        """Written and flushed bytes of each file."""
        self._seen: dict[Path, int] = {}
        self._safe: dict[Path, int] = {}
        self._unsafe_folders: set[Path] = set()
        self.removed: set[Path] = set()
        """Names that are gone for good."""
        self._pending: list[tuple[Path, Callable[[], None]]] = []
        """What a flush of a folder makes safe."""

    def mkdir(self, path: Path, _: Any) -> None:
        self._unsafe_folders.add(path)
        self._pending.append((path.parent, lambda: self._unsafe_folders.discard(path)))

    def open(self, path: Path, _: Any) -> None:
        file = self._seen[path] = len(self._bytes)
        self._bytes.append((b"", b""))
        self._pending.append((path.parent, lambda: self._safe.update({path: file})))

    def write(self, path: Path, data: bytes) -> None:
        written, flushed = self._bytes[self._seen[path]]
        self._bytes[self._seen[path]] = (written + data, flushed)

    def flush(self, path: Path, data: bytes) -> None:
        # What SQLite wrote nobody has seen; now it is there.
        self._bytes[self._seen[path]] = (data, data)

    def rename(self, path: Path, new: Path) -> None:
        file = self._seen[new] = self._seen.pop(path)

        def become_safe() -> None:
            self._safe.pop(path, None)
            self._safe[new] = file
            self.removed.discard(new)

        self._pending.append((path.parent, become_safe))

    def unlink(self, path: Path, _: Any) -> None:
        self._seen.pop(path, None)

        def become_safe() -> None:
            self._safe.pop(path, None)
            self.removed.add(path)

        self._pending.append((path.parent, become_safe))

    def rmdir(self, path: Path, _: Any) -> None:
        """A folder without files is none of a catalog's."""

    def flush_folder(self, path: Path, _: Any) -> None:
        for folder, become_safe in self._pending:
            if folder == path:
                become_safe()
        self._pending = [one for one in self._pending if one[0] != path]

    def keep_names(self) -> None:
        """Let the disk have kept every name, flushed or not."""
        for folder, _ in list(self._pending):
            self.flush_folder(folder, None)

    def files(self, kept: float, *, zeros: bool) -> dict[Path, bytes]:
        """Return the files there are, with this share of the bytes that were never flushed, and zeros for the rest."""
        found = {}
        for path, file in self._safe.items():
            written, flushed = self._bytes[file]
            rest = written[len(flushed) :]
            if not self._unsafe_folders & set(path.parents):
                left = rest[: int(len(rest) * kept)]
                found[path] = flushed + (left.ljust(len(rest), b"\0") if zeros else left)
        return found


class PowerCut:
    """Records what a program does to a folder, and makes what the disk may hold had the power failed meanwhile."""

    LOSSES = (
        (False, 0.0, False),
        (True, 0.0, False),
        (True, 0.5, False),
        (True, 1.0, False),
        (True, 0.0, True),
        (True, 0.5, True),
    )
    """Whether names that were not flushed are kept, how much of the bytes that were not, and whether zeros stand for
    those that are lost."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.events: list[tuple[str, Path, Any]] = []

    def record(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Take note of a call; for `watched`."""
        path = target(arguments[0]).relative_to(self._folder)
        if name == "write":
            self.events.append(("write", path, bytes(arguments[1])))
        elif name == "replace":
            self.events.append(("rename", path, Path(arguments[1]).relative_to(self._folder)))
        elif name == "fsync" and stat.S_ISDIR(os.fstat(arguments[0]).st_mode):
            self.events.append(("flush_folder", path, None))
        elif name == "fsync":
            self.events.append(("flush", path, target(arguments[0]).read_bytes()))
        else:
            self.events.append((name, path, None))

    def outcomes(self, before: Path, after: Path) -> Iterator[int]:
        """Make `after` from `before`, as it may be after each event; yield how many events were done."""
        for count in range(len(self.events) + 1):
            for names_kept, bytes_kept, zeros in self.LOSSES:
                disk = Disk()
                for kind, path, detail in self.events[:count]:
                    getattr(disk, kind)(path, detail)
                if names_kept:
                    disk.keep_names()
                shutil.copytree(before, after)
                for path in disk.removed:
                    (after / path).unlink(missing_ok=True)
                for path, content in disk.files(bytes_kept, zeros=zeros).items():
                    (after / path).parent.mkdir(parents=True, exist_ok=True)
                    (after / path).write_bytes(content)
                yield count
                shutil.rmtree(after)
