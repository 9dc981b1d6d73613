import faiss
import numpy as np
import pytest

from faceindex.gallery import faiss_io
from tests.support.people import synthetic_people

VECTORS = synthetic_people([3] * 2000, seed=1)[0].astype(np.float16)


def nearest_centroid(index: faiss.Index) -> float:
    return float(index.quantizer.search(VECTORS.astype(np.float32), 1)[0].mean())


@pytest.mark.parametrize("factory", ["IVF100,PQ12x4fs", "IVF100_HNSW32,PQ12x4fs"])
def test_lists_trained_in_two_levels_are_nearly_as_close_to_faces_as_those_of_one(
    factory: str, monkeypatch: pytest.MonkeyPatch
):
    one, two, again = (faiss_io.new_index(factory, 24) for _ in range(3))
    faiss_io.train(one, VECTORS, 1, 1)

    monkeypatch.setattr(faiss_io, "TWO_LEVELS_FROM_LISTS", 100)
    faiss_io.train(two, VECTORS, 1, 1)
    faiss_io.train(again, VECTORS, 1, 2)

    assert two.is_trained
    assert two.quantizer.ntotal == 100
    assert nearest_centroid(two) < 1.1 * nearest_centroid(one)
    assert faiss_io.to_bytes(two) == faiss_io.to_bytes(again)


def test_a_gpu_that_faiss_sees_clusters_and_the_index_is_the_same(monkeypatch: pytest.MonkeyPatch):
    """No GPU is needed: what would be put on one is noted, and stays on the CPU."""
    asked = []
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", lambda index: asked.append(index) or index)
    with_gpu = faiss_io.new_index("IVF16,PQ12x4fs", 24)
    faiss_io.train(with_gpu, VECTORS, 1, 1)
    monkeypatch.undo()
    without = faiss_io.new_index("IVF16,PQ12x4fs", 24)
    faiss_io.train(without, VECTORS, 1, 1)

    assert len(asked) == 1
    assert faiss_io.to_bytes(with_gpu) == faiss_io.to_bytes(without)


@pytest.mark.parametrize("factory", ["IVF16,PQ12x4fs", "OPQ4,IVF16,PQ4x4fs", "IVF16,SQ8", "IVF16,PQ4x5", "HNSW8"])
def test_faces_unlike_those_trained_on_have_a_larger_quantisation_error(factory: str):
    index = faiss_io.new_index(factory, 24)
    faiss_io.train(index, VECTORS, 1, 1)
    alike, unlike = VECTORS[:500].astype(np.float32), -VECTORS[:500].astype(np.float32)

    errors = [faiss_io.quantisation_error(index, vectors) for vectors in (alike, unlike)]

    assert errors == [0.0, 0.0] if factory == "HNSW8" else errors[1] > 1.1 * errors[0] > 0
