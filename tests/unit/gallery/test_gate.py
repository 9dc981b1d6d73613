from pathlib import Path

import faiss
import numpy as np
import pytest

from faceindex.errors import RefusedError
from faceindex.gallery.build import train
from faceindex.gallery.gate import admit
from faceindex.gallery.recipe import Wish
from faceindex.gallery.search import Gallery
from faceindex.gallery.shard import Shard, TrainedIndex
from faceindex.gallery.tuning import targets
from faceindex.types import IndexRecipe
from tests.support.galleries import MODEL, NO_IDS, make_gallery, random_ids, shard_files, write_shard
from tests.support.people import synthetic_people

RECIPE = IndexRecipe("IVF32,PQ12x4fs", nprobe=4, rerank=10)
WISHES = ("auto;recall=0.7", "auto", "auto;recall=0.9999")
FACES = 3000
VECTORS = synthetic_people([3] * 1000, seed=1)[0]
IDS = random_ids(FACES, 1)


@pytest.fixture(scope="module")
def trained() -> TrainedIndex:
    return train(RECIPE, VECTORS.astype(np.float16))


def gate(gallery: Gallery, wish: str = "auto", *, live: int = FACES, tuned: bool = False) -> tuple[int, int]:
    admitted = admit(gallery, live, Wish.parse(wish), tuned=tuned, open_ms=1.0, threads=1)
    assert not targets(Wish.parse(wish).recall)[1].shortfalls(admitted.quality)
    return admitted.gallery.recipe.nprobe, admitted.gallery.recipe.rerank


def with_index(folder: Path, index: faiss.Index) -> Gallery:
    """A gallery whose index file was replaced by another."""
    files = write_shard(shard_files(IDS, VECTORS, RECIPE, train(RECIPE, VECTORS.astype(np.float16))), folder)
    files["index.faiss"].write_bytes(faiss.serialize_index(index).tobytes())
    return Gallery([Shard(files, NO_IDS)], MODEL, RECIPE)


def test_a_sound_gallery_is_admitted_at_a_tuned_point(tmp_path: Path, trained: TrainedIndex):
    gallery = make_gallery(tmp_path, IDS, VECTORS, RECIPE, trained, shards=3, tombstones=IDS[:9])

    assert gate(gallery, live=FACES - 9)[0] > 0


def test_a_point_that_was_tuned_and_still_does_is_kept(tmp_path: Path, trained: TrainedIndex):
    gallery = make_gallery(tmp_path, IDS, VECTORS, IndexRecipe(RECIPE.factory, 31, 40), trained)

    assert gate(gallery, tuned=True) == (31, 40)


def test_a_point_that_no_longer_does_is_tuned_anew(tmp_path: Path, trained: TrainedIndex):
    gallery = make_gallery(tmp_path, IDS, VECTORS, IndexRecipe(RECIPE.factory, 1, 1), trained)

    assert gate(gallery, tuned=True) > (1, 1)


def test_less_recall_asked_for_is_a_cheaper_point_and_more_a_dearer_one(tmp_path: Path, trained: TrainedIndex):
    gallery = make_gallery(tmp_path, IDS, VECTORS, RECIPE, trained)

    cheap, usual, dear = (lists * depth for lists, depth in map(gate, [gallery] * 3, WISHES))

    assert cheap < usual < dear


def test_a_recall_asked_for_that_codes_cannot_give_is_refused(tmp_path: Path):
    recipe = IndexRecipe("IVF1,PQ3x4fs", 1, 1)
    gallery = make_gallery(tmp_path, IDS, VECTORS, recipe, train(recipe, VECTORS.astype(np.float16)))
    lists, depth = gate(gallery, "auto;recall=0.5")

    with pytest.raises(RefusedError, match=r"recall@10 0\.\d+ where 0\.989 is wanted"):
        gate(gallery, f"auto;recall=0.999;nprobe={lists};rerank={depth}")


def test_a_point_a_user_forced_is_refused_when_it_loses_too_much(tmp_path: Path, trained: TrainedIndex):
    gallery = make_gallery(tmp_path, IDS, VECTORS, IndexRecipe(RECIPE.factory, 1, 1), trained)

    with pytest.raises(RefusedError, match=r"nprobe 1, rerank 1 loses too much: recall@10 0\.\d+.*or raise them"):
        gate(gallery, "auto;nprobe=1;rerank=1")


def test_codes_too_coarse_to_find_anything_are_refused(tmp_path: Path):
    recipe = IndexRecipe("IVF1,PQ1x4fs", 1, 1)
    vectors = VECTORS.astype(np.float16)
    gallery = make_gallery(tmp_path, IDS, VECTORS, recipe, train(recipe, vectors))

    with pytest.raises(RefusedError, match="longer codes or --index auto"):
        gate(gallery)


def test_a_missing_shard_is_refused(tmp_path: Path, trained: TrainedIndex):
    gallery = make_gallery(tmp_path, IDS, VECTORS, RECIPE, trained, shards=3)

    with pytest.raises(RefusedError, match="3,000 live faces belong in the gallery, its shards hold 2,000"):
        gate(Gallery(gallery.shards[1:], MODEL, RECIPE))


def test_an_index_that_numbers_its_faces_otherwise_is_refused(tmp_path: Path):
    index = faiss.index_factory(24, RECIPE.factory)
    index.train(VECTORS)
    index.add(VECTORS[np.random.default_rng(1).permutation(FACES)])

    with pytest.raises(RefusedError, match=r"do not find themselves.*numbers them otherwise"):
        gate(with_index(tmp_path / "shuffled", index))


def test_an_index_of_another_metric_is_refused(tmp_path: Path):
    index = faiss.index_factory(24, RECIPE.factory, faiss.METRIC_INNER_PRODUCT)
    index.train(VECTORS)
    index.add(VECTORS)

    with pytest.raises(RefusedError, match="metric"):
        gate(with_index(tmp_path / "metric", index))


def test_an_index_trained_on_something_else_is_refused(tmp_path: Path):
    """An untrained quantiser as a bad build leaves it: centroids and codes all over the space."""
    index = faiss.index_factory(24, RECIPE.factory)
    index.train(np.random.default_rng(1).standard_normal((3000, 24)).astype(np.float32) * 50)
    index.add(VECTORS)

    with pytest.raises(RefusedError, match="not trained on such faces"):
        gate(with_index(tmp_path / "untrained", index))


def test_an_archive_of_copies_with_other_captions_is_admitted(tmp_path: Path):
    vectors = np.repeat(synthetic_people([1] * 60, seed=1)[0], 50, axis=0)

    assert gate(make_gallery(tmp_path, IDS, vectors, RECIPE, train(RECIPE, vectors.astype(np.float16))))[0] > 0
