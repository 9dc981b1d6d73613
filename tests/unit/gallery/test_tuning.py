import numpy as np
import pytest

from faceindex.gallery.build import train
from faceindex.gallery.recall import draw_sample, measure
from faceindex.gallery.search import Gallery
from faceindex.gallery.tuning import AIM, DEPTHS, Target, tune
from faceindex.types import IndexRecipe
from tests.support.galleries import make_gallery, random_ids
from tests.support.people import synthetic_people


@pytest.fixture(scope="module", params=["IVF32,PQ12x4fs", "IVF32,SQ8", "HNSW16"])
def gallery(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    vectors, _ = synthetic_people([3] * 1000, seed=1)
    recipe = IndexRecipe(request.param, nprobe=1, rerank=1)
    trained = train(recipe, vectors.astype(np.float16))
    return make_gallery(tmp_path_factory.mktemp("tuned"), random_ids(3000, 1), vectors, recipe, trained, shards=2)


def test_the_point_found_reaches_the_aim_and_a_cheaper_one_does_not(gallery: Gallery):
    sample = draw_sample(gallery, 400)

    found = tune(gallery, sample)

    assert not AIM.shortfalls(measure(gallery.at(found), sample))
    cheaper = IndexRecipe(found.factory, found.nprobe // 2, DEPTHS[max(0, DEPTHS.index(found.rerank) - 1)])
    assert found.rerank == 1 or AIM.shortfalls(measure(gallery.at(cheaper), sample))


def test_an_aim_that_nothing_reaches_gives_the_most_there_is(gallery: Gallery):
    found = tune(gallery, draw_sample(gallery, 100), Target(1.01, 0.0, 0.0))

    assert found.rerank == DEPTHS[-1]
    assert found.nprobe in (0, 32)


def test_a_sample_is_half_strangers_whose_own_face_is_nowhere(gallery: Gallery):
    sample = draw_sample(gallery, 400)

    assert (sample.own == b"").sum() == 200
    assert (sample.truth < 0.9999).all(), "else it finds itself"
    assert sample.mated[sample.own == b""].sum() == 0
    assert sample.mated[sample.own != b""].mean() > 0.5, "synthetic people have three faces each"
    np.testing.assert_allclose(np.linalg.norm(sample.probes, axis=1), 1, atol=1e-3)
