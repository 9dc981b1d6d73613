"""A week of an archive that people work on: each morning the catalog is what the folder is."""

import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.changing_archive import (
    Photo,
    add,
    corrupt,
    delete,
    faces_of,
    identity,
    move,
    photos_of,
    searchable,
    torn,
    touch,
)
from faceindex.arrays import ids_array
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.upkeep import collect
from faceindex.errors import CatalogError
from faceindex.identities.labelling import Labelling
from faceindex.identities.people import PeopleOf
from faceindex.identities.selection import Selection
from faceindex.pipeline.compact import compact
from faceindex.pipeline.report import RunReport
from faceindex.pipeline.run import IndexOptions, index_photos

HERE = IndexOptions(workers=0)
Night = Callable[[random.Random, Path, list[Path]], None]


def night(catalog: Path, photos: Path, options: IndexOptions = HERE) -> RunReport:
    return index_photos(str(catalog), [str(photos)], options)


def counted(report: RunReport) -> dict[str, int]:
    return {name: count for name, count in report.changes.items() if count}


@pytest.fixture(scope="module")
def originals(shared_data: Path) -> list[Path]:
    """Two photos each of ten people."""
    folders = sorted(path for path in (shared_data / "lfw-dev").iterdir() if path.is_dir())
    pairs = [sorted(folder.iterdir())[:2] for folder in folders]
    return [photo for pair in [pair for pair in pairs if len(pair) == 2][:10] for photo in pair]


@pytest.fixture(scope="module")
def truth(originals: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Mapping[bytes, Photo], Path]:
    """State and face count of all bytes there will ever be, from one run over them; and that run's catalog."""
    folder = tmp_path_factory.mktemp("truth")
    pool = folder / "pool"
    pool.mkdir()
    for number, photo in enumerate(originals):
        shutil.copy(photo, pool / f"{number}.jpg")
        (pool / f"{number}-torn.jpg").write_bytes(torn(photo))
    night(folder / "catalog", pool)
    found = photos_of(folder / "catalog")
    return {identity(Path(path)): photo for path, (_, photo) in found.items()}, folder / "catalog"


def everything(generator: random.Random, photos: Path, originals: list[Path]) -> None:
    add(generator, photos, originals)
    for change in (move, touch, delete):
        change(generator, photos)


NIGHTS: list[Night] = [
    add,
    lambda generator, photos, _: move(generator, photos),
    lambda generator, photos, _: touch(generator, photos),
    lambda generator, photos, _: delete(generator, photos),
    lambda generator, photos, _: corrupt(generator, photos),
    everything,
    add,
]


def test_after_each_night_of_a_week_the_catalog_is_what_a_fresh_index_of_the_folder_is(
    originals: list[Path], truth: tuple[Mapping[bytes, Photo], Path], tmp_path: Path
) -> None:
    generator = random.Random(6)
    photos, catalog = tmp_path / "photos", tmp_path / "catalog"
    photos.mkdir()
    for photo in originals[:14]:
        shutil.copy(photo, photos)
    night(catalog, photos)
    opened = Catalog.open(str(catalog))
    served = opened.current()
    assert served is not None
    named = PeopleOf(opened, served)
    places = named.now().rows.places.tolist()
    Labelling(named, "tester").name(Selection("face", "", tuple(places[:4])), "Anna")
    spoken_of = {bytes(face) for face in named.now().rows.ids(named.now().rows.places)[:4]}
    all_faces = faces_of(truth[1])

    for change in NIGHTS:
        before = len(photos_of(catalog))
        change(generator, photos, originals)
        report = night(catalog, photos, IndexOptions(workers=0, allow_removals=True))

        there = {str(photo): identity(photo) for photo in photos.rglob("*.jpg")}
        found = photos_of(catalog)
        assert {path: photo for path, (_, photo) in found.items()} == {
            path: truth[0][bytes_there] for path, bytes_there in there.items()
        }
        wanted = {face: entry for face, entry in all_faces.items() if entry[0] in set(there.values())}
        assert faces_of(catalog) == wanted
        assert searchable(catalog) == set(wanted)
        grown = sum(report.changes[name] for name in ("new", "copied")) - report.changes["deleted"]
        assert grown == len(there) - before
        served = opened.current()
        assert served is not None
        now = PeopleOf(opened, served).now()
        kept = {bytes(face) for face in now.rows.ids(now.rows.places)} & spoken_of
        assert now.name_of(ids_array(sorted(kept))) == ["Anna"] * len(kept)
    fresh = tmp_path / "fresh"
    night(fresh, photos)
    assert photos_of(fresh) == photos_of(catalog)
    assert faces_of(fresh) == faces_of(catalog)


