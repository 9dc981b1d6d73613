import os
import shutil
import socket
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from faceindex.errors import ConfigError
from faceindex.images.crawl import CATALOG_MARK, CrawlReport, crawl
from tests.support.privileges import without_privileges


def fill(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def names_in(root: Path, report: CrawlReport | None = None) -> set[str]:
    return {os.path.relpath(os.fsdecode(ref.path), root) for ref in crawl(str(root), report)}


def test_files_of_all_folders_are_found_with_their_size_and_time(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "b/c.png", "b/d/e.heic", "no-extension", "odd.blp")
    os.utime(tmp_path / "a.jpg", ns=(7, 1_234_567_890_123_456_789))

    refs = {os.fsdecode(ref.path): ref for ref in crawl(str(tmp_path))}

    assert set(refs) == {str(tmp_path / name) for name in ("a.jpg", "b/c.png", "b/d/e.heic", "no-extension", "odd.blp")}
    assert refs[str(tmp_path / "a.jpg")].mtime_ns == 1_234_567_890_123_456_789
    assert refs[str(tmp_path / "b/c.png")].size_bytes == len("b/c.png")


def test_names_that_are_not_utf8_are_found(tmp_path: Path) -> None:
    name = b"caf\xe9\xff.jpg"
    (tmp_path / os.fsdecode(name)).touch()

    assert [ref.path for ref in crawl(str(tmp_path))] == [os.fsencode(tmp_path) + b"/" + name]


def test_a_relative_root_gives_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "album/a.jpg")
    monkeypatch.chdir(tmp_path)

    assert [ref.path for ref in crawl("album/")] == [os.fsencode(tmp_path / "album/a.jpg")]


def test_hidden_files_and_system_folders_are_passed_over_and_counted(tmp_path: Path) -> None:
    fill(
        tmp_path,
        "a.jpg",
        ".hidden.jpg",
        ".thumbnails/b.jpg",
        "@eaDir/c.jpg",
        "d/lost+found/e.jpg",
        "$Recycle.Bin/f.jpg",
    )
    report = CrawlReport()

    assert names_in(tmp_path, report) == {"a.jpg"}
    assert report.ignored_files == {"hidden": 1}
    assert report.ignored_folders == {"hidden": 1, "system folder": 3}


def test_files_that_are_surely_no_pictures_are_counted_and_all_others_found(tmp_path: Path) -> None:
    pictures = {"a.JPG", "b.jpeg.bak", "c.psd", "d.fits", "e"}
    others = {"notes.TXT", "a.xmp", "clip.MOV", "README", "LICENSE", "Thumbs.db"}
    fill(tmp_path, *pictures, *others)
    report = CrawlReport()

    assert names_in(tmp_path, report) == pictures
    assert report.ignored_files == {"not a picture": len(others)}


def test_a_hidden_root_and_a_root_without_picture_extension_are_taken_as_asked(tmp_path: Path) -> None:
    fill(tmp_path, ".photos/a.jpg", "scan.txt")

    assert names_in(tmp_path / ".photos") == {"a.jpg"}
    assert [ref.path for ref in crawl(str(tmp_path / "scan.txt"))] == [os.fsencode(tmp_path / "scan.txt")]


def test_symbolic_links_are_not_followed_so_loops_end(tmp_path: Path) -> None:
    fill(tmp_path, "a/b.jpg", "outside/c.jpg")
    (tmp_path / "a/self").symlink_to(tmp_path / "a")
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "a/link.jpg").symlink_to(tmp_path / "outside/c.jpg")
    (tmp_path / "a/broken.jpg").symlink_to("nowhere")
    report = CrawlReport()

    assert names_in(tmp_path / "a", report) == {"b.jpg"}
    assert report.ignored_files == {"symbolic link": 4}


def test_a_root_that_is_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    fill(tmp_path, "real/a.jpg")
    (tmp_path / "link").symlink_to("real")

    assert names_in(tmp_path / "link") == {"a.jpg"}


def test_pipes_and_sockets_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
        report = CrawlReport()

        assert names_in(tmp_path, report) == {"a.jpg"}
    assert report.ignored_files == {"not a regular file": 2}


def test_a_catalog_among_the_photos_is_not_crawled(tmp_path: Path) -> None:
    fill(
        tmp_path,
        "a.jpg",
        "cat/catalog.toml",
        "cat/generations/1.json",
        "cat/sheets/x.png",
        "not/catalog.toml",
        "not/b.jpg",
    )
    (tmp_path / "cat" / "catalog.toml").write_bytes(CATALOG_MARK + b"0123")
    report = CrawlReport()

    assert names_in(tmp_path, report) == {"a.jpg", "not/b.jpg"}
    assert report.ignored_folders == {"catalog": 1}
    assert names_in(tmp_path / "cat") == set()


def test_a_folder_that_may_not_be_listed_is_reported_and_the_rest_found() -> None:
    with without_privileges() as root:
        fill(root, "a.jpg", "locked/b.jpg", "c/d.jpg")
        (root / "locked").chmod(0)
        report = CrawlReport()
        try:
            found = names_in(root, report)
        finally:
            (root / "locked").chmod(0o755)

    assert found == {"a.jpg", "c/d.jpg"}
    assert [(problem.path, problem.detail) for problem in report.problems] == [
        (os.fsencode(root / "locked"), "permission denied")
    ]


def test_a_folder_that_may_be_listed_but_not_searched_is_reported_once() -> None:
    with without_privileges() as root:
        fill(root, "a.jpg", "listed/b.jpg", "listed/c.jpg")
        (root / "listed").chmod(0o444)
        report = CrawlReport()
        try:
            found = names_in(root, report)
        finally:
            (root / "listed").chmod(0o755)

    assert found == {"a.jpg"}
    assert [problem.path for problem in report.problems] == [os.fsencode(root / "listed")]


