import errno
import os
from pathlib import Path
from typing import Any

import blake3
import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from faceindex.errors import ItemError
from faceindex.images import read
from faceindex.images.crawl import crawl
from faceindex.images.read import MAX_BYTES, photo_id, read_photo
from faceindex.types import PhotoRef
from tests.support.privileges import without_privileges


def ref_of(path: Path | str) -> PhotoRef:
    return next(iter(crawl(str(path))))


def state_of(ref: PhotoRef) -> str:
    with pytest.raises(ItemError) as caught:
        read_photo(ref)
    assert "\n" not in caught.value.detail
    return caught.value.state


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(bytes(range(256)) * 1000)
    return path


def test_the_bytes_of_a_file_come_whole(photo: Path) -> None:
    assert read_photo(ref_of(photo)) == photo.read_bytes()


def test_a_name_that_is_not_utf8_can_be_read(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff\xfe.jpg")).write_bytes(b"bytes")

    assert read_photo(ref_of(tmp_path)) == b"bytes"


def test_the_photo_id_is_the_start_of_the_blake3_hash(photo: Path) -> None:
    payload = photo.read_bytes()

    assert photo_id(payload) == blake3.blake3(payload).digest()[:16]


def test_a_file_that_is_gone_has_vanished(photo: Path) -> None:
    ref = ref_of(photo)
    photo.unlink()

    assert state_of(ref) == "vanished"


def test_a_file_whose_folder_became_a_file_has_vanished(tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    (tmp_path / "album/a.jpg").write_bytes(b"x")
    ref = ref_of(tmp_path)
    (tmp_path / "album/a.jpg").unlink()
    (tmp_path / "album").rmdir()
    (tmp_path / "album").write_bytes(b"x")

    assert state_of(ref) == "vanished"


def test_a_file_that_may_not_be_read_is_denied() -> None:
    with without_privileges() as folder:
        (folder / "a.jpg").write_bytes(b"x")
        (folder / "a.jpg").chmod(0)

        assert state_of(ref_of(folder)) == "denied"


def test_an_empty_file_is_unreadable_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()

    with pytest.raises(ItemError, match="unreadable: empty file"):
        read_photo(ref_of(tmp_path))


def test_an_input_output_error_is_unreadable() -> None:
    # Reading the first page of a process's memory, which is never mapped, fails with EIO on Linux.
    memory = Path("/proc/self/mem")
    found = memory.stat()

    assert state_of(PhotoRef(bytes(memory), found.st_size, found.st_mtime_ns)) == "unreadable"


def test_more_bytes_than_the_system_tells_of_are_noticed() -> None:
    # The kernel makes this file up as it is read, and gives its size as 0.
    assert state_of(ref_of("/proc/version")) == "changed_while_read"


def test_a_pipe_in_the_place_of_a_photo_is_unreadable_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")

    assert state_of(PhotoRef(os.fsencode(tmp_path / "pipe.jpg"), 0, 0)) == "unreadable"


def test_a_folder_in_the_place_of_a_photo_is_unreadable(tmp_path: Path) -> None:
    assert state_of(PhotoRef(os.fsencode(tmp_path), 1, 0)) == "unreadable"


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)

    assert state_of(ref_of(tmp_path)) == "too_large"


def test_a_file_that_changed_after_the_crawl_is_noticed(photo: Path) -> None:
    ref = ref_of(photo)
    found = photo.stat()

    photo.write_bytes(photo.read_bytes() + b"more")
    assert state_of(ref) == "changed_while_read"

    photo.write_bytes(b"\x01" * ref.size_bytes)
    os.utime(photo, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    assert state_of(ref) == "changed_while_read"


def test_a_file_that_changes_while_it_is_read_is_noticed(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, fstat = photo.read_bytes(), os.fstat

    def grow() -> None:
        photo.write_bytes(original + b"!")

    def shrink() -> None:
        os.truncate(photo, 1000)

    def touch() -> None:
        os.utime(photo, ns=(0, 0))

    for change in (grow, shrink, touch):
        photo.write_bytes(original)
        ref = ref_of(photo)
        pending = [change]

        def fstat_then_change(descriptor: int, pending: list = pending) -> os.stat_result:
            found = fstat(descriptor)
            if pending:
                pending.pop()()
            return found

        monkeypatch.setattr(read.os, "fstat", fstat_then_change)
        assert state_of(ref) == "changed_while_read", change
        monkeypatch.undo()


def test_objects_are_read_and_their_changes_noticed() -> None:
    store = fsspec.filesystem("memory")
    store.pipe_file("/bucket/a.jpg", b"first")
    try:
        ref = ref_of("memory://bucket/a.jpg")
        assert read_photo(ref) == b"first"

        store.pipe_file("/bucket/a.jpg", b"other")
        assert state_of(ref) == "changed_while_read"

        store.pipe_file("/bucket/a.jpg", b"longer than before")
        assert state_of(ref) == "changed_while_read"
    finally:
        store.rm("/bucket", recursive=True)
    assert state_of(ref) == "vanished"


def test_a_name_that_is_not_utf8_can_be_read_by_url(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff\xfe.jpg")).write_bytes(b"bytes")

    assert read_photo(ref_of(f"local://{tmp_path}")) == b"bytes"


class Unsteady(MemoryFileSystem):  # type: ignore[misc]
    """A store whose network fails some times, as ones outside our reach do."""

    protocol = "unsteady"
    failures: list[Exception] = []  # noqa: RUF012 - shared by all instances, as the network is
    attempts = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        stripped: str = super()._strip_protocol(path.replace("unsteady://", "memory://"))
        return stripped

    def cat_file(self, *arguments: Any, **options: Any) -> bytes:
        type(self).attempts += 1
        if self.failures:
            raise self.failures.pop(0)
        payload: bytes = super().cat_file(*arguments, **options)
        return payload


class ThrottledError(Exception):
    """As the clients of stores raise errors of their own."""


@pytest.mark.parametrize(
    ("failures", "attempts", "outcome"),
    [
        ([ConnectionResetError(errno.ECONNRESET, "reset"), ThrottledError("SlowDown")], 3, "read"),
        ([ThrottledError("SlowDown")] * 3, 3, "unreadable"),
        ([PermissionError("AccessDenied")], 1, "denied"),
        ([FileNotFoundError("NoSuchKey")], 1, "vanished"),
    ],
)
def test_what_may_pass_is_tried_again_and_what_does_not_is_not(
    monkeypatch: pytest.MonkeyPatch, failures: list[Exception], attempts: int, outcome: str
) -> None:
    monkeypatch.setattr(read, "WAITS_S", (0.001, 0.001))
    fsspec.register_implementation("unsteady", Unsteady, clobber=True)
    MemoryFileSystem().pipe_file("/bucket/a.jpg", b"photo")
    monkeypatch.setattr(Unsteady, "failures", [])
    monkeypatch.setattr(Unsteady, "attempts", 0)
    try:
        ref = ref_of("unsteady://bucket/a.jpg")
        monkeypatch.setattr(Unsteady, "failures", list(failures))
        if outcome == "read":
            assert read_photo(ref) == b"photo"
        else:
            assert state_of(ref) == outcome
    finally:
        MemoryFileSystem().rm("/bucket", recursive=True)
    assert Unsteady.attempts == attempts


def test_a_file_that_a_server_replaced_is_opened_again(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "WAITS_S", (0.001, 0.001))
    ref, opened, stale = ref_of(photo), os.open, [OSError(errno.ESTALE, "Stale file handle")]

    def open_(*arguments: Any, **options: Any) -> int:
        if stale:
            raise stale.pop()
        return opened(*arguments, **options)

    monkeypatch.setattr(os, "open", open_)

    assert read_photo(ref) == photo.read_bytes()
    assert not stale
