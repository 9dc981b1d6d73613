import numpy as np
import pytest

from faceindex.errors import ConfigError
from faceindex.evaluation import probabilities as module
from faceindex.evaluation.pairing import Pairing, Pool
from faceindex.evaluation.probabilities import fit_identified, fit_logistic, fit_same, simulate_searches
from faceindex.evaluation.scores import balanced_scores
from tests.support.people import synthetic_people


def logistic(log_odds):
    return np.exp(-np.logaddexp(0, -log_odds))


def random_trials(count=4000):
    generator = np.random.default_rng(0)
    features = generator.normal([0.94, 5.0], [0.02, 2.0], (count, 2))
    outcomes = generator.random(count) < logistic(-280 + 300 * features[:, 0] - 0.8 * features[:, 1])
    return features, outcomes.astype(float), generator.integers(1, 4, count).astype(float)


def test_the_fit_solves_the_score_equations():
    features, outcomes, weights = random_trials()

    intercept, slopes = fit_logistic(features, outcomes, weights)

    left = weights * (outcomes - logistic(intercept + features @ slopes))
    assert left.sum() == pytest.approx(0, abs=1e-6)
    standardised = (features - features.mean(axis=0)) / features.std(axis=0)
    assert left @ standardised == pytest.approx(0, abs=2e-3)


def test_the_fit_finds_the_slopes_that_made_the_outcomes():
    features, outcomes, _ = random_trials(60_000)
    intercept, slopes = fit_logistic(features, outcomes, np.ones(len(features)))
    assert [intercept, *slopes] == pytest.approx([-280, 300, -0.8], rel=0.05)


def test_a_weight_counts_like_so_many_copies():
    features, outcomes, weights = random_trials(500)
    copies = np.repeat(np.arange(500), weights.astype(int))

    weighted = fit_logistic(features, outcomes, weights)
    copied = fit_logistic(features[copies], outcomes[copies], np.ones(len(copies)))

    assert weighted[0] == pytest.approx(copied[0])
    assert weighted[1] == pytest.approx(copied[1])


def test_classes_that_do_not_overlap_give_a_finite_fit():
    features = np.array([[0.1], [0.2], [0.8], [0.9]])
    intercept, slopes = fit_logistic(features, np.array([0.0, 0.0, 1.0, 1.0]), np.ones(4))
    assert np.isfinite([intercept, *slopes]).all()
    assert intercept + 0.5 * slopes[0] == pytest.approx(0, abs=1e-6)
    assert slopes[0] > 10


@pytest.mark.parametrize("sizes", [[2, 5], [8], [3, 8]])
def test_the_best_two_others_equal_a_double_loop(monkeypatch, sizes):
    monkeypatch.setattr("faceindex.evaluation.scores.BLOCK_ROWS", 4)
    gallery, _ = synthetic_people([1] * 9, seed=1)
    probes, _ = synthetic_people([1] * 7, seed=2)
    own, order = np.array([0, 1, 2, 8, 4, 7, 3]), np.random.default_rng(0).permutation(9)
    pairing = Pairing(probes, gallery, own, strangers=False)

    best, second, own_scores = module._best_two(pairing, order, np.array(sizes))

    others = [[probes[i] @ gallery[j] for j in order if j != own[i]] for i in range(7)]
    assert best == pytest.approx(np.array([[max(row[:size]) for size in sizes] for row in others]))
    assert second == pytest.approx(np.array([[sorted(row[:size])[-2] for size in sizes] for row in others]))
    assert own_scores[:, 0] == pytest.approx((probes * gallery[own]).sum(axis=1))


def test_the_margin_is_the_distance_to_the_next_person_whoever_is_first():
    vectors, subjects = synthetic_people([2] * 12, seed=14, within=0.001)

    searches = simulate_searches(Pool.of(vectors, subjects), [11], draws=1, seed=0)

    cosines = vectors[::2] @ vectors[::2].T - 2 * np.eye(12)
    nearest = np.sort(cosines, axis=1)
    strangers, enrolled = np.sort(searches.margins[:12]), np.sort(searches.margins[12:])
    assert strangers == pytest.approx(np.sort(nearest[:, -1] - nearest[:, -2]), abs=5e-3)
    # The own face comes first; ten others stand behind it, whoever of the eleven is left out.
    assert (enrolled >= np.sort(1 - nearest[:, -1]) - 5e-3).all()


def test_searches_are_half_mated_at_every_gallery_size():
    vectors, subjects = synthetic_people([1] * 30 + [2] * 10, seed=3)

    searches = simulate_searches(Pool.of(vectors, subjects), [3, 11, 39], draws=2, seed=0)

    assert len(searches.right) == 3 * 2 * (40 + 10)
    for size in (3, 11, 39):
        at_size = searches.gallery_sizes == size
        mated = at_size & (searches.weights > np.median(searches.weights))
        assert mated.sum() == 2 * 10
        assert searches.weights[mated].sum() == pytest.approx(searches.weights[at_size].sum() / 2)
        assert not searches.right[at_size & ~mated].any()
    assert searches.weights.mean() == pytest.approx(1)


