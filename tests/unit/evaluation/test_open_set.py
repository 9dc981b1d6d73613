from fractions import Fraction
from itertools import combinations
from math import comb, exp, lgamma

import numpy as np
import pytest

from faceindex.errors import ConfigError
from faceindex.evaluation.open_set import (
    MEASURED_PAIRS,
    OpenSetRates,
    false_positive_rates,
    look_alike_counts,
    no_match_probabilities,
    tail_exponent,
)
from faceindex.evaluation.pairing import Pairing, Pool
from tests.support.people import synthetic_people


def rates_of(faces, seed, draws=3):
    vectors, subjects = synthetic_people(faces, seed)
    return OpenSetRates.of_pool(Pool.of(vectors, subjects), draws, seed)


def among_each_other(vectors):
    return Pairing(vectors, vectors, np.arange(len(vectors)))


def point_of(rates, fpir, size):
    [point] = rates.operating_points([fpir], size)
    return point


@pytest.fixture(scope="module")
def pool():
    return rates_of([1] * 400 + [2] * 200, seed=11)


def test_look_alikes_equal_a_double_loop():
    vectors, _ = synthetic_people([1] * 30, seed=1)
    thresholds = np.array([0.8, 0.85, 0.9, 0.93])

    counts = look_alike_counts(among_each_other(vectors), thresholds)

    slow = [[sum(vectors[i] @ vectors[j] >= t for j in range(30) if j != i) for t in thresholds] for i in range(30)]
    assert counts.tolist() == slow


def test_a_face_at_the_threshold_is_a_match():
    vectors = np.array([[1, 0], [0.5, 0.75**0.5]], np.float32)
    assert look_alike_counts(among_each_other(vectors), np.array([0.5])).tolist() == [[1], [1]]


@pytest.mark.parametrize("others", [1, 2, 5, 13])
def test_galleries_without_a_look_alike_equal_the_ratio_of_binomials(others):
    for size in range(1, others + 1):
        exact = [float(Fraction(comb(others - k, size), comb(others, size))) for k in range(others + 1)]
        assert no_match_probabilities(others, size) == pytest.approx(exact, abs=1e-15)


def test_galleries_without_a_look_alike_equal_log_gamma_in_a_large_pool():
    others, size = 3384, 1000

    found = no_match_probabilities(others, size)

    for k in (1, 2, 17, 300, others - size):
        logs = lgamma(others - k + 1) - lgamma(others - k - size + 1) - lgamma(others + 1) + lgamma(others - size + 1)
        assert found[k] == pytest.approx(exp(logs), rel=1e-9)
    assert found[others - size + 1 :].max() == 0


@pytest.mark.parametrize("size", [1, 2, 4, 6])
def test_fpir_equals_the_share_of_all_galleries_that_match(size):
    vectors, _ = synthetic_people([1] * 7, seed=3)
    thresholds = np.array([0.78, 0.82, 0.86, 0.9])

    found = false_positive_rates(look_alike_counts(among_each_other(vectors), thresholds), 6, size)

    slow = []
    for threshold in thresholds:
        galleries = [
            any(vectors[probe] @ vectors[face] >= threshold for face in gallery)
            for probe in range(7)
            for gallery in combinations([face for face in range(7) if face != probe], size)
        ]
        slow.append(np.mean(galleries))
    assert found == pytest.approx(slow)


def test_hand_computed_fpir_of_four_strangers():
    # With 0, 1, 1 and 3 look-alikes among 3 others, a gallery of 2 misses them with 1, 1/3, 1/3 and 0.
    counts = np.array([[0], [1], [1], [3]], np.int32)
    assert false_positive_rates(counts, 3, 2) == pytest.approx([(0 + 2 / 3 + 2 / 3 + 1) / 4])


@pytest.mark.parametrize("size", [0, 4])
def test_a_gallery_that_the_pool_cannot_fill_is_refused(size):
    with pytest.raises(ConfigError, match=f"1 to 3 people can be measured with this pool, got {size}"):
        false_positive_rates(np.zeros((4, 1), np.int32), 3, size)


