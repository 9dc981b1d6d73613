import math

import numpy as np
import pytest

from faceindex.evaluation.intervals import Estimate, mean_over_people, rate_of_pairs, relative_variance


def test_people_who_all_agree_leave_the_interval_of_as_many_trials():
    # Wilson's interval of 10 out of 10 at 95 % is [0.7225, 1].
    found = mean_over_people(np.ones(10))

    assert found == Estimate(1.0, pytest.approx(0.7225, abs=1e-4), 1.0)
    assert found.complement() == Estimate(0.0, 0.0, pytest.approx(0.2775, abs=1e-4))


def test_zeros_and_ones_have_the_binomial_interval():
    # Wilson's interval of 15 out of 20 at 95 % is [0.531, 0.888].
    found = mean_over_people(np.array([1.0] * 15 + [0.0] * 5))

    assert (found.low, found.high) == (pytest.approx(0.531, abs=0.01), pytest.approx(0.888, abs=0.01))


@pytest.mark.parametrize("rates", [[0.5], [0.9, 0.8, 1.0], [1.0, 1.0, 1.0]])
def test_a_doubtful_threshold_widens_the_interval(rates):
    narrow, wide = mean_over_people(np.array(rates)), mean_over_people(np.array(rates), 0.3)

    assert wide.value == narrow.value
    assert wide.low < narrow.low
    assert 0 <= wide.low <= wide.value <= wide.high <= 1


def test_pairs_that_share_nobody_vary_as_their_number_says():
    shares = np.zeros(1000)
    shares[:10] = 1.0  # five pairs of ten people

    assert relative_variance(shares, 5.0) == pytest.approx(1 / 5, rel=0.01)
    assert relative_variance(np.zeros(1000), 0.0) == math.inf


def test_one_person_in_every_pair_makes_the_rate_a_matter_of_that_person():
    shares = np.zeros(1000)
    shares[0], shares[1:101] = 100.0, 1.0

    assert relative_variance(shares, 100.0) > 0.9


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(1, 0.0253, 5.572), (2, 0.2422, 7.225), (10, 4.795, 18.39), (100, 81.36, 121.63)],
)
def test_the_interval_is_that_of_a_poisson_count(count, low, high):
    found = rate_of_pairs(count / 1e6, 1 / count, 1e6)

    assert (found.low * 1e6, found.high * 1e6) == (pytest.approx(low, abs=0.05), pytest.approx(high, rel=0.01))


def test_a_rate_of_zero_is_at_most_four_in_the_trials():
    found = rate_of_pairs(0.0, math.inf, 1000)

    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(3.689 / 1000, rel=0.01)
