import errno
import mmap
import os
import pickle
import stat
import time
from pathlib import Path

import numpy as np
import pytest

from faceindex.catalog import files as files_module
from faceindex.catalog.files import Files, LocalFiles, open_files
from faceindex.errors import CatalogError, ConfigError, DamagedError, MissingExtraError


@pytest.fixture
def files(root: str) -> Files:
    opened = open_files(root)
    opened.make_root()
    return opened


@pytest.fixture
def local(tmp_path: Path) -> LocalFiles:
    opened = LocalFiles(tmp_path / "catalog")
    opened.make_root()
    return opened


def test_what_was_written_is_read_back(files: Files) -> None:
    files.write("faces/ab/one.parquet", b"first")
    files.write("faces/ab/one.parquet", b"second, longer")

    assert files.read("faces/ab/one.parquet") == b"second, longer"
    assert files.size("faces/ab/one.parquet") == 14
    assert b"".join(files.blocks("faces/ab/one.parquet")) == b"second, longer"


def test_parts_are_joined_whatever_they_hold(files: Files) -> None:
    halves = np.arange(6, dtype=np.float16).reshape(2, 3)
    files.write("parts", b"header", b"", memoryview(halves), memoryview(np.empty((0, 3), np.float16)))
    files.write("empty")

    assert files.read("parts") == b"header" + halves.tobytes()
    assert files.read("empty") == b""


def test_large_files_come_in_blocks(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "BLOCK_BYTES", 7)
    data = bytes(range(100))
    files.write("large", data)

    blocks = list(files.blocks("large"))

    assert b"".join(blocks) == data
    assert max(map(len, blocks)) == 7


@pytest.mark.parametrize("operation", ["read", "size", "modified", "local_path", "blocks"])
def test_a_missing_file_is_damage_that_names_it(files: Files, operation: str) -> None:
    with pytest.raises(DamagedError, match=r"shards/s1/index\.faiss is missing; run `faceindex check`"):
        list(getattr(files, operation)("shards/s1/index.faiss"))


def test_exists_tells_files_from_nothing(files: Files) -> None:
    files.write("runs/r1/plan.parquet", b"x")

    assert files.exists("runs/r1/plan.parquet")
    assert not files.exists("runs/r1/report.json")
    assert not files.exists("runs/r1/plan.parquet/below")


def test_paths_lists_every_file_below_a_folder(files: Files) -> None:
    for path in ("CURRENT", "shards/s1/a", "shards/s2/b", "shards-old/c"):
        files.write(path, b"x")

    assert sorted(files.paths()) == ["CURRENT", "shards-old/c", "shards/s1/a", "shards/s2/b"]
    assert sorted(files.paths("shards")) == ["shards/s1/a", "shards/s2/b"]
    assert list(files.paths("generations")) == []


def test_delete_removes_a_file_and_may_find_none(files: Files) -> None:
    files.write("shards/s1/a", b"x")
    files.delete("shards/s1/a")
    files.delete("shards/s1/a")

    assert not files.exists("shards/s1/a")
    assert list(files.paths()) == []


def test_a_local_path_can_be_mapped_and_follows_replacement(files: Files) -> None:
    for content in (b"old bytes", b"the new bytes"):
        files.write("shards/s1/index.faiss", content)
        with files.local_path("shards/s1/index.faiss").open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        assert mapped[:] == content
        mapped.close()


def test_modified_is_in_seconds_since_1970(files: Files) -> None:
    files.write("a", b"x")

    assert abs(files.modified("a") - time.time()) < 3600


@pytest.mark.parametrize("path", ["../outside", "a/../../outside", "/etc/passwd", "a//b", "", "./a"])
def test_paths_never_lead_out_of_the_catalog(files: Files, path: str) -> None:
    for operation in (files.read, files.write, files.delete, files.exists, files.local_path):
        with pytest.raises(DamagedError, match="inside the catalog"):
            operation(path)


