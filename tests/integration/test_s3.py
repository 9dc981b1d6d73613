"""Photos and catalogs in an S3 bucket, on a real server of that protocol."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.s3_server import Server, s3_server
from faceindex.images import remote
from faceindex.images.crawl import CATALOG_MARK, CrawlReport, crawl
from faceindex.pipeline.report import RunReport
from faceindex.pipeline.run import IndexOptions, index_photos
from tests.support.archives import ROOT, make_archive

pytest.importorskip("moto.server", reason="a local S3 server is needed: pip install 'faceindex[dev]'")
s3fs = pytest.importorskip("s3fs")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as server:
        yield server


@pytest.fixture
def server(running: Server) -> str:
    return running.url


@pytest.fixture
def bucket(running: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A bucket of its own, with five photos under `photos`, and the environment to reach it."""
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    name = f"bucket-{time.monotonic_ns()}"
    files = s3fs.S3FileSystem(endpoint_url=running.url, skip_instance_cache=True)
    files.mkdir(name)
    here = make_archive(tmp_path / "all", count=5)
    (tmp_path / "here").mkdir()
    for photo in sorted(here.glob("0?.jpg")):
        shutil.copy(photo, tmp_path / "here")
        files.put(str(photo), f"{name}/photos/{photo.name}")
    return name


def faceindex(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "faceindex.cli.main", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, check=False)
    assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def index(bucket: str, *more: object) -> dict[str, object]:
    where = ["index", f"s3://{bucket}/photos", "-c", f"s3://{bucket}/catalog", "--workers", 0, "--json"]
    document: dict[str, object] = json.loads(faceindex(*where, *more).stdout)
    return document


def test_photos_and_catalog_in_a_bucket_are_indexed_once_and_searched(bucket: str, server: str, tmp_path: Path) -> None:
    first, again = index(bucket), index(bucket)
    assert (first["embedded"], again["embedded"], again["unchanged"]) == (5, 0, 5)
    files = s3fs.S3FileSystem(endpoint_url=server, skip_instance_cache=True)
    files.copy(f"{bucket}/photos/00.jpg", f"{bucket}/photos/copy.jpg")
    third = index(bucket)
    assert third["embedded"] == 1
    assert third["changes"]["copied"] == 1  # type: ignore[index]

    catalog = f"s3://{bucket}/catalog"
    query = tmp_path / "query.jpg"
    files.get(f"{bucket}/photos/01.jpg", str(query))
    found = json.loads(faceindex("search", query, "-c", catalog, "--json").stdout)
    assert found["faces"][0]["candidates"][0]["photo"] == f"s3://{bucket}/photos/01.jpg"
    assert found["generation"] == third["generation"]
    status = json.loads(faceindex("status", "-c", catalog, "--json").stdout)
    assert sum(status["photos"].values()) == 6
    faceindex("check", "-c", catalog)
    faceindex("compact", "-c", catalog)
    faceindex("check", "--deep", "-c", catalog)


