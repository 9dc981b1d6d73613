import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from faceindex.errors import ConfigError, ShapeError
from faceindex.gallery import build
from faceindex.gallery.build import build_shard, train
from faceindex.gallery.recipe import choose_recipe
from faceindex.types import IndexRecipe
from tests.support.galleries import MODEL, face_table, make_gallery, random_ids, shard_files
from tests.support.people import synthetic_people

EXACT = IndexRecipe("exact")
IVF = IndexRecipe("IVF32,PQ16x4fs", nprobe=8, rerank=10)


@pytest.fixture(scope="module")
def halves() -> np.ndarray:
    return synthetic_people([3] * 800, seed=1, dimension=32)[0].astype(np.float16)


@pytest.mark.parametrize("factory", ["IVF32,PQ16x4fs", "IVF32,SQ8", "HNSW8"])
def test_the_number_of_threads_does_not_change_a_byte(halves: np.ndarray, factory: str):
    recipe = choose_recipe(len(halves), 32, factory)
    table = face_table(random_ids(len(halves), 1))

    one, two = (build_shard(table, halves, MODEL, recipe, train(recipe, halves, n), n) for n in (1, 2))

    assert one.contents == two.contents
    assert one.shard_id == two.shard_id


def test_another_process_builds_the_same_shard():
    code = (
        "from tests.unit.gallery.test_build import *\n"
        "halves = synthetic_people([3] * 800, seed=1, dimension=32)[0].astype(np.float16)\n"
        "print(build_shard(face_table(random_ids(2400, 1)), halves, MODEL, IVF, train(IVF, halves)).shard_id)"
    )
    root = Path(__file__).parents[3]
    made = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in "12"
    }

    assert len(made) == 1


def test_only_the_first_faces_are_trained_on(halves: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(build, "TRAINING_POINTS_PER_LIST", 4)
    recipe = IndexRecipe("IVF4,PQ16x4fs", 4, 10)
    changed = halves.copy()
    changed[1024:] = changed[0]

    assert train(recipe, halves[:2000]) == train(recipe, changed[:2000])
    assert train(recipe, halves) != train(recipe, halves[::-1])


def test_an_index_trained_by_another_seed_is_another(halves: np.ndarray):
    assert train(IVF, halves).digest != train(IndexRecipe(IVF.factory, IVF.nprobe, IVF.rerank, seed=1), halves).digest


@pytest.mark.parametrize("change", ["vectors", "faces", "recipe", "trained"])
def test_a_shard_that_differs_in_anything_has_another_id(halves: np.ndarray, change: str):
    table, vectors, recipe, trained = face_table(random_ids(100, 1)), halves[:100].copy(), IVF, train(IVF, halves)
    before = build_shard(table, vectors, MODEL, recipe, trained).shard_id

    if change == "vectors":
        vectors[5] = halves[200]
    elif change == "faces":
        table = table.set_column(7, table.schema.field(7), table["quality"].take(np.arange(100)[::-1]))
    elif change == "recipe":
        recipe = IndexRecipe(IVF.factory, seed=1)
    else:
        trained = train(IVF, halves[::-1])

    assert build_shard(table, vectors, MODEL, recipe, trained).shard_id != before


def test_a_trained_index_comes_back_from_a_shard_as_it_was(halves: np.ndarray, tmp_path: Path):
    trained = train(IVF, halves)
    gallery = make_gallery(tmp_path, random_ids(500, 1), halves[:500].astype(np.float32), IVF, trained)

    assert gallery.shards[0].trained_index() == trained


def test_an_exact_shard_has_no_index_and_tells_what_it_holds():
    vectors, _ = synthetic_people([2, 3], seed=1)

    made = shard_files(random_ids(5, 1), vectors, EXACT)

    assert sorted(made.contents) == ["faces.arrow", "manifest.json", "vectors.npy", "vectors.xxh3"]
    assert json.loads(made.contents["manifest.json"]) == {
        "schema": "faceindex.shard/1",
        "model": MODEL,
        "dimension": 24,
        "face_count": 5,
        "recipe": {"factory": "exact", "nprobe": 0, "rerank": 0, "seed": 0, "recall": 0.0},
        "quantizer": None,
    }


def test_faces_out_of_order_or_twice_are_refused():
    ids, vectors = random_ids(3, 1), synthetic_people([3], seed=1)[0].astype(np.float16)

    for wrong in ([1, 0, 2], [0, 1, 1]):
        with pytest.raises(ShapeError, match="ascending order of face id"):
            build_shard(face_table(ids[wrong]), vectors, MODEL, EXACT)


@pytest.mark.parametrize("wrong", [0.99, 1.01, np.nan, np.inf, 0.0])
def test_a_vector_that_is_not_of_unit_length_is_refused_by_its_row(wrong: float):
    vectors = synthetic_people([3], seed=1)[0].astype(np.float16)
    vectors[1] *= np.float16(wrong)

    with pytest.raises(ShapeError, match="row 1 has not"):
        build_shard(face_table(random_ids(3, 1)), vectors, MODEL, EXACT)


def test_vectors_of_other_faces_are_refused():
    with pytest.raises(ShapeError, match=r"vectors must be float16 \(3, n\)"):
        build_shard(face_table(random_ids(3, 1)), np.ones((2, 4), np.float16), MODEL, EXACT)


def test_an_indexed_shard_wants_a_trained_index(halves: np.ndarray):
    with pytest.raises(ConfigError, match="train one first"):
        build_shard(face_table(random_ids(5, 1)), halves[:5], MODEL, IVF)


def test_too_few_faces_to_train_are_told_in_one_line(halves: np.ndarray):
    with pytest.raises(ConfigError, match="needs 32 faces to train, got 31"):
        train(IVF, halves[:31])
