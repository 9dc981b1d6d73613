import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from faceindex.catalog import generations
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import Generation
from faceindex.catalog.live import live_faces, open_view, write_view
from faceindex.catalog.parquet import read_table, write_arrow, write_table
from faceindex.catalog.upkeep import check, collect
from faceindex.config import Settings
from faceindex.gallery.audit import audit
from faceindex.gallery.opening import open_gallery
from faceindex.gallery.renew import with_gallery
from faceindex.pipeline import compact as compaction
from faceindex.pipeline.compact import compact, is_due
from faceindex.tables import from_float16_column, from_id_column
from faceindex.types import CandidateLists
from tests.support.catalogs import make_generation, photo_result, photo_results, write_batch
from tests.support.nights import grown

IVF = "IVF4,PQ4x4fs"


@pytest.fixture(scope="module", params=["exact", IVF])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(grown(tmp_path_factory.mktemp("made") / "catalog", request.param, [1200, 300, 40, 5]).root)


@pytest.fixture
def catalog(made: Path, tmp_path: Path) -> Catalog:
    return Catalog.open(str(shutil.copytree(made, tmp_path / "catalog")))


def served(catalog: Catalog) -> Generation:
    generation = catalog.current()
    assert generation is not None
    return generation


def data_paths(catalog: Catalog) -> set[str]:
    return {path for path in catalog.files.paths() if path.startswith(("photos/", "faces/", "crops/", "shards/"))}


def answers(catalog: Catalog, generation: Generation) -> CandidateLists:
    faces = live_faces(catalog.files, generation)
    probes = from_float16_column(faces["embedding"])[::7].astype(np.float32)
    return open_gallery(catalog.files, generation).search(probes, generation.model, 5)


def test_the_same_photos_and_faces_stand_in_one_batch_and_one_shard_without_what_is_dead(catalog: Catalog) -> None:
    before = served(catalog)

    after = compact(catalog, before)

    assert after == served(catalog)
    assert after.number == before.number + 1
    assert len(before.batches) == 4
    assert len(after.batches) == len(after.shards) == 1
    assert after.tombstones is None
    assert after.face_count == before.face_count
    assert list(audit(catalog.files, after)) == []
    assert not [problem for problem in check(catalog.files) if problem.damaged]
    columns = ["photo_id", "path", "size_bytes", "mtime_ns", "state", "detail", "face_count"]
    views = [open_view(catalog.files, generation).select(columns) for generation in (before, after)]
    assert views[0].equals(views[1])
    assert live_faces(catalog.files, before).equals(live_faces(catalog.files, after))
    [batch] = after.batches.values()
    photos = read_table(catalog.files, batch.photos)
    assert sorted(photos["path"].to_pylist()) == sorted(views[1]["path"].to_pylist())
    faces = read_table(catalog.files, batch.faces)
    assert (
        len(faces) == after.face_count < sum(len(read_table(catalog.files, b.faces)) for b in before.batches.values())
    )
    assert batch.crops
    crops = read_table(catalog.files, batch.crops)
    assert sorted(crops["face_id"].to_pylist()) == sorted(faces["face_id"].to_pylist())


def test_searches_have_the_answers_they_had(catalog: Catalog) -> None:
    before = served(catalog)
    expected = answers(catalog, before)

    found = answers(catalog, compact(catalog, before))

    same = found.face_ids[:, 0] == expected.face_ids[:, 0]
    assert same.mean() >= (1.0 if before.recipe.factory == "exact" else 0.95)
    np.testing.assert_array_equal(found.similarities[same][:, 0], expected.similarities[same][:, 0])


def test_what_is_compact_is_left_as_it_is(catalog: Catalog) -> None:
    once = compact(catalog, served(catalog))
    paths = sorted(catalog.files.paths())

    assert compact(catalog, once) is once
    assert sorted(catalog.files.paths()) == paths


def test_compaction_is_due_while_rows_of_forgotten_photos_are_there(catalog: Catalog) -> None:
    assert is_due(catalog, served(catalog))
    assert not is_due(catalog, compact(catalog, served(catalog)))


def test_compaction_is_due_when_there_are_many_small_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = Catalog.create(str(tmp_path / "catalog"), Settings())
    names = [f"{number:02}" * 16 for number in range(3)]
    batches = {
        name: write_batch(catalog.files, name, photo_results(20 * place, 20)) for place, name in enumerate(names)
    }
    draft = replace(make_generation(catalog.files, batches, None), shards=(), tombstones=None)
    generations.publish(catalog.files, with_gallery(catalog.files, draft, "exact"))

    assert not is_due(catalog, served(catalog))
    monkeypatch.setattr(compaction, "DUE_BATCHES", 2)
    assert is_due(catalog, served(catalog))
    assert not is_due(catalog, compact(catalog, served(catalog)))


