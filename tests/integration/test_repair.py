"""Files of a published catalog that are damaged, and what `faceindex check` says to do about it, done."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.changing_archive import faces_of, photos_of, searchable, served_of
from faceindex.arrays import ids_array
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import BatchFiles
from faceindex.catalog.live import open_view
from faceindex.cli.main import cli
from faceindex.config import Settings
from faceindex.identities.labelling import Labelling
from faceindex.identities.people import PeopleOf
from faceindex.identities.selection import Selection
from faceindex.pipeline.report import RunReport
from faceindex.pipeline.run import IndexOptions, index_photos
from tests.support.archives import make_archive

Damaged = Callable[[Path], str]
"""Returns which file of a catalog is damaged."""


def index(root: Path) -> RunReport:
    return index_photos(str(root / "catalog"), [str(root / "photos")], IndexOptions(workers=0, allow_removals=True))


def faceindex(*words: str) -> tuple[int, str]:
    ended = CliRunner().invoke(cli, words)
    return ended.exit_code, " ".join(ended.output.split())


def batch_left_behind(catalog: Path) -> BatchFiles:
    """Return the batch whose photos have all moved, and which still holds their faces."""
    opened, served = served_of(catalog)
    there = set(open_view(opened.files, served)["batch"].to_pylist())
    [left] = served.batches.keys() - there
    return served.batches[left]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of several batches, some with faces of photos that have moved since, and one person's name."""
    root = tmp_path_factory.mktemp("repair")
    Catalog.create(str(root / "catalog"), replace(Settings(), batch_photos=4))
    photos = make_archive(root / "photos", count=8)
    index(root)
    (photos / "moved").mkdir()
    for name in ("00.jpg", "01.jpg", "02.jpg", "03.jpg"):
        (photos / name).rename(photos / "moved" / name)
    (photos / "07.jpg").unlink()
    index(root)
    opened, served = served_of(root / "catalog")
    people = PeopleOf(opened, served)
    Labelling(people, "tester").name(Selection("face", "", tuple(people.now().rows.places[:3].tolist())), "Anna")
    return root


@pytest.mark.parametrize(
    "damaged",
    [
        lambda catalog: batch_left_behind(catalog).faces.path,
        lambda catalog: batch_left_behind(catalog).photos.path,
        lambda catalog: batch_left_behind(catalog).crops.path,
        lambda catalog: served_of(catalog)[1].view.path,
        lambda catalog: served_of(catalog)[1].missing.path,
        lambda catalog: served_of(catalog)[1].shards[0].files[0].path,
        lambda catalog: served_of(catalog)[1].shards[-1].files[-1].path,
        lambda catalog: served_of(catalog)[1].calibration["thresholds"].path,
        lambda catalog: next(iter(served_of(catalog)[1].runs.values()))[0].path,
        lambda catalog: next(iter(served_of(catalog)[1].runs.values()))[1].path,
    ],
    ids=["faces", "photos", "crops", "view", "missing", "shard", "vectors", "thresholds", "plan", "report"],
)
def test_doing_what_check_says_brings_back_all_that_a_damaged_file_held(published: Path, damaged: Damaged) -> None:
    kept = published.parent / f"{published.name}-kept"
    shutil.copytree(published / "catalog", kept)
    catalog = published / "catalog"
    try:
        photos, faces = photos_of(catalog), faces_of(catalog)
        path = damaged(catalog)
        data = bytearray((catalog / path).read_bytes())
        data[len(data) // 2] ^= 4
        (catalog / path).write_bytes(data)

        code, said = faceindex("check", "-c", str(catalog))
        assert (code, path in said) == (5, True)
        commands = re.findall(r"`faceindex ([^`]+)`", said.partition(path)[2].partition("damaged")[2])
        assert commands[0] == "check --repair"
        assert faceindex("check", "--repair", "-c", str(catalog))[0] == 0
        report = index(published)

        held_data = path.startswith(("faces/", "photos/", "crops/"))
        assert ("embed" in report.clock.seconds) == held_data
        assert report.attempted <= 4
        assert (commands[1:] == ["index"]) == (held_data or path.endswith(".photos.arrow"))
        assert (photos_of(catalog), faces_of(catalog), searchable(catalog)) == (photos, faces, set(faces))
        assert faceindex("check", "--deep", "-c", str(catalog))[0] == 0
        opened, served = served_of(catalog)
        named = PeopleOf(opened, served).now().name_of(ids_array(sorted(faces)))
        assert named.count("Anna") == 3
    finally:
        shutil.rmtree(catalog)
        kept.rename(catalog)
