import numpy as np
import pytest
from sklearn.metrics import roc_curve

from faceindex.errors import ConfigError
from faceindex.evaluation import scores as scores_module
from faceindex.evaluation import verification as module
from faceindex.evaluation.scores import EDGES, balanced_scores
from faceindex.evaluation.verification import operating_points, rates_by_person
from tests.support.people import synthetic_people

FACES = [1, 2, 5, 3, 1, 7, 2]
THRESHOLDS = [0.7, 0.9, 0.95]


def test_rates_by_person_equal_a_double_loop():
    vectors, subjects = synthetic_people(FACES, seed=1)

    found = rates_by_person(vectors, subjects, THRESHOLDS)

    people = len(FACES)
    for rates in found:
        shares, own, comparisons = np.zeros((people, people)), np.zeros(people), 0
        for a in range(len(vectors)):
            for b in range(a):
                i, j = subjects[a], subjects[b]
                if float(vectors[a] @ vectors[b]) < rates.threshold:
                    continue
                if i == j:
                    own[i] += 1 / (FACES[i] * (FACES[i] - 1) / 2)
                else:
                    shares[i, j] += 1 / (FACES[i] * FACES[j])
                    comparisons += 1
        both = shares + shares.T
        np.testing.assert_allclose(rates.false_matches, both.sum(axis=1), atol=1e-12)
        np.testing.assert_allclose(
            rates.false_non_matches, [1 - own[i] for i in range(people) if FACES[i] > 1], atol=1e-9
        )
        assert rates.squares == pytest.approx((shares**2).sum())
        assert (rates.comparisons, rates.person_pairs) == (comparisons, np.count_nonzero(np.triu(both, 1)))


def test_no_face_order_and_no_block_size_changes_anything(monkeypatch):
    vectors, subjects = synthetic_people(FACES, seed=2)
    whole = rates_by_person(vectors, subjects, THRESHOLDS)

    monkeypatch.setattr(scores_module, "BLOCK_ROWS", 2)
    monkeypatch.setattr(module, "BLOCK_PERSON_PAIRS", 1)
    order = np.random.default_rng(0).permutation(len(vectors))
    again = rates_by_person(vectors[order], subjects[order], THRESHOLDS)

    for one, other in zip(whole, again, strict=True):
        np.testing.assert_allclose(other.false_matches, one.false_matches)
        np.testing.assert_allclose(other.false_non_matches, one.false_non_matches)
        assert (other.squares, other.comparisons) == (pytest.approx(one.squares), one.comparisons)


@pytest.mark.parametrize("balanced", [True, False])
def test_rates_at_every_threshold_are_those_of_scikit_learn(balanced):
    vectors, subjects = synthetic_people([3, 1, 6, 2, 2, 4, 1, 9] * 5, seed=3)
    found = balanced_scores(vectors, subjects, balanced=balanced)

    a, b = np.triu_indices(len(vectors), 1)
    sizes = np.bincount(subjects)[subjects]
    mated = subjects[a] == subjects[b]
    weights = np.where(mated, 2 / (sizes[a] * np.maximum(sizes[a] - 1, 1)), 1 / (sizes[a] * sizes[b]))
    # Scores as bins see them, so that both put thresholds at the same places.
    binned = np.floor(((vectors[a] * vectors[b]).sum(axis=1).astype(np.float64) + 1) * 10_000).astype(int)
    fmr, tar, thresholds = roc_curve(
        mated, binned, sample_weight=weights if balanced else None, drop_intermediate=False
    )

    places = thresholds[1:].astype(int)
    # A cosine within rounding of an edge may fall on either side of it.
    np.testing.assert_allclose(found.fmr[places], fmr[1:], atol=5e-4)
    np.testing.assert_allclose(1 - found.fnmr[places], tar[1:], atol=2e-3)


def test_operating_points_keep_to_the_rate_and_count_exactly():
    vectors, subjects = synthetic_people([2] * 150, seed=4)
    found, _ = operating_points(vectors, subjects, balanced_scores(vectors, subjects), [0.1, 0.01, 0.001])

    cosines = (vectors @ vectors.T).astype(np.float64)
    other = np.triu(subjects[:, None] != subjects[None, :])
    own = np.triu(subjects[:, None] == subjects[None, :], 1)
    for point in found:
        assert point.fmr.value == pytest.approx((cosines[other] >= point.threshold).mean())
        assert point.tar.value == pytest.approx((cosines[own] >= point.threshold).mean())
        assert point.comparisons == (cosines[other] >= point.threshold).sum()
        assert point.fmr.value <= point.asked * (1 + 1e-9) < (cosines[other] >= point.threshold - 1.01e-4).mean()
        assert point.fmr.low < point.fmr.value < point.fmr.high
        assert point.tar.low < point.tar.value <= point.tar.high


def test_the_equal_error_rate_is_where_the_curves_cross():
    vectors, subjects = synthetic_people([3] * 100, seed=5, within=0.6)
    scores = balanced_scores(vectors, subjects)

    _, equal = operating_points(vectors, subjects, scores, [0.1])

    assert equal.low < equal.value < equal.high
    gaps = np.abs(scores.fmr - scores.fnmr)
    place = int(np.argmin(gaps))
    assert equal.value == pytest.approx((scores.fmr[place] + scores.fnmr[place]) / 2, abs=1e-3)
    assert EDGES[place] > 0.5


def test_intervals_hold_the_rates_of_all_people_as_often_as_they_say():
    # Groups of look-alikes make the rates vary more than pairs alone would.
    def sample(people: int, seed: int):
        generator = np.random.default_rng(seed)
        vectors, subjects = synthetic_people([3] * people, seed=seed, within=0.5, dimension=12)
        family = np.random.default_rng(1).standard_normal((30, 12))
        shift = np.repeat(family[generator.integers(0, 30, people)], 3, axis=0)
        vectors = vectors + 0.07 * shift
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), subjects

    found = [rates_by_person(*sample(120, seed), [0.9])[0] for seed in range(150)]
    fmrs = [rates.fmr()[0] for rates in found]
    truth = np.mean([fmr.value for fmr in fmrs])

    assert truth > 1e-3
    covered = np.mean([fmr.low <= truth <= fmr.high for fmr in fmrs])
    assert covered > 0.88


def test_people_with_one_face_each_are_refused():
    vectors, subjects = synthetic_people([1] * 5, seed=6)
    with pytest.raises(ConfigError, match="people with two faces or more, got none"):
        operating_points(vectors, subjects, balanced_scores(vectors, subjects), [0.1])