def test_a_bucket_is_listed_page_by_page_by_the_rules_of_folders(
    bucket: str, running: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PAGE_OBJECTS", 40)
    files = s3fs.S3FileSystem(endpoint_url=running.url, skip_instance_cache=True)
    photos = [f"{number % 20}/{number:04}.jpg" for number in range(35)]
    others = ["@eaDir/t.jpg", ".git/a/b.jpg", "x.xmp", ".hidden.jpg", "sub/.also/a.jpg"]
    catalog = ["CURRENT", "catalog.toml", "generations/000001.json", "lock"]
    files.pipe({f"{bucket}/tree/{name}": b"x" for name in [*photos, *others, "CURRENT", "folder/"]})
    files.pipe({f"{bucket}/tree/cat/{name}": CATALOG_MARK for name in catalog})
    running.new_requests()
    report = CrawlReport()

    found = {ref.path.decode().removeprefix(f"s3://{bucket}/tree/") for ref in crawl(f"s3://{bucket}/tree", report)}

    assert found == {*photos, "CURRENT"}
    assert report.ignored_files == {"hidden": 1, "not a picture": 1}
    assert report.ignored_folders == {"system folder": 1, "hidden": 2, "catalog": 1}
    asked = [method for method, path in running.new_requests() if "prefix" in path]
    assert asked == ["LIST"] * 3  # is it a folder, and two pages


def test_an_unchanged_photo_costs_no_request_of_its_own(bucket: str, running: Server) -> None:
    index_in_this_process(bucket)
    running.new_requests()
    report = index_in_this_process(bucket)

    asked = running.new_requests()
    assert (report.unchanged, report.generation) == (5, 1)
    assert [method for method, path in asked if "photos%2F" in path or "photos/" in path] == ["LIST"] * 2
    assert not [path for _, path in asked if "/faces/" in path or "/crops/" in path]
    assert len(asked) <= 30


HOLD = """
import sys, time
from faceindex.catalog.files import open_files
from faceindex.catalog.lock import writer_lock

with writer_lock(open_files(sys.argv[1]), "the first writer", lease_s=10):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_writer_is_told_who_writes(bucket: str, server: str) -> None:
    index(bucket)
    catalog = f"s3://{bucket}/catalog"
    with subprocess.Popen([sys.executable, "-c", HOLD, catalog], stdout=subprocess.PIPE, text=True, cwd=ROOT) as first:
        assert first.stdout
        assert first.stdout.readline() == "held\n"
        second = faceindex("index", f"s3://{bucket}/photos", "-c", catalog, "--workers", 0, code=75)
        first.send_signal(signal.SIGINT)
    assert "the first writer" in second.stderr
    assert index(bucket)["embedded"] == 0


RUN = """
import os, signal, sys
from dataclasses import replace
from faceindex.catalog.catalog import Catalog
from faceindex.config import Settings
from faceindex.errors import FaceIndexError
from faceindex.pipeline.run import IndexOptions, index_photos

photos, catalog, phase, number = sys.argv[1:]
Catalog.create(catalog, replace(Settings(), lock_lease_s=1.0))
strike = lambda now, *_: os.kill(os.getpid(), int(number)) if now == phase else None
try:
    index_photos(catalog, [photos], IndexOptions(workers=0), strike)
except FaceIndexError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@contextmanager
def struck(bucket: str, phase: str, blow: signal.Signals) -> Iterator[subprocess.Popen[str]]:
    """Start indexing, let a signal strike as a phase begins, and return the process when it has."""
    words = [sys.executable, "-c", RUN, f"s3://{bucket}/photos", f"s3://{bucket}/catalog", phase, str(int(blow))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
        try:
            yield process
        finally:
            process.kill()


def index_in_this_process(bucket: str) -> RunReport:
    return index_photos(f"s3://{bucket}/catalog", [f"s3://{bucket}/photos"], IndexOptions(workers=0))


def test_a_killed_run_is_followed_when_its_lease_is_over(bucket: str) -> None:
    with struck(bucket, "building the index", signal.SIGKILL) as killed:
        assert killed.wait() == -signal.SIGKILL

    report = index_in_this_process(bucket)

    assert (report.generation, report.photos, report.unchanged) == (1, {"ok": 5}, 0)
    assert "embed" not in report.clock.seconds
    faceindex("check", "-c", f"s3://{bucket}/catalog")


def test_a_run_that_wakes_after_another_has_published_changes_nothing(bucket: str, server: str) -> None:
    files = s3fs.S3FileSystem(endpoint_url=server, skip_instance_cache=True, use_listings_cache=False)
    with struck(bucket, "building the index", signal.SIGSTOP) as paused:
        files.rm_file(f"{bucket}/photos/04.jpg")
        assert index_in_this_process(bucket).photos == {"ok": 4}
        published = {path: found["ETag"] for path, found in files.find(f"{bucket}/catalog", detail=True).items()}
        paused.send_signal(signal.SIGCONT)
        said, _ = paused.communicate()

    assert paused.returncode == 75
    assert f"s3://{bucket}/catalog was taken over by" in said
    assert len(said.splitlines()) == 1
    assert {path: found["ETag"] for path, found in files.find(f"{bucket}/catalog", detail=True).items()} == published
    faceindex("check", "-c", f"s3://{bucket}/catalog")


def test_photos_in_a_bucket_may_be_indexed_here_and_those_here_in_a_bucket(bucket: str, tmp_path: Path) -> None:
    faceindex("index", f"s3://{bucket}/photos", "-c", tmp_path / "catalog", "--workers", 0)
    faceindex("index", tmp_path / "here", "-c", f"s3://{bucket}/other", "--workers", 2)

    here, there = (
        json.loads(faceindex("status", "-c", catalog, "--json").stdout)
        for catalog in (tmp_path / "catalog", f"s3://{bucket}/other")
    )
    assert here["photos"] == there["photos"]
    assert here["faces"] == there["faces"] == 5


@pytest.mark.parametrize("what", ["photos", "catalog"])
def test_a_bucket_that_is_not_there_is_told_in_one_line(bucket: str, tmp_path: Path, what: str) -> None:
    nowhere = f"s3://{bucket}-nowhere/x"
    photos = nowhere if what == "photos" else str(tmp_path / "here")
    catalog = nowhere if what == "catalog" else str(tmp_path / "catalog")

    done = faceindex("index", photos, "-c", catalog, "--workers", 0, code=2 if what == "photos" else 1)

    assert len(done.stderr.strip().splitlines()) == 1
    assert nowhere in done.stderr


def test_a_server_that_does_not_answer_is_told_in_one_line(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")  # nobody listens on it

    done = faceindex("index", f"s3://{bucket}/photos", "-c", tmp_path / "catalog", "--workers", 0, code=2)

    assert len(done.stderr.strip().splitlines()) == 1
