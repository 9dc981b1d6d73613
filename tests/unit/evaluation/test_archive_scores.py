import numpy as np
import pytest

from faceindex.evaluation.archive_scores import normalised_scores
from faceindex.evaluation.cohort import NOBODY, Cohort
from faceindex.evaluation.thresholds import Normalisation
from faceindex.evaluation.unlabelled_pairs import distinct_pairs
from tests.support.people import synthetic_people


def test_scores_of_pairs_equal_a_slow_loop_that_leaves_both_out_of_both_means():
    vectors, _ = synthetic_people([1] * 300, seed=51)
    cohort = Cohort(vectors[:120], Normalisation(k=5, weight=0.75), same=0.99)
    members = np.where(np.arange(300) < 120, np.arange(300), NOBODY)
    pairs = distinct_pairs(vectors, 2.0)

    found = normalised_scores(vectors, pairs, cohort, members)

    def mean_of(face, others):
        cosines = [vectors[face] @ vectors[row] for row in range(120) if row not in others]
        return np.mean(sorted(cosines)[-cohort.k :])

    slow = [
        vectors[one] @ vectors[other] - 0.375 * (mean_of(one, (one, other)) + mean_of(other, (one, other)))
        for one, other in zip(pairs.first[:400], pairs.second[:400], strict=True)
    ]
    assert found[:400] == pytest.approx(slow, abs=1e-5)


def test_a_member_that_shows_the_same_person_is_left_out():
    vectors, _ = synthetic_people([1] * 150, seed=52)
    twins = np.concatenate([vectors, vectors[:1] * np.float32(1)])
    cohort = Cohort(vectors[:110], Normalisation(k=2, weight=1.0), same=2.0)
    pairs = distinct_pairs(twins[[150, *range(120, 150)]], 2.0)
    known, unknown = np.full(31, NOBODY), np.full(31, NOBODY)
    known[0] = 0
    scores = [normalised_scores(twins[[150, *range(120, 150)]], pairs, cohort, members) for members in (known, unknown)]
    of_twin = (pairs.first == 0) | (pairs.second == 0)
    assert (scores[0][of_twin] > scores[1][of_twin] + 0.01).all()
    assert scores[0][~of_twin] == pytest.approx(scores[1][~of_twin])
