"""Whole runs of the command line on real photographs."""

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from faceindex.catalog.catalog import Catalog
from faceindex.cli.main import cli
from faceindex.config import Settings
from faceindex.errors import CatalogError, ConfigError, LockedError, ModelMismatchError, NothingFoundError
from faceindex.pipeline.run import IndexOptions, index_photos
from tests.support.archives import ROOT, data_files, faceindex, make_archive, portrait

HERE = IndexOptions(workers=0)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("archive") / "photos")


@pytest.fixture(scope="module")
def indexed(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of the archive; not to be changed."""
    catalog = tmp_path_factory.mktemp("indexed") / "catalog"
    index_photos(str(catalog), [str(archive)], HERE)
    return catalog


def test_every_file_ends_in_exactly_one_state(archive: Path, tmp_path: Path) -> None:
    report = index_photos(str(tmp_path / "catalog"), [str(archive)], HERE)

    assert report.photos == {"ok": 12, "no_face": 1, "truncated": 1, "unsupported": 1}
    assert sum(report.photos.values()) == len(list(archive.iterdir()))
    assert {Path(row["photo"]).name: row["state"] for row in report.quarantined} == {
        "broken.jpg": "truncated",
        "text.jpg": "unsupported",
    }
    assert (report.embedded, report.unchanged, report.removed) == (13, 0, 0)


def test_workers_and_this_process_write_the_same_bytes(archive: Path, indexed: Path, tmp_path: Path) -> None:
    run = faceindex("index", archive, "-c", tmp_path / "catalog", "--workers", 2, "--json")

    assert run.returncode == 3
    assert json.loads(run.stdout)["schema"] == "faceindex.run/1"
    assert data_files(tmp_path / "catalog") == data_files(indexed)


def test_little_memory_writes_the_same_bytes(archive: Path, indexed: Path, tmp_path: Path) -> None:
    run = faceindex("index", archive, "-c", tmp_path / "catalog", "--workers", 2, "--memory", "64MiB")

    assert run.returncode == 3, run.stderr
    assert data_files(tmp_path / "catalog") == data_files(indexed)


def test_a_photo_that_memory_cannot_hold_is_told_and_done_with_more(archive: Path, tmp_path: Path) -> None:
    photos, catalog = tmp_path / "photos", str(tmp_path / "catalog")
    photos.mkdir()
    Image.new("RGB", (2500, 2000), "grey").save(photos / "large.png", compress_level=1)
    shutil.copy(archive / "00.jpg", photos)

    [row] = index_photos(catalog, [str(photos)], IndexOptions(workers=0, memory_bytes=64 << 20)).quarantined
    again = index_photos(catalog, [str(photos)], IndexOptions(workers=0, retry_failed=True))

    assert (Path(row["photo"]).name, row["state"]) == ("large.png", "too_large")
    assert "--memory 64 MiB; give more and --retry-failed" in row["detail"]
    assert again.photos == {"ok": 1, "no_face": 1}


def test_a_second_run_reads_no_photo_and_publishes_nothing(archive: Path, tmp_path: Path) -> None:
    photos = shutil.copytree(archive, tmp_path / "photos")
    catalog = tmp_path / "catalog"
    first = index_photos(str(catalog), [str(photos)], HERE)
    before = {path: path.stat().st_atime_ns for path in photos.iterdir()}
    for path in photos.iterdir():  # unreadable now, but listed with the same size and time
        path.chmod(0o000)

    second = index_photos(str(catalog), [str(photos)], HERE)

    assert (second.embedded, second.unchanged, second.quarantined) == (0, len(before), [])
    assert second.generation == first.generation


def test_only_what_changed_is_read_and_ids_survive_moves_and_touches(archive: Path, tmp_path: Path) -> None:
    photos = shutil.copytree(archive, tmp_path / "photos")
    catalog = tmp_path / "catalog"
    index_photos(str(catalog), [str(photos)], HERE)
    before = face_ids(catalog)
    (photos / "00.jpg").rename(photos / "moved.jpg")
    os.utime(photos / "01.jpg")
    shutil.copy(photos / "02.jpg", photos / "copy.jpg")
    (photos / "03.jpg").unlink()

    report = index_photos(str(catalog), [str(photos)], HERE)

    after = face_ids(catalog)
    assert (report.embedded, report.removed) == (3, 2)
    assert after["moved.jpg"] == before["00.jpg"]
    assert after["01.jpg"] == before["01.jpg"]
    assert set(before) - set(after) == {"00.jpg", "03.jpg"}
    assert report.faces == 11
    assert report.clock.seconds.get("embed") is None, "moved, touched and copied photos cost no embedding"


def face_ids(catalog: Path) -> dict[str, bytes]:
    import faceindex

    table = faceindex.open(str(catalog)).faces()
    photos = [Path(photo).name for photo in table["photo"].to_pylist()]
    return dict(zip(photos, table["face_id"].to_pylist(), strict=True))


def test_failed_photos_are_tried_again_only_when_asked(archive: Path, tmp_path: Path) -> None:
    photos = shutil.copytree(archive, tmp_path / "photos")
    catalog = tmp_path / "catalog"
    index_photos(str(catalog), [str(photos)], HERE)
    whole = (photos / "00.jpg").read_bytes()
    before = (photos / "broken.jpg").stat()
    (photos / "broken.jpg").write_bytes(whole[: before.st_size])
    os.utime(photos / "broken.jpg", ns=(before.st_atime_ns, before.st_mtime_ns))

    assert index_photos(str(catalog), [str(photos)], HERE).embedded == 0
    again = index_photos(str(catalog), [str(photos)], IndexOptions(workers=0, retry_failed=True))

    assert [row["state"] for row in again.quarantined] == ["truncated", "unsupported"]


def test_an_unmounted_folder_is_not_forgotten(archive: Path, tmp_path: Path) -> None:
    photos = shutil.copytree(archive, tmp_path / "photos")
    catalog = tmp_path / "catalog"
    index_photos(str(catalog), [str(photos)], HERE)
    for path in photos.iterdir():
        path.unlink()

    with pytest.raises(CatalogError, match="is it mounted"):
        index_photos(str(catalog), [str(photos)], HERE)
    report = index_photos(str(catalog), [str(photos)], IndexOptions(workers=0, allow_removals=True))

    assert (report.removed, report.faces, report.photos) == (15, 0, {})


def test_a_dry_run_writes_nothing(archive: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"

    report = index_photos(str(catalog), [str(archive)], IndexOptions(workers=0, dry_run=True))

    assert report.embedded == 15
    assert not catalog.exists()


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random_moments_it_ends_with_the_bytes_of_an_undisturbed_run(
    archive: Path, indexed: Path, tmp_path: Path, seed: int
) -> None:
    catalog = tmp_path / "catalog"
    moments = random.Random(seed)
    command = [sys.executable, "-m", "faceindex.cli.main", "index", str(archive), "-c", str(catalog), "--workers", "1"]
    for _ in range(4):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.2, 3.0))
        process.send_signal(signal.SIGKILL)
        process.wait()

    last = faceindex(*command[3:])

    assert last.returncode in (0, 3), last.stderr
    assert data_files(catalog) == data_files(indexed)
    assert faceindex("check", "-c", catalog).returncode == 0


def test_a_photo_that_kills_its_worker_costs_only_itself(archive: Path, tmp_path: Path) -> None:
    """libjpeg crashing is outside our reach, so a decoder that dies on a mark stands for it."""
    photos = shutil.copytree(archive, tmp_path / "photos")
    with (photos / "05.jpg").open("ab") as file:
        file.write(b"THIS PICTURE KILLS ITS DECODER")
    preload = tmp_path / "deadly.py"
    preload.write_text(
        "import os, signal\n"
        "import simplejpeg\n"
        "def deadly(payload, *arguments, decode=simplejpeg.decode_jpeg, **options):\n"
        "    if payload.endswith(b'THIS PICTURE KILLS ITS DECODER'):\n"
        "        os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    return decode(payload, *arguments, **options)\n"
        "simplejpeg.decode_jpeg = deadly\n"
    )
    environment = {**os.environ, "DASK_DISTRIBUTED__WORKER__PRELOAD": str(preload)}

    asked = ("--workers", 2, "--json", "--log-file", tmp_path / "log")
    run = faceindex("index", photos, "-c", tmp_path / "catalog", *asked, env=environment)

    report = json.loads(run.stdout)
    assert run.returncode == 3
    logged = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["times"] for line in logged if line["event"] == "worker_lost"] == [1, 2]
    assert sum(line["event"] == "worker_ready" for line in logged) > 2
    states = {Path(row["photo"]).name: row["state"] for row in report["quarantined"]}
    assert states == {"05.jpg": "crashed_decoder", "broken.jpg": "truncated", "text.jpg": "unsupported"}
    assert report["photos"] == {"ok": 11, "no_face": 1, "truncated": 1, "unsupported": 1, "crashed_decoder": 1}


def test_a_photo_that_takes_too_long_costs_only_itself(archive: Path, tmp_path: Path) -> None:

    photos = shutil.copytree(archive, tmp_path / "photos")
    Image.new("RGB", (9000, 9000), "grey").save(photos / "slow.png", compress_level=1)
    catalog = Catalog.create(str(tmp_path / "catalog"), dataclasses.replace(Settings(), photo_timeout_s=0.15))

    report = index_photos(catalog.root, [str(photos)], HERE)

    assert report.photos["timeout"] == 1
    assert report.photos["ok"] == 12


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_keeps_what_is_done_says_how_to_go_on_and_does(
    archive: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """The signal goes to the whole process group, as Ctrl-C does."""
    settings = dataclasses.replace(Settings(), batch_photos=1)
    undisturbed = Catalog.create(str(tmp_path / "undisturbed"), settings)
    index_photos(undisturbed.root, [str(archive)], HERE)
    catalog = Path(Catalog.create(str(tmp_path / "catalog"), settings).root)
    command = [sys.executable, "-m", "faceindex.cli.main", "index", str(archive), "-c", str(catalog), "--workers", "1"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes)  # type: ignore[call-overload]
    while not list(catalog.glob("photos/*/*.parquet")):
        time.sleep(0.01)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=120)

    assert process.returncode == code, errors
    assert "run the same command again" in errors
    assert data_files(catalog).items() < data_files(Path(undisturbed.root)).items()
    assert faceindex(*command[3:]).returncode == 3
    assert data_files(catalog) == data_files(Path(undisturbed.root))


def test_two_writers_one_gets_told_who_the_other_is(archive: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    index_photos(str(catalog), [str(archive)], HERE)

    with Catalog.open(str(catalog)).lock("nightly"), pytest.raises(LockedError, match="nightly") as refused:
        index_photos(str(catalog), [str(archive)], HERE)

    assert refused.value.exit_code == 75


def test_an_empty_folder_and_a_missing_one_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(NothingFoundError, match="no photos"):
        index_photos(str(tmp_path / "catalog"), [str(tmp_path / "empty")], HERE)
    with pytest.raises(ConfigError, match="does not exist"):
        index_photos(str(tmp_path / "catalog"), [str(tmp_path / "missing")], HERE)
    assert not (tmp_path / "catalog").exists()


def test_a_catalog_keeps_its_model(archive: Path, indexed: Path) -> None:
    with pytest.raises(ModelMismatchError, match="another catalog"):
        index_photos(str(indexed), [str(archive)], IndexOptions(workers=0, model="facenet-casia"))


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (["--min-face", "40"], {"min_face_px": 40, "min_face_share": 0.0}),
        (["--min-face", "7%"], {"min_face_px": 12, "min_face_share": 0.07}),
        (["--thorough"], {"min_face_px": 12, "min_face_share": 0.0, "detect_side_px": 2560, "turned": True}),
        (
            ["--thorough", "--min-face", "30px"],
            {"min_face_px": 30, "min_face_share": 0.0, "detect_side_px": 2560, "turned": True},
        ),
        (
            ["--thorough", "--min-face", "5%"],
            {"min_face_px": 12, "min_face_share": 0.05, "detect_side_px": 2560, "turned": True},
        ),
    ],
)
def test_a_new_catalog_keeps_how_small_faces_are_looked_for(
    archive: Path, tmp_path: Path, options: list[str], settings: dict[str, Any]
) -> None:
    catalog = str(tmp_path / "catalog")

    first, again, plain = (
        CliRunner().invoke(cli, ["index", str(archive / "00.jpg"), "-c", catalog, "--workers", "0", *more])
        for more in (options, options, [])
    )

    assert [first.exit_code, again.exit_code, plain.exit_code] == [0, 0, 0], first.output
    kept = Catalog.open(catalog).settings
    assert kept == dataclasses.replace(Settings(), roots=kept.roots, **settings)


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        (["--min-face", "40"], "min_face_px = 20, 40 asked for"),
        (["--min-face", "7%"], "min_face_px = 20, 12 asked for"),
        (["--thorough"], "min_face_px = 20, 12 asked for"),
        (["--min-face", "20"], "min_face_share = 0.04, 0.0 asked for"),
    ],
)
def test_a_catalog_keeps_how_small_faces_are_looked_for(
    archive: Path, indexed: Path, options: list[str], refused: str
) -> None:
    result = CliRunner().invoke(cli, ["index", str(archive), "-c", str(indexed), "--workers", "0", *options])

    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert f"{indexed} was made with {refused}; index the photos into another catalog with -c" in result.stderr


def test_small_faces_and_turned_photos_are_found_when_asked_for(tmp_path: Path) -> None:
    """The small face has 15 pixels, of a photo in which faces of 60 pixels and more are looked for by default."""
    photos = tmp_path / "photos"
    photos.mkdir()
    picture = Image.new("RGB", (2500, 1500), "grey")
    picture.paste(portrait("hopper").resize((40, 47)), (1200, 700))
    picture.save(photos / "small.png", compress_level=1)
    portrait("astronaut").rotate(90).save(photos / "turned.png")

    quick, thorough = (
        index_photos(str(tmp_path / str(thorough)), [str(photos)], IndexOptions(workers=0, thorough=thorough))
        for thorough in (False, True)
    )

    assert (quick.faces, thorough.faces) == (0, 2)


def test_a_catalog_behind_a_url_holds_the_same_bytes(archive: Path, indexed: Path, tmp_path: Path) -> None:
    """`local://` goes through fsspec and its object-store road, in workers too."""
    run = faceindex("index", archive, "-c", f"local://{tmp_path}/catalog", "--workers", 1)

    assert run.returncode == 3, run.stderr
    assert data_files(tmp_path / "catalog") == data_files(indexed)


def test_files_are_private_to_their_owner(indexed: Path) -> None:
    for path in indexed.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
