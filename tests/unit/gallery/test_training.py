import faiss
import numpy as np
import pytest

from faceindex.gallery import faiss_io, training
from faceindex.gallery.gpus import Gpus
from tests.support.gpus import StandIns
from tests.support.people import synthetic_people

VECTORS = synthetic_people([3] * 2000, seed=1)[0].astype(np.float16)


def nearest_centroid(index: faiss.Index) -> float:
    return float(index.quantizer.search(VECTORS.astype(np.float32), 1)[0].mean())


@pytest.mark.parametrize("factory", ["IVF100,PQ12x4fs", "IVF100_HNSW32,PQ12x4fs"])
def test_lists_trained_in_two_levels_are_nearly_as_close_to_faces_as_those_of_one(
    factory: str, monkeypatch: pytest.MonkeyPatch
):
    one, two, again = (faiss_io.new_index(factory, 24) for _ in range(3))
    training.train(one, VECTORS, 1, 1)

    monkeypatch.setattr(training, "TWO_LEVELS_FROM_LISTS", 100)
    training.train(two, VECTORS, 1, 1)
    training.train(again, VECTORS, 1, 2)

    assert two.is_trained
    assert two.quantizer.ntotal == 100
    assert nearest_centroid(two) < 1.1 * nearest_centroid(one)
    assert faiss_io.to_bytes(two) == faiss_io.to_bytes(again)


@pytest.mark.parametrize("factory", ["IVF16,PQ12x4fs", "IVF16,SQ8", "IVF100,PQ12x4fs"])
def test_gpus_train_and_fill_an_index_as_the_cpu_does(factory: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(training, "TWO_LEVELS_FROM_LISTS", 100)
    on_gpus, on_cpu, gpus = faiss_io.new_index(factory, 24), faiss_io.new_index(factory, 24), StandIns(1.0)

    training.train(on_gpus, VECTORS, 1, 1, gpus)
    trained_with = len(gpus.spread_over)
    training.fill(on_gpus, VECTORS, 1, gpus)
    training.train(on_cpu, VECTORS, 1, 1)
    training.fill(on_cpu, VECTORS, 1)

    assert trained_with >= 1
    assert len(gpus.spread_over) - trained_with == ("fs" in factory)
    assert faiss_io.to_bytes(on_gpus) == faiss_io.to_bytes(on_cpu)


def test_gpus_find_the_very_nearest_of_centroids_that_are_a_graph():
    index = faiss_io.new_index("IVF100_HNSW4,PQ12x4fs", 24)
    training.train(index, VECTORS, 1, 1)
    centroids = index.quantizer.reconstruct_n(0, 100)
    wide = VECTORS.astype(np.float32)

    training.fill(index, VECTORS, 1, StandIns(1.0))

    nearest = np.argmin(((wide[:, np.newaxis] - centroids) ** 2).sum(axis=2), axis=1)
    assert faiss_io.list_sizes([index]).tolist() == np.bincount(nearest, minlength=100).tolist()
    assert faiss_io.from_bytes(faiss_io.to_bytes(index)).ntotal == len(VECTORS)


@pytest.mark.gpu
@pytest.mark.skipif(not faiss.get_num_gpus(), reason="needs a GPU")
@pytest.mark.parametrize("factory", ["IVF16,PQ12x4fs", "IVF100_HNSW4,PQ12x4fs"])
def test_real_gpus_put_vectors_where_the_cpu_does(factory: str):
    index = faiss_io.new_index(factory, 24)
    training.train(index, VECTORS, 1, 1)
    on_gpus, on_cpu = (faiss_io.from_bytes(faiss_io.to_bytes(index)) for _ in range(2))

    training.fill(on_gpus, VECTORS, 1, Gpus())
    training.fill(on_cpu, VECTORS, 1)

    moved = np.abs(faiss_io.list_sizes([on_gpus]) - faiss_io.list_sizes([on_cpu])).sum()
    assert moved <= 0.01 * len(VECTORS)