def test_enrolled_people_are_found_by_their_other_face_and_strangers_by_nobody_s():
    vectors, subjects = synthetic_people([2] * 25, seed=4, within=0.001)

    searches = simulate_searches(Pool.of(vectors, subjects), [24], draws=1, seed=0)

    assert searches.right.tolist() == [False] * 25 + [True] * 25
    cosines = vectors[::2] @ vectors[::2].T - 2 * np.eye(25)
    assert np.sort(searches.scores[:25]) == pytest.approx(np.sort(cosines.max(axis=1)), abs=2e-3)
    assert searches.scores[25:] == pytest.approx(1, abs=1e-4)


def test_subject_numbers_carry_no_meaning():
    vectors, subjects = synthetic_people([1, 2, 3] * 12, seed=5)
    plain = simulate_searches(Pool.of(vectors, subjects), [5, 30], draws=1, seed=0)
    renamed = simulate_searches(Pool.of(vectors, subjects * 1000 + 7), [5, 30], draws=1, seed=0)
    assert renamed.scores.tolist() == plain.scores.tolist()


@pytest.mark.parametrize("sizes", [[], [2], [3, 36]])
def test_gallery_sizes_out_of_reach_are_refused(sizes):
    vectors, subjects = synthetic_people([2] * 36, seed=6)
    with pytest.raises(ConfigError, match="galleries of 3 to 35 people"):
        simulate_searches(Pool.of(vectors, subjects), sizes, draws=1, seed=0)


def test_people_with_one_face_each_tell_no_probability():
    vectors, subjects = synthetic_people([1] * 30, seed=7)
    with pytest.raises(ConfigError, match="people with two faces or more, got none"):
        simulate_searches(Pool.of(vectors, subjects), [3], draws=1, seed=0)
    with pytest.raises(ConfigError, match="people with two faces or more, got none"):
        fit_same(balanced_scores(vectors, subjects))


def test_a_face_added_to_the_gallery_makes_the_same_similarity_less_probable():
    vectors, subjects = synthetic_people([2] * 300, seed=8)
    fit = fit_identified(simulate_searches(Pool.of(vectors, subjects), [3, 10, 50, 200], draws=2, seed=0))
    assert fit["score"] > 0
    assert fit["log_gallery_size"] < 0


@pytest.mark.parametrize("size", [20, 200, 1000])
def test_of_answers_given_at_a_probability_so_many_are_right(size):
    fit = fit_identified(
        simulate_searches(Pool.of(*synthetic_people([1, 2] * 400, seed=9)), [5, 20, 100, 500], draws=3, seed=0)
    )
    vectors, _ = synthetic_people([2] * 4000, seed=10)
    enrolled, probes = vectors[::2][:size], vectors[1::2]

    cosines = probes @ enrolled.T
    mated = np.tile(cosines[:size], (-(-(4000 - size) // size), 1))[: 4000 - size]
    searches = np.concatenate([mated, cosines[size:]])
    truth = np.concatenate([np.arange(4000 - size) % size, np.full(4000 - size, -1)])
    right = searches.argmax(axis=1) == truth
    told = logistic(fit["intercept"] + fit["score"] * searches.max(axis=1) + fit["log_gallery_size"] * np.log(size))

    bins = np.digitize(told, [0.1, 0.3, 0.5, 0.7, 0.9])
    gaps = [abs(told[bins == b].mean() - right[bins == b].mean()) for b in range(6) if (bins == b).sum() >= 200]
    assert len(gaps) >= 2
    assert max(gaps) < 0.08
    assert abs(told.mean() - right.mean()) < 0.03


def test_one_to_one_probabilities_hold_at_even_odds():
    fit = fit_same(balanced_scores(*synthetic_people([1, 3] * 200, seed=12, within=0.7)))
    vectors, _ = synthetic_people([2] * 5000, seed=13, within=0.7)
    first, second = vectors[::2], vectors[1::2]

    cosines = np.concatenate([(first * second).sum(axis=1), (first * np.roll(second, 1, axis=0)).sum(axis=1)])
    same = np.repeat([True, False], 5000)
    told = logistic(fit["intercept"] + fit["similarity"] * cosines)

    unsure = (told > 0.1) & (told < 0.9)
    assert unsure.sum() > 100
    assert told[unsure].mean() == pytest.approx(same[unsure].mean(), abs=0.1)
    assert told.mean() == pytest.approx(0.5, abs=0.01)
