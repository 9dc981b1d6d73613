import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faceindex.errors import DamagedError
from faceindex.gallery.build import train
from faceindex.gallery.shard import Shard
from faceindex.types import IndexRecipe
from tests.support.galleries import NO_IDS, random_ids, shard_files, write_shard
from tests.support.people import synthetic_people

IVF = IndexRecipe("IVF4,PQ12x4fs", nprobe=4, rerank=10)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return write_indexed(tmp_path / "whole", 300, 24)


def write_indexed(folder: Path, count: int, dimension: int) -> dict[str, Path]:
    vectors, _ = synthetic_people([3] * 100, seed=1, dimension=dimension)
    trained = train(IVF, vectors.astype(np.float16))
    return write_shard(shard_files(random_ids(count, 1), vectors[:count], IVF, trained), folder)


def test_a_shard_opens_with_its_faces_in_order(files: dict[str, Path]):
    shard = Shard(files, NO_IDS)

    assert shard.vectors.shape == (300, 24)
    assert len(shard.faces) == 300
    assert shard.index.ntotal == 300
    assert (shard.ids == np.sort(random_ids(300, 1).view("S16"))).all()


def test_its_vectors_and_faces_are_mapped_not_read(files: dict[str, Path]):
    shard = Shard(files, NO_IDS)

    assert not shard.vectors[:].flags.writeable
    assert not shard.vectors[:].flags.owndata
    assert not shard.ids.flags.owndata


def test_tombstones_of_this_shard_and_of_others_are_told_apart(files: dict[str, Path]):
    mine, others = random_ids(300, 1)[[0, 7, 299]], random_ids(50, 2)

    shard = Shard(files, np.concatenate([others, mine]))

    assert np.flatnonzero(~shard.alive).tolist() == [0, 7, 299]
    assert shard.live_count == 297
    assert np.concatenate([ids for ids, _ in shard.blocks(shard.living())]).tolist() == shard.ids[shard.alive].tolist()


@pytest.mark.parametrize(
    ("name", "count", "dimension"),
    [
        ("vectors.npy", 299, 24),
        ("vectors.npy", 300, 36),
        ("index.faiss", 299, 24),
        ("index.faiss", 300, 36),
        ("faces.arrow", 299, 24),
    ],
)
def test_a_file_of_another_shard_is_named(
    files: dict[str, Path], tmp_path: Path, name: str, count: int, dimension: int
):
    other = write_indexed(tmp_path / "other", count, dimension)
    files[name] = other[name]
    del files["vectors.xxh3"]  # they would notice another file of vectors first

    with pytest.raises(DamagedError, match=f"{name}.*recorded.*found; run `faceindex check`"):
        assert Shard(files, NO_IDS).index


@pytest.mark.parametrize("name", ["vectors.npy", "faces.arrow", "index.faiss", "manifest.json"])
@pytest.mark.parametrize(
    "damage",
    [lambda data: b"", lambda data: data[:40], lambda data: b"\0" * len(data)],
    ids=["empty", "cut", "zeroed"],
)
def test_a_file_that_cannot_be_read_is_named(files: dict[str, Path], name: str, damage: Callable[[bytes], bytes]):
    files[name].write_bytes(damage(files[name].read_bytes()))

    with pytest.raises(DamagedError, match=name):
        assert Shard(files, NO_IDS).index


@pytest.mark.parametrize("change", [{"schema": "faceindex.shard/2"}, {"recipe": {"factory": "exact", "lists": 3}}])
def test_a_manifest_of_another_kind_is_named(files: dict[str, Path], change: dict[str, object]):
    document = json.loads(files["manifest.json"].read_bytes())
    files["manifest.json"].write_text(json.dumps(document | change))

    with pytest.raises(DamagedError, match="not the manifest of a shard"):
        Shard(files, NO_IDS)


def test_vectors_of_another_dtype_are_refused(files: dict[str, Path]):
    np.save(files["vectors.npy"], np.zeros((300, 24), np.float32))
    del files["vectors.xxh3"]

    with pytest.raises(DamagedError, match=r"vectors\.npy: float16 of 2 dimensions recorded, float32 of 2"):
        Shard(files, NO_IDS)
