"""Compacting changes files and nothing else, whatever fails; a rebuild mends what the deep check finds."""

import errno
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from click.testing import CliRunner, Result

import faceindex
from faceindex.catalog import generations, layout
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.checksums import write_entry
from faceindex.catalog.generations import Generation
from faceindex.catalog.live import live_faces, read_tombstones, write_tombstones
from faceindex.catalog.parquet import read_table, write_arrow
from faceindex.catalog.upkeep import check
from faceindex.cli.main import cli
from faceindex.config import Settings
from faceindex.errors import CatalogError
from faceindex.gallery import faiss_io, training
from faceindex.gallery.audit import audit
from faceindex.pipeline.compact import compact
from faceindex.pipeline.run import IndexOptions, index_photos
from faceindex.tables import map_arrow
from faceindex.vector_files import VectorFile
from tests.integration.test_commit_rules import FailedCall
from tests.support.archives import make_archive
from tests.support.disk import memory_folder, watched
from tests.support.imports import IDS, INDEXED, NAMES, VECTORS, import_rows, make_imported


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the catalogs `exact` and `indexed`, not to be changed, and probes."""
    folder = tmp_path_factory.mktemp("made")
    np.save(folder / "probes.npy", VECTORS[::3])
    make_imported(folder / "exact", "exact")
    make_imported(folder / "indexed", INDEXED)
    return folder


def copied(made: Path, name: str, folder: Path) -> Catalog:
    return Catalog.open(str(shutil.copytree(made / name, folder / "catalog")))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)


def answers(root: Path | str, made: Path) -> list[Any]:
    opened = faceindex.open(str(root))
    probes = VectorFile(str(made / "probes.npy"), VECTORS.shape[1])
    return [answer.faces for answer in opened.search_vectors(probes, 20, threshold=0.9)]


def served(catalog: Catalog) -> Generation:
    generation = catalog.current()
    assert generation
    return generation


def damage(catalog: Catalog) -> list[str]:
    """Return what the whole check finds."""
    problems = [*check(catalog.files), *audit(catalog.files, served(catalog))]
    return [f"{problem.path}: {problem.detail}" for problem in problems if problem.damaged]


def contents(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path.name != "lock"}


@pytest.mark.parametrize("index", ["exact", "indexed"])
def test_compacting_leaves_every_answer_and_name_as_it_was(made: Path, tmp_path: Path, index: str) -> None:
    catalog = copied(made, index, tmp_path)
    before = answers(catalog.root, made)
    if index == "indexed":
        assert len(served(catalog).shards) > 1
        assert len(read_tombstones(catalog.files, served(catalog)))

    assert run("compact", "-c", catalog.root).exit_code == 0

    after = served(catalog)
    # Ten photos were replaced and twenty forgotten, each with its face.
    assert (len(after.batches), len(after.shards), after.tombstones, after.face_count) == (1, 1, None, 280)
    [batch] = after.batches.values()
    assert [len(read_table(catalog.files, entry)) for entry in (batch.photos, batch.faces)] == [280, 280]
    assert answers(catalog.root, made) == before
    assert {face.person for faces in before for face in faces} > {"person 1", None}
    assert damage(catalog) == []


def test_importing_again_what_was_compacted_changes_nothing(made: Path, tmp_path: Path) -> None:
    catalog = copied(made, "indexed", tmp_path)
    assert run("compact", "-c", catalog.root).exit_code == 0
    before = contents(tmp_path / "catalog")

    report = import_rows(catalog.root, np.arange(200, 285), tmp_path / "again.npz", VECTORS)

    assert (report.imported, report.unchanged) == (0, 85)
    assert contents(tmp_path / "catalog") == before


def test_a_name_that_was_corrected_stays_so(made: Path, tmp_path: Path) -> None:
    catalog = copied(made, "exact", tmp_path)
    np.savez(tmp_path / "new.npz", vectors=VECTORS[210:215], ids=IDS[210:215], people=["Ann"] * 5)
    assert run("import", tmp_path / "new.npz", "-c", catalog.root).exit_code == 0

    compact(catalog, served(catalog))

    np.save(tmp_path / "probes.npy", VECTORS[[210, 220]])
    probes = VectorFile(str(tmp_path / "probes.npy"), None)
    found = list(faceindex.open(catalog.root).search_vectors(probes, 1, threshold=0.99))
    assert [answer.faces[0].person for answer in found] == ["Ann", NAMES[220] or None]


def test_photos_stay_known_after_their_first_copy_went(tmp_path: Path) -> None:
    photos = make_archive(tmp_path / "photos", count=6)
    shutil.copy(photos / "00.jpg", photos / "z copy of 00.jpg")
    catalog = Catalog.create(str(tmp_path / "catalog"), Settings(batch_photos=2, removal_grace_days=0))
    options = IndexOptions(workers=0, allow_removals=True)
    index_photos(catalog.root, [str(photos)], options)
    # The face of the copy stands in the batch of the photo that goes.
    (photos / "00.jpg").unlink()
    (photos / "03.jpg").unlink()
    index_photos(catalog.root, [str(photos)], options)
    faces = live_faces(catalog.files, served(catalog))

    number = compact(catalog, served(catalog)).number

    assert live_faces(catalog.files, served(catalog)).equals(faces)
    [batch] = served(catalog).batches.values()
    assert batch.crops
    assert len(read_table(catalog.files, batch.faces)) == len(faces)
    assert sorted(read_table(catalog.files, batch.crops)["face_id"].to_pylist()) == faces["face_id"].to_pylist()
    again = index_photos(catalog.root, [str(photos)], options)
    assert (again.generation, again.embedded, again.unchanged) == (number, 0, 8)
    assert damage(catalog) == []


def test_whichever_call_fails_the_old_generation_is_served_and_compacting_again_succeeds(
    made: Path, tmp_path: Path
) -> None:
    before = answers(made / "exact", made)
    with memory_folder(tmp_path) as memory:
        for number in range(1, 1000, 2):
            root = shutil.copytree(made / "exact", memory / "tried")
            catalog = Catalog.open(str(root))
            failure = FailedCall(number, errno.EIO)
            try:
                with watched(root, failure.before):
                    compact(catalog, served(catalog))
            except CatalogError:
                assert [problem for problem in check(catalog.files) if problem.damaged] == []
                assert answers(root, made) == before
                assert len(compact(catalog, served(catalog)).batches) == 1
            assert answers(root, made) == before
            shutil.rmtree(root)
            if failure.left > 0:
                break
        assert number > 20


Plant = Callable[[Catalog, Generation], Generation]


def changed(catalog: Catalog, generation: Generation, name: str, data: bytes | memoryview) -> Generation:
    """Return a generation whose first shard has another file, checksums and all."""
    shard = generation.shards[0]
    path = layout.shard_path(shard.shard_id, name)
    entry = write_entry(catalog.files, path, data)
    files = tuple(entry if one.path == path else one for one in shard.files if not one.path.endswith(".xxh3"))
    return replace(generation, shards=(replace(shard, files=files), *generation.shards[1:]))


def file_of(catalog: Catalog, generation: Generation, name: str) -> Path:
    return catalog.files.local_path(layout.shard_path(generation.shards[0].shard_id, name))


def other_vectors(catalog: Catalog, generation: Generation) -> Generation:
    data = bytearray(file_of(catalog, generation, "vectors.npy").read_bytes())
    data[-1] ^= 1
    return changed(catalog, generation, "vectors.npy", bytes(data))


def shuffled_rows(catalog: Catalog, generation: Generation) -> Generation:
    faces = map_arrow(file_of(catalog, generation, "faces.arrow"))
    order = np.roll(np.arange(len(faces)), 1)
    entry = write_arrow(catalog.files, "shards/scratch", faces.take(order))
    return changed(catalog, generation, "faces.arrow", catalog.files.read(entry.path))


def other_rows(catalog: Catalog, generation: Generation) -> Generation:
    faces = map_arrow(file_of(catalog, generation, "faces.arrow"))
    quality = faces["quality"].to_numpy().copy()
    quality[3] = 0.5
    column = faces.schema.get_field_index("quality")
    table = faces.set_column(column, faces.schema.field(column), [quality])
    entry = write_arrow(catalog.files, "shards/scratch", table)
    return changed(catalog, generation, "faces.arrow", catalog.files.read(entry.path))


def missing_shard(catalog: Catalog, generation: Generation) -> Generation:
    return replace(generation, shards=generation.shards[1:])


def doubled_shard(catalog: Catalog, generation: Generation) -> Generation:
    return replace(generation, shards=(*generation.shards, generation.shards[0]))


def forgotten_tombstones(catalog: Catalog, generation: Generation) -> Generation:
    return replace(generation, tombstones=None)


def buried_alive(catalog: Catalog, generation: Generation) -> Generation:
    alive = live_faces(catalog.files, generation, ["face_id"])["face_id"][0].as_py()
    ids = np.array([*read_tombstones(catalog.files, generation).tolist(), alive], "V16")
    return replace(generation, tombstones=write_tombstones(catalog.files, generation.number, ids))


def untrained_index(catalog: Catalog, generation: Generation) -> Generation:
    index = faiss_io.new_index("IVF4,SQ8", VECTORS.shape[1])
    index.ntotal = generation.shards[0].face_count
    return changed(catalog, generation, "index.faiss", faiss_io.to_bytes(index))


def index_of_other_rows(catalog: Catalog, generation: Generation) -> Generation:
    vectors = np.load(file_of(catalog, generation, "vectors.npy"))
    index = faiss_io.from_bytes(faiss_io.emptied(file_of(catalog, generation, "index.faiss")))
    training.fill(index, vectors[::-1].copy(), 1)
    return changed(catalog, generation, "index.faiss", faiss_io.to_bytes(index))


def index_of_another_distance(catalog: Catalog, generation: Generation) -> Generation:
    vectors = np.load(file_of(catalog, generation, "vectors.npy")).astype(np.float32)
    index = faiss.index_factory(vectors.shape[1], "IVF4,SQ8", faiss.METRIC_L1)
    index.train(vectors)
    index.add(vectors)
    return changed(catalog, generation, "index.faiss", faiss_io.to_bytes(index))


@pytest.mark.parametrize(
    ("plant", "file", "message"),
    [
        (other_vectors, "vectors.npy", "1 vectors differ from faces/"),
        (other_rows, "faces.arrow", "rows differ from faces/"),
        (shuffled_rows, "faces.arrow", "ids are not in order"),
        (missing_shard, "faces/", "faces of photos that are there are in no shard"),
        (doubled_shard, "faces/", "faces are in more than one shard"),
        (forgotten_tombstones, "faces/", "faces of photos that are gone are in a shard and not marked as dead"),
        (buried_alive, "faces/", "1 faces of photos that are there are in no shard, or marked as dead"),
        (untrained_index, "index.faiss", "is not trained"),
        (index_of_other_rows, "index.faiss", "of its faces by their own vectors"),
        (index_of_another_distance, "index.faiss", "metric"),
    ],
)
def test_the_deep_check_finds_what_checksums_cannot_and_a_rebuild_mends_it(
    made: Path, tmp_path: Path, plant: Plant, file: str, message: str
) -> None:
    catalog = copied(made, "indexed", tmp_path)
    before = answers(catalog.root, made)
    following = replace(served(catalog), number=served(catalog).number + 1, previous=served(catalog).number)
    planted = plant(catalog, following)
    # Older generations share the shard that was changed; only the new one is looked at.
    for number in generations.numbers(catalog.files):
        if number != planted.previous:
            catalog.files.delete(layout.generation_path(number))
    generations.publish(catalog.files, planted)
    catalog.files.delete(layout.generation_path(following.number - 1))

    result = run("check", "--deep", "-c", catalog.root, "--json")

    document = json.loads(result.stdout)
    assert result.exit_code == 5
    found = [problem for problem in document["problems"] if message in problem["detail"]]
    assert found, document["problems"]
    assert file in found[0]["path"]
    assert "run `faceindex compact --rebuild`" in found[0]["detail"]
    assert run("compact", "--rebuild", "-c", catalog.root).exit_code == 0
    assert damage(catalog) == []
    assert answers(catalog.root, made) == before
