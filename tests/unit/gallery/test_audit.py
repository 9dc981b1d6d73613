import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pytest

from faceindex.catalog import generations
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.checksums import write_entry
from faceindex.catalog.files import Files
from faceindex.catalog.generations import Generation
from faceindex.catalog.live import read_tombstones, write_tombstones
from faceindex.gallery.audit import audit
from faceindex.gallery.vectors import page_sums
from tests.support.nights import grown

IVF = "IVF4,PQ4x4fs"
Damage = Callable[[Files, Generation], Generation]


@pytest.fixture(scope="module", params=["exact", IVF])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(grown(tmp_path_factory.mktemp("made") / "catalog", request.param, [1600, 200]).root)


@pytest.fixture
def catalog(made: Path, tmp_path: Path) -> Catalog:
    return Catalog.open(str(shutil.copytree(made, tmp_path / "catalog")))


def served(catalog: Catalog) -> Generation:
    generation = catalog.current()
    assert generation is not None
    return generation


def problems(catalog: Catalog, generation: Generation) -> list[str]:
    return [f"{found.path}: {found.detail}" for found in audit(catalog.files, generation) if found.damaged]


def with_file(files: Files, generation: Generation, name: str, data: bytes) -> Generation:
    """Return a generation whose first shard has another file of this name, recorded as it is."""
    shard = generation.shards[0]
    entries = [write_entry(files, entry.path, data) if entry.path.endswith(name) else entry for entry in shard.files]
    return replace(generation, shards=(replace(shard, files=tuple(entries)), *generation.shards[1:]))


def file_of(files: Files, generation: Generation, name: str) -> bytes:
    [entry] = [entry for entry in generation.shards[0].files if entry.path.endswith(name)]
    return files.read(entry.path)


def test_a_sound_gallery_has_no_problems(catalog: Catalog) -> None:
    generation = served(catalog)

    assert generation.face_count > 900
    assert problems(catalog, generation) == []


def test_a_changed_vector_is_found(catalog: Catalog) -> None:
    files, generation = catalog.files, served(catalog)
    changed = bytearray(file_of(files, generation, "vectors.npy"))
    changed[-3] ^= 1
    generation = with_file(files, generation, "vectors.npy", bytes(changed))
    generation = with_file(files, generation, "vectors.xxh3", page_sums(memoryview(changed)))

    [found] = problems(catalog, generation)

    assert "vectors.npy: 1 vectors differ from faces/" in found
    assert found.endswith("run `faceindex compact --rebuild`")


def test_a_changed_box_is_found(catalog: Catalog) -> None:
    files, generation = catalog.files, served(catalog)
    table = pa.ipc.open_file(file_of(files, generation, "faces.arrow")).read_all().combine_chunks()
    boxes = table["x0"].to_numpy().copy()
    boxes[7] += 1
    position = table.schema.get_field_index("x0")
    changed = table.set_column(position, table.schema.field("x0"), pa.array(boxes))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, changed.schema) as writer:
        writer.write_table(changed)

    [found] = problems(catalog, with_file(files, generation, "faces.arrow", sink.getvalue().to_pybytes()))

    assert "faces.arrow: rows differ from faces/" in found


def test_a_missing_shard_is_found(catalog: Catalog) -> None:
    generation = served(catalog)

    found = problems(catalog, replace(generation, shards=generation.shards[1:]))

    assert found
    assert all("faces of photos that are there are in no shard" in problem for problem in found)


def test_a_shard_named_twice_is_found(catalog: Catalog) -> None:
    generation = served(catalog)

    found = problems(catalog, replace(generation, shards=(*generation.shards, generation.shards[0])))

    assert any("faces are in more than one shard" in problem for problem in found)


def test_lost_tombstones_are_found(catalog: Catalog) -> None:
    generation = served(catalog)
    dead = len(read_tombstones(catalog.files, generation))
    assert (dead == 0) == (generation.recipe.factory == "exact")

    found = problems(catalog, replace(generation, tombstones=None))

    lost = f"{dead:,} faces of photos that are gone are in a shard and not marked as dead"
    assert [lost in problem for problem in found] == ([True] if dead else [])


def test_a_live_face_marked_as_dead_is_found(catalog: Catalog) -> None:
    files, generation = catalog.files, served(catalog)
    from faceindex.gallery.opening import open_gallery

    shard = open_gallery(files, generation).shards[0]
    alive = shard.ids[shard.alive][:3].view("V16")
    dead = np.concatenate([read_tombstones(files, generation), alive])

    found = problems(catalog, replace(generation, tombstones=write_tombstones(files, 99, dead)))

    assert sum(int(problem.split(": ")[1].split()[0]) for problem in found) == 3
    assert all("are in no shard, or marked as dead" in problem for problem in found)


def test_an_index_with_mixed_up_numbers_is_found(tmp_path: Path) -> None:
    catalog = grown(tmp_path / "catalog", "IVF4,SQ8", [1200])
    generation = served(catalog)
    index = faiss.deserialize_index(np.frombuffer(file_of(catalog.files, generation, "index.faiss"), np.uint8))
    numbers = np.random.default_rng(0).permutation(index.ntotal)
    vectors = index.reconstruct_n(0, index.ntotal) if index.make_direct_map() is None else None
    index.set_direct_map_type(faiss.DirectMap.NoMap)
    index.reset()
    index.add_with_ids(vectors, numbers)

    [found] = problems(
        catalog, with_file(catalog.files, generation, "index.faiss", bytes(faiss.serialize_index(index)))
    )

    assert "of its faces by their own vectors" in found


def test_an_index_that_lacks_a_face_is_found(tmp_path: Path) -> None:
    catalog = grown(tmp_path / "catalog", "IVF4,SQ8", [1200])
    generation = served(catalog)
    index = faiss.deserialize_index(np.frombuffer(file_of(catalog.files, generation, "index.faiss"), np.uint8))
    number = faiss.rev_swig_ptr(index.invlists.get_ids(0), index.invlists.list_size(0))
    number[0] = number[1]  # in place: one face twice, one not at all

    [found] = problems(
        catalog, with_file(catalog.files, generation, "index.faiss", bytes(faiss.serialize_index(index)))
    )

    assert "its lists do not hold each face once" in found


def test_the_served_generation_is_what_is_audited(catalog: Catalog) -> None:
    generation = served(catalog)
    broken = replace(generation, number=generation.number + 1, previous=generation.number, shards=())

    generations.publish(catalog.files, broken)

    assert problems(catalog, served(catalog))