def test_a_root_that_may_not_be_read_is_refused() -> None:
    with without_privileges() as root:
        (root / "locked").mkdir()
        (root / "locked").chmod(0)
        try:
            with pytest.raises(ConfigError, match="cannot be read: permission denied"):
                crawl(str(root / "locked"))
        finally:
            (root / "locked").chmod(0o755)


def test_folders_that_vanish_during_the_crawl_are_reported_and_the_rest_found(tmp_path: Path) -> None:
    fill(tmp_path, *(f"{number}/a.jpg" for number in range(9)))
    report = CrawlReport()
    refs = crawl(str(tmp_path), report)

    first = Path(os.fsdecode(next(refs).path))
    for folder in tmp_path.iterdir():
        if folder != first.parent and folder.name != "5":
            shutil.rmtree(folder)
    rest = {Path(os.fsdecode(ref.path)).parent.name for ref in refs}

    assert {first.parent.name, *rest} == {first.parent.name, "5"}
    assert len(report.problems) == 9 - len({first.parent.name, "5"})
    assert {problem.detail for problem in report.problems} == {"no such file or directory"}


def test_the_same_files_are_found_in_whatever_order_they_were_made(tmp_path: Path) -> None:
    names = [f"{number % 7}/{number}.jpg" for number in range(100)]
    fill(tmp_path / "one", *names)
    fill(tmp_path / "two", *reversed(names))

    assert names_in(tmp_path / "one") == names_in(tmp_path / "two") == set(names)


def test_memory_stays_flat_in_a_large_folder_and_in_many_folders(tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    for number in range(20_000):
        (tmp_path / "large" / f"photo-{number:08}.jpg").touch()
    for number in range(3_000):
        (tmp_path / f"folder-with-a-long-name-{number:08}").mkdir()

    tracemalloc.start()
    try:
        count = sum(1 for _ in crawl(str(tmp_path)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    # The names alone are more than 1 MB.
    assert count == 20_000
    assert peak < 100_000


def test_a_deep_tree_is_walked_to_its_end(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 300)
    fill(deep, "a.jpg")

    assert [ref.path for ref in crawl(str(tmp_path))] == [os.fsencode(deep / "a.jpg")]


def test_a_crawl_that_is_given_up_closes_its_listings(tmp_path: Path) -> None:
    fill(tmp_path, "a/b/c.jpg", "a/b/d.jpg")
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    refs = crawl(str(tmp_path))
    next(refs)

    refs.close()  # type: ignore[attr-defined]

    assert len(list(Path("/proc/self/fd").iterdir())) == open_before


def test_a_missing_root_is_refused_at_once_with_exit_code_2(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist; is the disk mounted") as caught:
        crawl(str(tmp_path / "gone"))

    assert caught.value.exit_code == 2


def test_a_root_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(ConfigError, match="neither a folder nor a regular file"):
        crawl(str(tmp_path / "pipe"))


def test_a_file_url_is_a_plain_path(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg")

    assert list(crawl(f"file://{tmp_path}")) == list(crawl(str(tmp_path)))


@pytest.fixture
def bucket() -> Iterator[str]:
    store = fsspec.filesystem("memory")
    for name in (
        "a.jpg",
        "b/c.png",
        "b/.hidden.jpg",
        "b/x.xmp",
        "@eaDir/t.jpg",
        "cat/catalog.toml",
        "cat/generations/1",
    ):
        store.pipe_file(f"/bucket/{name}", CATALOG_MARK if name == "cat/catalog.toml" else name.encode())
    yield "memory://bucket"
    store.rm("/bucket", recursive=True)


def test_an_object_store_is_crawled_by_the_same_rules(bucket: str) -> None:
    report = CrawlReport()

    refs = {ref.path: ref for ref in crawl(bucket, report)}

    assert set(refs) == {b"memory:///bucket/a.jpg", b"memory:///bucket/b/c.png"}
    assert refs[b"memory:///bucket/b/c.png"].size_bytes == len("b/c.png")
    assert refs[b"memory:///bucket/b/c.png"].mtime_ns > 0
    assert report.ignored_files == {"hidden": 1, "not a picture": 1}
    assert report.ignored_folders == {"system folder": 1, "catalog": 1}


def test_one_object_is_a_root_too(bucket: str) -> None:
    assert [ref.path for ref in crawl(f"{bucket}/b/c.png")] == [b"memory:///bucket/b/c.png"]


def test_a_missing_bucket_and_an_unknown_protocol_are_refused() -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        crawl("memory://no-such-bucket")
    with pytest.raises(ConfigError, match="cannot be opened"):
        crawl("nonsense://bucket")


def test_a_local_url_gives_urls_and_does_not_follow_links(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "b/c.jpg")
    (tmp_path / "b/up").symlink_to(tmp_path)

    refs = {ref.path: ref for ref in crawl(f"local://{tmp_path}")}

    assert set(refs) == {f"local://{tmp_path}/{name}".encode() for name in ("a.jpg", "b/c.jpg")}


def test_the_mark_is_what_a_new_catalog_begins_with(tmp_path: Path) -> None:
    from faceindex.catalog.catalog import Catalog
    from faceindex.config import Settings

    Catalog.create(str(tmp_path / "catalog"), Settings())

    assert (tmp_path / "catalog" / "catalog.toml").read_bytes().startswith(CATALOG_MARK)
