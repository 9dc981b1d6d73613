import numpy as np
import pytest

from faceindex.errors import ConfigError, ShapeError
from faceindex.evaluation import scores as module
from faceindex.evaluation.scores import BINS, EDGES, balanced_scores, one_face_each
from tests.support.people import synthetic_people

FACES = [1, 2, 5, 3, 1, 7, 2]


def test_rates_equal_a_double_loop_with_identity_balanced_weights():
    vectors, subjects = synthetic_people(FACES, seed=1)

    found = balanced_scores(vectors, subjects)

    mated, nonmated = np.zeros(BINS), np.zeros(BINS)
    for i in range(len(vectors)):
        for j in range(i):
            n_i, n_j = FACES[subjects[i]], FACES[subjects[j]]
            place = np.searchsorted(EDGES, vectors[i] @ vectors[j], side="right") - 1
            if subjects[i] == subjects[j]:
                mated[place] += 2 / (n_i * (n_i - 1)) / sum(n >= 2 for n in FACES)
            else:
                nonmated[place] += 1 / (n_i * n_j) / (len(FACES) * (len(FACES) - 1) / 2)
    np.testing.assert_allclose(found.mated, mated, atol=1e-12)
    np.testing.assert_allclose(found.nonmated, nonmated, atol=1e-12)
    assert (found.subject_count, found.mated_subject_count, found.image_count) == (7, 5, 21)


def test_hand_computed_rates_of_four_faces():
    # Person 0 has two faces, at right angles; person 1 stands at 0.6 and 0.8 from them, person 2 opposite to the first.
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8], [-1, 0]], np.float32)

    found = balanced_scores(vectors, np.array([0, 0, 1, 2]))

    # 0-1 counts a third: 0.6 and 0.8 half each; 0-2: -1 and 0; 1-2: -0.6.
    rates = {float(t): float(found.fmr[np.searchsorted(EDGES, t)]) for t in (-0.99, -0.5, 0.1, 0.7, 0.9)}
    assert rates == pytest.approx({-0.99: 5 / 6, -0.5: 1 / 2, 0.1: 1 / 3, 0.7: 1 / 6, 0.9: 0})
    assert found.mated[np.searchsorted(EDGES, 0.0, side="right") - 1] == pytest.approx(1)


def test_more_photos_of_one_person_change_no_rate():
    vectors, subjects = synthetic_people(FACES, seed=2)
    repeated = np.concatenate([np.arange(len(vectors)), *[np.flatnonzero(subjects == 5)] * 20])

    once = balanced_scores(vectors, subjects)
    often = balanced_scores(vectors[repeated], subjects[repeated])

    np.testing.assert_allclose(often.fmr, once.fmr, atol=1e-12)


@pytest.mark.parametrize("block", [1, 7])
def test_the_block_size_changes_nothing(monkeypatch, block):
    vectors, subjects = synthetic_people(FACES, seed=3)
    whole = balanced_scores(vectors, subjects)

    monkeypatch.setattr(module, "BLOCK_ROWS", block)
    blocks = balanced_scores(vectors, subjects)

    np.testing.assert_allclose(blocks.fmr, whole.fmr, atol=1e-12)
    np.testing.assert_allclose(blocks.mated, whole.mated, atol=1e-12)


def test_a_threshold_has_the_rate_it_was_asked_for():
    vectors, subjects = synthetic_people([2] * 150, seed=4)
    found = balanced_scores(vectors, subjects)
    asked = np.array([0.5, 0.1, 0.01, 0.001])

    thresholds = found.thresholds_at(asked)

    cosines = vectors @ vectors.T
    other = subjects[:, None] != subjects[None, :]
    realised = [(cosines[other] >= threshold).mean() for threshold in thresholds]
    np.testing.assert_allclose(realised, asked, rtol=0.02)


def test_one_face_each_picks_one_row_of_every_person():
    subjects = np.array([4, 9, 4, 2, 9, 9])
    picked = [one_face_each(subjects, np.random.default_rng(seed)) for seed in range(40)]

    assert all(subjects[rows].tolist() == [2, 4, 9] for rows in picked)
    assert {int(rows[2]) for rows in picked} == {1, 4, 5}


def test_faces_of_one_person_only_are_refused():
    vectors, _ = synthetic_people([3], seed=5)
    with pytest.raises(ConfigError, match="two people or more, got 1"):
        balanced_scores(vectors, np.zeros(3, np.int64))


def test_vectors_of_another_type_are_refused():
    with pytest.raises(ShapeError, match="vectors must be float32"):
        balanced_scores(np.eye(3), np.arange(3))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_vector_that_is_not_numbers_is_named(value):
    vectors, subjects = synthetic_people([2, 2], seed=0)
    vectors[2, 5] = value

    with pytest.raises(ShapeError, match="row 2 is not"):
        balanced_scores(vectors, subjects)