def test_files_travel_to_other_processes(files: Files) -> None:
    files.write("a", b"x")

    assert pickle.loads(pickle.dumps(files)).read("a") == b"x"


def test_a_file_url_is_the_folder_it_names(tmp_path: Path) -> None:
    open_files(f"file://{tmp_path}").write("faces/ab/one", b"x")

    assert open_files(str(tmp_path)).read("faces/ab/one") == b"x"
    assert isinstance(open_files(f"file://{tmp_path}"), LocalFiles)


@pytest.mark.parametrize("root", ["s3x://bucket", "no-such-protocol://x"])
def test_an_unknown_protocol_is_a_usage_error(root: str) -> None:
    with pytest.raises(ConfigError, match="not a place for a catalog"):
        open_files(root)


def test_a_protocol_without_its_package_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.registry import known_implementations

    entry = {"class": "not_installed_package.Store", "err": "install not_installed_package"}
    monkeypatch.setitem(known_implementations, "elsewhere", entry)

    with pytest.raises(MissingExtraError, match="install not_installed_package"):
        open_files("elsewhere://bucket/catalog")


def test_local_files_and_folders_are_private_to_their_owner(tmp_path: Path) -> None:
    old_mask = os.umask(0)
    try:
        local = LocalFiles(tmp_path / "deep" / "catalog")
        local.make_root()
        local.write("faces/ab/one.parquet", b"x")
    finally:
        os.umask(old_mask)

    for folder in ("deep", "deep/catalog", "deep/catalog/faces", "deep/catalog/faces/ab"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "deep/catalog/faces/ab/one.parquet").stat().st_mode) == 0o600


def test_a_relative_root_stays_where_it_was_when_the_process_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = open_files("catalog")
    files.make_root()
    monkeypatch.chdir("/")
    files.write("a", b"x")

    assert (tmp_path / "catalog" / "a").read_bytes() == b"x"


def test_a_write_that_takes_few_bytes_at_a_time_still_writes_all(
    local: LocalFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:3]))
    local.write("a", b"0123456789")
    monkeypatch.undo()

    assert local.read("a") == b"0123456789"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    local: LocalFiles, monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException
) -> None:
    local.write("faces/ab/one", b"old")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, call, fail)
    with pytest.raises((CatalogError, KeyboardInterrupt)):
        local.write("faces/ab/one", b"new")
    monkeypatch.undo()

    assert local.read("faces/ab/one") == b"old"
    assert list(local.paths()) == ["faces/ab/one"]


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "no space left on the device; free some and run the same command again"),
        (errno.EDQUOT, "no space left on the device; free some and run the same command again"),
        (errno.EACCES, "permission denied; run as the catalog's owner"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_errors_of_the_disk_are_one_line_with_the_path_and_what_to_do(
    local: LocalFiles, monkeypatch: pytest.MonkeyPatch, code: int, advice: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(CatalogError) as caught:
        local.write("CURRENT", b"x")

    assert str(caught.value).startswith(f"cannot write {local.root}/CURRENT: {advice}")
    assert "\n" not in str(caught.value)


def test_a_root_that_is_gone_is_never_made_again_by_a_write(local: LocalFiles) -> None:
    Path(local.root).rmdir()

    with pytest.raises(CatalogError, match="the catalog's folder is gone; is its disk mounted"):
        local.write("faces/ab/one", b"x")
    assert not Path(local.root).exists()


def test_folders_that_cannot_be_flushed_are_no_error(local: LocalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def refuse_folders(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    local.write("a", b"x")

    assert local.read("a") == b"x"


def test_deleting_the_last_file_removes_its_folder_but_never_the_root(local: LocalFiles) -> None:
    local.write("shards/s1/a", b"x")
    local.write("CURRENT", b"x")
    local.delete("shards/s1/a")
    local.delete("CURRENT")

    assert not (Path(local.root) / "shards/s1").exists()
    assert Path(local.root).is_dir()