def test_old_files_go_when_no_reader_can_need_them(catalog: Catalog) -> None:
    after = compact(catalog, served(catalog))

    collect(catalog.files, keep=1, grace_s=0)

    needed = {entry.path for entry in after.entries()}
    assert data_paths(catalog) <= needed


def test_stopped_before_it_publishes_it_does_the_same_again(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    before = served(catalog)

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("faceindex.catalog.generations.publish", fail)
        with pytest.raises(OSError, match="the disk is full"):
            compact(catalog, before)
    assert served(catalog) == before
    assert list(audit(catalog.files, before)) == []
    written = data_paths(catalog)

    compact(catalog, before)

    assert data_paths(catalog) == written


def test_a_lost_shard_is_rebuilt_from_the_data_files(catalog: Catalog) -> None:
    before = served(catalog)
    expected = answers(catalog, before)
    for shard in before.shards:
        for entry in shard.files:
            catalog.files.write(entry.path, b"damaged")

    after = compact(catalog, before, rebuild=True)

    assert list(audit(catalog.files, after)) == []
    found = answers(catalog, after)
    assert (found.face_ids[:, 0] == expected.face_ids[:, 0]).mean() >= 0.95


def test_even_one_photo_that_is_gone_leaves_no_row_of_it_behind(tmp_path: Path) -> None:
    catalog = Catalog.create(str(tmp_path / "catalog"), Settings())
    files, batch = catalog.files, "01" * 16
    draft = make_generation(files, {batch: write_batch(files, batch, photo_results(0, 20))}, None)
    view = open_view(files, draft)
    [gone] = view.filter(pc.equal(view["path"], photo_result(7).ref.path))["photo_id"].to_pylist()
    kept = view.filter(pc.not_equal(view["path"], photo_result(7).ref.path))
    draft = replace(draft, shards=(), tombstones=None, view=write_view(files, 1, kept))
    generations.publish(files, with_gallery(files, draft, "exact"))

    after = compact(catalog, served(catalog))

    [entries] = after.batches.values()
    for entry in (entries.photos, entries.faces):
        assert gone not in read_table(files, entry)["photo_id"].to_pylist()
    assert compact(catalog, after) is after


def test_a_photo_whose_first_copy_is_gone_keeps_its_faces(tmp_path: Path) -> None:
    """Its faces stand in the batch where its bytes were first seen, its path in another."""
    catalog = Catalog.create(str(tmp_path / "catalog"), Settings())
    files = catalog.files
    copy = replace(photo_result(7, b"/photos/copy.jpg"), faces=None)
    batches = {
        "01" * 16: write_batch(files, "01" * 16, photo_results(0, 20)),
        "02" * 16: write_batch(files, "02" * 16, [copy]),
    }
    draft = replace(make_generation(files, batches, None), shards=(), tombstones=None)
    view = open_view(files, draft)
    kept = [batch != "01" * 16 for batch in view["batch"].to_pylist()]
    draft = replace(draft, view=write_view(files, 1, view.filter(np.array(kept))))
    generations.publish(files, with_gallery(files, draft, "exact"))
    before = served(catalog)
    assert before.face_count == 1

    after = compact(catalog, before)

    assert len(after.batches) == 1
    assert (
        from_id_column(live_faces(files, after)["face_id"]).tolist()
        == from_id_column(live_faces(files, before)["face_id"]).tolist()
    )
    assert list(audit(files, after)) == []


def test_files_that_lack_a_column_added_later_are_merged_and_searched(catalog: Catalog) -> None:
    before = served(catalog)
    batches = {}
    for name, entries in before.batches.items():
        photos = read_table(catalog.files, entries.photos)
        batches[name] = replace(
            entries, photos=write_table(catalog.files, entries.photos.path, photos.drop_columns(["person"]))
        )
    view = open_view(catalog.files, before).drop_columns(["person"])
    earlier = replace(
        before,
        number=before.number + 1,
        previous=before.number,
        batches=batches,
        view=write_arrow(catalog.files, before.view.path, view),
    )
    generations.publish(catalog.files, earlier)

    after = compact(catalog, earlier)

    assert open_view(catalog.files, after)["person"].null_count == len(view)
    assert list(audit(catalog.files, after)) == []
