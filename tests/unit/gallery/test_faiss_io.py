import numpy as np
import pytest

from faceindex.gallery import faiss_io
from faceindex.gallery.training import train
from tests.support.people import synthetic_people

VECTORS = synthetic_people([3] * 2000, seed=1)[0].astype(np.float16)


@pytest.mark.parametrize("factory", ["IVF16,PQ12x4fs", "OPQ4,IVF16,PQ4x4fs", "IVF16,SQ8", "IVF16,PQ4x5", "HNSW8"])
def test_faces_unlike_those_trained_on_have_a_larger_quantisation_error(factory: str):
    index = faiss_io.new_index(factory, 24)
    train(index, VECTORS, 1, 1)
    alike, unlike = VECTORS[:500].astype(np.float32), -VECTORS[:500].astype(np.float32)

    errors = [faiss_io.quantisation_error(index, vectors) for vectors in (alike, unlike)]

    assert errors == [0.0, 0.0] if factory == "HNSW8" else errors[1] > 1.1 * errors[0] > 0