def test_draws_are_averaged_not_added():
    vectors, subjects = synthetic_people([1] * 60, seed=5)
    once, thrice = (OpenSetRates.of_pool(Pool.of(vectors, subjects), draws, seed=0) for draws in (1, 3))

    assert thrice.counts.shape[0] == 3 * once.counts.shape[0]
    assert thrice.pairs == pytest.approx(once.pairs)
    assert thrice.rates(20) == pytest.approx(once.rates(20))


def test_fpir_rises_with_the_gallery_and_falls_with_the_threshold_inside_and_beyond_the_pool(pool):
    sizes = [1, 7, 149, 598, 599, 600, 601, 2000, 50_000, 10**7]

    rates = np.array([pool.rates(size) for size in sizes])

    assert pool.others == 599
    assert (np.diff(rates, axis=0) >= 0).all()
    assert (np.diff(rates, axis=1) <= 0).all()


def test_an_operating_point_has_the_rate_it_was_asked_for(pool):
    for size, fpir in ((10, 0.1), (100, 0.03), (500, 0.3)):
        point = point_of(pool, fpir, size)

        assert np.interp(point.threshold, pool.thresholds, pool.rates(size)) == pytest.approx(fpir, rel=0.02)
        assert point.pairs >= MEASURED_PAIRS
        assert not point.extrapolated


def test_only_what_was_counted_is_called_measured(pool):
    assert not point_of(pool, 0.1, 599).extrapolated
    assert not point_of(pool, 0.1, 600).extrapolated  # the people themselves are no gallery they were missing in
    assert point_of(pool, 0.1, 601).extrapolated
    strictest = float(pool.rates(100)[-1])
    assert not point_of(pool, strictest * 1.001, 100).extrapolated
    beyond = point_of(pool, strictest / 3, 100)
    assert beyond.extrapolated
    assert beyond.pairs < MEASURED_PAIRS


def test_the_tail_goes_on_where_counting_ends(pool):
    last = float(pool.rates(100)[-1])

    just_inside, just_beyond = (point_of(pool, last * step, 100).threshold for step in (1.0001, 0.9999))

    assert just_inside < just_beyond < just_inside + 0.001
    assert just_beyond < point_of(pool, 1e-9, 100).threshold < 1


def test_the_tail_exponent_is_that_of_a_power_law():
    thresholds = np.linspace(0.8, 0.97, 300)
    assert tail_exponent(thresholds, 1e17 * (1 - thresholds) ** 19) == pytest.approx(19)


def test_one_person_under_two_names_hardly_changes_the_tail(pool):
    clean = tail_exponent(pool.thresholds, pool.pairs)
    assert tail_exponent(pool.thresholds, pool.pairs + 1) == pytest.approx(clean, rel=0.05)


@pytest.mark.parametrize(
    ("size", "fpir", "factor"), [(100, 0.1, 1.25), (300, 0.03, 1.5), (1200, 0.1, 1.5), (2400, 0.1, 2)]
)
def test_strangers_of_other_people_meet_the_rate_asked_for(pool, size, fpir, factor):
    gallery, _ = synthetic_people([1] * size, seed=101)
    strangers, _ = synthetic_people([1] * 6000, seed=102)

    threshold = point_of(pool, fpir, size).threshold

    realised = ((strangers @ gallery.T).max(axis=1) >= threshold).mean()
    assert 1 / factor < realised / fpir < factor


def test_too_few_people_are_refused():
    with pytest.raises(ConfigError, match="20 labelled people, got 19"):
        rates_of([2] * 19, seed=1)


def test_people_who_are_all_alike_are_refused():
    vectors = np.tile(np.array([[0.6, 0.8]], np.float32), (30, 1))
    with pytest.raises(ConfigError, match="people who differ"):
        OpenSetRates.of_pool(Pool.of(vectors, np.arange(30)), draws=1, seed=0)


def test_the_fewest_people_allowed_give_thresholds():
    point = point_of(rates_of([2] * 20, seed=1), 0.01, 1000)
    assert point.extrapolated
    assert 0 < point.threshold < 1
