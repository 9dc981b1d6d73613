from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from faceindex.evaluation.model_table import make_model_table
from faceindex.evaluation.thresholds import ModelTable
from faceindex.types import ModelId
from tests.support.people import synthetic_people

sizes = st.integers(0, 10**9)
rates = st.floats(1e-9, 0.999)
similarities = st.floats(-1.0, 1.001)


@cache
def table() -> ModelTable:
    people = synthetic_people([1, 2] * 60, seed=41)
    return ModelTable.from_json(make_model_table(*people, ModelId("demo@0"), data="synthetic people", draws=1))


@given(sizes, sizes, rates)
def test_a_larger_gallery_never_lowers_the_threshold(one, two, fpir):
    low, high = (table().identification_threshold(fpir, size).value for size in sorted((one, two)))
    assert low <= high + 1e-12


@given(sizes, rates, rates)
def test_a_stricter_rate_never_lowers_the_threshold(size, one, two):
    high, low = (table().identification_threshold(fpir, size).value for fpir in sorted((one, two)))
    assert low <= high + 1e-12
    high, low = (table().verification_threshold(fmr).value for fmr in sorted((one, two)))
    assert low <= high + 1e-12


@given(sizes, rates)
def test_a_threshold_is_a_cosine(size, fpir):
    assert -1.0 < table().identification_threshold(fpir, size).value < 1.0


@given(similarities, similarities, sizes)
def test_a_more_similar_face_is_never_less_probable(one, two, size):
    low, high = (table().probability_identified(similarity, size) for similarity in sorted((one, two)))
    assert 0 <= low <= high <= 1
    low, high = (table().probability_same(similarity) for similarity in sorted((one, two)))
    assert 0 <= low <= high <= 1


@given(similarities, sizes, sizes)
def test_a_larger_gallery_never_makes_a_similarity_more_probable(similarity, one, two):
    high, low = (table().probability_identified(similarity, size) for size in sorted((one, two)))
    assert low <= high