def test_what_happened_to_each_photo_is_told(originals: list[Path], tmp_path: Path) -> None:
    photos, catalog = tmp_path / "photos", tmp_path / "catalog"
    photos.mkdir()
    for number, photo in enumerate(originals[:7]):
        shutil.copy(photo, photos / f"{number}.jpg")
    assert counted(night(catalog, photos)) == {"new": 7}

    (photos / "0.jpg").rename(photos / "moved.jpg")
    shutil.copy(photos / "1.jpg", photos / "copy.jpg")
    (photos / "2.jpg").touch()
    (photos / "3.jpg").write_bytes(originals[8].read_bytes())
    (photos / "4.jpg").unlink()
    shutil.copy(originals[9], photos / "new.jpg")
    report = night(catalog, photos)

    assert counted(report) == {"moved": 1, "copied": 1, "touched": 1, "changed": 1, "deleted": 1, "new": 1}
    assert counted(night(catalog, photos)) == {}


def test_a_folder_that_is_renamed_is_not_taken_for_a_disk_that_is_away(originals: list[Path], tmp_path: Path) -> None:
    photos, catalog = tmp_path / "photos", tmp_path / "catalog"
    (photos / "a").mkdir(parents=True)
    for photo in originals[:5]:
        shutil.copy(photo, photos / "a")
    night(catalog, photos)
    (photos / "a").rename(photos / "b")

    assert counted(night(catalog, photos)) == {"moved": 5}


def test_a_disk_that_was_away_costs_nothing_when_it_is_back(originals: list[Path], tmp_path: Path) -> None:
    photos, catalog, away = tmp_path / "photos", tmp_path / "catalog", tmp_path / "away"
    photos.mkdir()
    for photo in originals[:6]:
        shutil.copy(photo, photos)
    night(catalog, photos)
    whole, faces = photos_of(catalog), faces_of(catalog)
    photos.rename(away)
    photos.mkdir()
    shutil.copy(originals[7], photos)

    with pytest.raises(CatalogError, match="is it mounted"):
        night(catalog, photos)
    assert photos_of(catalog) == whole
    night(catalog, photos, IndexOptions(workers=0, allow_removals=True))
    assert not searchable(catalog) & set(faces)
    opened = Catalog.open(str(catalog))
    with opened.lock("test"):
        served = opened.current()
        assert served is not None
        compact(opened, served)
    shutil.rmtree(photos)
    away.rename(photos)
    report = night(catalog, photos, IndexOptions(workers=0, allow_removals=True))

    assert photos_of(catalog) == whole
    assert faces_of(catalog) == faces
    assert searchable(catalog) == set(faces)
    assert "embed" not in report.clock.seconds
    assert counted(report) == {"new": 6, "deleted": 1}


def test_a_photo_that_was_damaged_costs_nothing_when_it_is_mended(originals: list[Path], tmp_path: Path) -> None:
    photos, catalog = tmp_path / "photos", tmp_path / "catalog"
    photos.mkdir()
    for photo in originals[:6]:
        shutil.copy(photo, photos)
    night(catalog, photos)
    whole, faces = photos_of(catalog), faces_of(catalog)
    (photos / originals[0].name).write_bytes(torn(originals[0]))
    assert night(catalog, photos).photos["truncated"] == 1
    assert len(faces_of(catalog)) < len(faces)

    shutil.copy(originals[0], photos)
    report = night(catalog, photos)

    assert "embed" not in report.clock.seconds
    assert (photos_of(catalog), faces_of(catalog), searchable(catalog)) == (whole, faces, set(faces))


def test_after_the_time_of_grace_nothing_is_left(originals: list[Path], tmp_path: Path) -> None:
    photos, catalog = tmp_path / "photos", tmp_path / "catalog"
    photos.mkdir()
    for photo in originals[:6]:
        shutil.copy(photo, photos)
    night(catalog, photos)
    opened = Catalog.open(str(catalog))
    gone = photos / originals[0].name
    embeddings = [vector for photo, vector in faces_of(catalog).values() if photo == identity(gone)]
    gone.unlink()
    night(catalog, photos)
    assert embeddings
    assert all(stored(catalog, vector) for vector in embeddings)
    opened.with_settings(replace(opened.settings, removal_grace_days=0))

    forgetting = Catalog.open(str(catalog))
    with forgetting.lock("test"):
        served = forgetting.current()
        assert served is not None
        compact(forgetting, served)
        collect(forgetting.files, keep=1, grace_s=0)
    assert not any(stored(catalog, vector) for vector in embeddings)


def stored(catalog: Path, vector: bytes) -> bool:
    """Return whether any file of the catalog holds an embedding."""
    return any(vector in path.read_bytes() for path in catalog.rglob("*") if path.is_file())
