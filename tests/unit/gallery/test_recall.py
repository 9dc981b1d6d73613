from pathlib import Path

import numpy as np

from faceindex.gallery.build import train
from faceindex.gallery.recall import Recall, draw_sample, measure
from faceindex.types import IndexRecipe
from tests.support.galleries import make_gallery, random_ids
from tests.support.people import synthetic_people


def measured(folder: Path, nprobe: int) -> Recall:
    vectors, _ = synthetic_people([3] * 1000, seed=1)
    recipe = IndexRecipe("IVF32,PQ12x4fs", nprobe, rerank=20)
    trained = train(recipe, vectors.astype(np.float16))
    ids = random_ids(3000, 1)
    gallery = make_gallery(folder, ids, vectors, recipe, trained, shards=2, tombstones=ids[:50])
    return measure(gallery, draw_sample(gallery, 500))


def test_an_index_that_visits_all_lists_loses_next_to_nothing(tmp_path: Path):
    found = measured(tmp_path, nprobe=32)

    assert found.recall_at_10 > 0.99
    assert found.first_agreement > 0.99
    assert found.mated_rank_1 > 0.99


def test_an_index_that_visits_one_list_of_32_is_found_out(tmp_path: Path):
    found = measured(tmp_path, nprobe=1)

    assert found.recall_at_10 < 0.7
    assert found.first_agreement < 0.8


def test_an_exact_gallery_loses_nothing(tmp_path: Path):
    vectors, _ = synthetic_people([3] * 100, seed=1)

    gallery = make_gallery(tmp_path, random_ids(300, 1), vectors, IndexRecipe("exact"), shards=2)

    found = measure(gallery, draw_sample(gallery, 100))

    assert (found.recall_at_10, found.first_agreement, found.mated_rank_1) == (1.0, 1.0, 1.0)


def test_of_copies_of_one_picture_any_will_do(tmp_path: Path):
    vectors = np.repeat(synthetic_people([1] * 100, seed=1)[0], 50, axis=0)
    recipe = IndexRecipe("IVF8,PQ12x4fs", nprobe=8, rerank=10)
    trained = train(recipe, vectors.astype(np.float16))

    gallery = make_gallery(tmp_path, random_ids(5000, 1), vectors, recipe, trained)
    found = measure(gallery, draw_sample(gallery, 200))

    assert found.recall_at_10 > 0.7, "of faces equally alike, a third of the first ten would be the very same"
    assert found.mated_rank_1 == 1.0
