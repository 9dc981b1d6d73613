import numpy as np
import pytest

from faceindex.arrays import l2_normalize
from faceindex.errors import ConfigError
from faceindex.evaluation.cohort import NOBODY, Cohort
from faceindex.evaluation.pairing import Pairing, Pool, templates
from faceindex.evaluation.thresholds import Normalisation
from tests.support.people import synthetic_people

HALF = 0.25


def scores_of(pairing):
    return np.concatenate([scores for _, scores in pairing.blocks()])


def normalised_pool(seed, faces):
    """A pool of which every other person is in the cohort, with its first face."""
    vectors, people = synthetic_people(faces, seed)
    count = len(faces)
    first = np.searchsorted(people, np.arange(0, count, 2))
    others, _ = synthetic_people([1] * 150, seed + 1)
    cohort = Cohort(np.concatenate([vectors[first], others]), Normalisation(10, 2 * HALF), 2.0)
    members = np.full(count, NOBODY)
    members[::2] = np.arange(len(first))
    return Pool(vectors, people, cohort, members)


def slow_score(pool, probe, face, left_out_of_probe, left_out_of_face):
    def mean(vector, left_out):
        cosines = [vector @ one for index, one in enumerate(pool.cohort.vectors) if index not in left_out]
        return np.mean(sorted(cosines)[-pool.cohort.k :])

    return probe @ face - HALF * (mean(probe, left_out_of_probe) + mean(face, left_out_of_face))


def test_cosines_of_strangers_leave_out_the_own_person(monkeypatch):
    monkeypatch.setattr("faceindex.evaluation.scores.BLOCK_ROWS", 7)
    pool = Pool.of(*synthetic_people([2] * 20, seed=1))

    pairing = pool.strangers(np.random.default_rng(0))

    found = scores_of(pairing)
    assert np.isneginf(np.diag(found)).all()
    expected = pairing.probes @ pairing.references.T
    assert found[~np.eye(20, dtype=bool)] == pytest.approx(expected[~np.eye(20, dtype=bool)])


def test_normalised_scores_of_strangers_know_neither_person_of_a_pair(monkeypatch):
    monkeypatch.setattr("faceindex.evaluation.scores.BLOCK_ROWS", 7)
    pool = normalised_pool(2, [2] * 30)

    pairing = pool.strangers(np.random.default_rng(0))

    found = scores_of(pairing)
    for i in range(30):
        for j in range(30):
            if i != j:
                out = {int(pool.members[i]), int(pool.members[j])}
                assert found[i, j] == pytest.approx(
                    slow_score(pool, pairing.probes[i], pairing.references[j], out, out), abs=1e-6
                )


def test_normalised_scores_of_enrolled_people_leave_out_the_candidate_only():
    pool = normalised_pool(3, [1, 2] * 15)

    pairing = pool.mated(np.random.default_rng(0))

    found = scores_of(pairing)
    assert found.shape == (15, 30)
    for i in range(15):
        for j in range(30):
            out = {int(pool.members[j])}
            assert found[i, j] == pytest.approx(
                slow_score(pool, pairing.probes[i], pairing.references[j], out, out), abs=1e-6
            )


def test_people_enrolled_by_their_mean_are_searched_without_the_probe():
    vectors, people = synthetic_people([3] * 10, seed=4)
    pool = Pool.of(vectors, people, averaged=True)

    pairing = pool.mated(np.random.default_rng(0))

    found = scores_of(pairing)
    means = np.array([l2_normalize(vectors[people == p].sum(axis=0, keepdims=True))[0] for p in range(10)])
    assert templates(vectors, people) == pytest.approx(means, abs=1e-6)
    for i, own in enumerate(pairing.own.tolist()):
        rest = vectors[people == own].sum(axis=0) - pairing.probes[i]
        assert found[i, own] == pytest.approx(pairing.probes[i] @ (rest / np.linalg.norm(rest)), abs=1e-6)
        others = np.arange(10) != own
        assert found[i, others] == pytest.approx(means[others] @ pairing.probes[i], abs=1e-6)


def test_the_ceiling_is_what_a_face_of_usual_surroundings_scores_with_itself():
    pool = normalised_pool(5, [1] * 40)
    pairing = pool.strangers(np.random.default_rng(0))
    own = [
        slow_score(pool, face, face, {int(pool.members[i])}, {int(pool.members[i])})
        for i, face in enumerate(pairing.references)
    ]
    assert pairing.ceiling == pytest.approx(np.median(own), abs=1e-6)
    assert Pairing(pairing.probes, pairing.references, pairing.own).ceiling == 1.0


def test_people_with_one_face_each_are_not_searched_for():
    with pytest.raises(ConfigError, match="people with two faces or more, got none"):
        Pool.of(*synthetic_people([1] * 30, seed=6)).mated(np.random.default_rng(0))
