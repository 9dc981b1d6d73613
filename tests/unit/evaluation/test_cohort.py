import numpy as np
import pytest

from faceindex.evaluation.cohort import NOBODY, Cohort, one_face_of_each
from faceindex.evaluation.thresholds import Normalisation
from tests.support.people import synthetic_people

HALF = 0.375


def cohort(count=300, same=2.0, seed=1):
    return Cohort(synthetic_people([1] * count, seed=seed)[0], Normalisation(10, 2 * HALF), same)


def mean_of_nearest(face, vectors, k, left_out=(), same=2.0):
    cosines = [float(face @ one) for index, one in enumerate(vectors) if index not in left_out]
    return np.mean(sorted(c for c in cosines if c < same)[-k:])


@pytest.mark.parametrize(("members", "k"), [(100, 2), (350, 3), (999, 9), (5000, 10)])
def test_means_are_over_a_hundredth_of_the_cohort(members, k):
    assert Cohort(np.zeros((members, 4), np.float32), Normalisation(10, 0.75), 0.95).k == k


def test_means_equal_a_slow_loop_without_the_own_person_and_whoever_is_taken_for_it():
    among = cohort(same=0.93)
    faces, _ = synthetic_people([1] * 40, seed=2)
    faces = np.concatenate([faces, among.vectors[:5]])
    own = np.concatenate([np.full(30, NOBODY), np.arange(10), np.arange(5)])

    means = among.surroundings(faces, own).means

    slow = [
        mean_of_nearest(face, among.vectors, 3, {member} - {NOBODY}, 0.93)
        for face, member in zip(faces, own.tolist(), strict=True)
    ]
    assert means == pytest.approx(slow, abs=1e-6)


def test_a_score_leaves_the_candidate_s_person_out_of_the_mean_of_the_probe():
    among = cohort()
    probes, _ = synthetic_people([1] * 20, seed=3)
    candidates = np.tile(np.arange(12), (20, 1))
    faces = among.vectors[:12]
    own = np.where(candidates < 8, candidates, NOBODY)
    means = among.surroundings(faces, np.where(np.arange(12) < 8, np.arange(12), NOBODY)).means

    scores = among.scores(probes @ faces.T, among.surroundings(probes), means[candidates], own)

    for row in range(20):
        for column in range(12):
            left_out = {column} if column < 8 else set()
            slow = probes[row] @ faces[column]
            slow -= HALF * mean_of_nearest(probes[row], among.vectors, 3, left_out)
            slow -= HALF * mean_of_nearest(faces[column], among.vectors, 3, left_out)
            assert scores[row, column] == pytest.approx(slow, abs=1e-6)


def test_one_face_is_taken_of_each_person_who_is_known():
    vectors, people = synthetic_people([3] * 30, seed=4)
    chosen = one_face_of_each(vectors, people, same=2.0, alike=2.0)
    assert people[chosen].tolist() == list(range(30))
    assert (chosen % 3 == 0).all()


def test_faces_linked_by_a_chain_count_as_one_person():
    angles = np.radians([0, 10, 20, 30, 90, 100])
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    unknown = np.full(6, NOBODY)

    linked = one_face_of_each(vectors, unknown, same=np.cos(np.radians(11)), alike=1.5)
    near = one_face_of_each(vectors, unknown, same=1.5, alike=np.cos(np.radians(11)))

    assert linked.tolist() == [0, 4]
    assert near.tolist() == [0, 2, 4]


def test_no_more_are_taken_than_wanted():
    vectors, _ = synthetic_people([1] * 50, seed=5)
    assert one_face_of_each(vectors, np.full(50, NOBODY), same=2.0, alike=2.0, members=7).tolist() == list(range(7))


def test_faces_that_are_all_alike_are_one_person():
    vectors = np.tile(np.array([[0.6, 0.8]], np.float32), (200, 1))
    assert one_face_of_each(vectors, np.full(200, NOBODY), same=0.95, alike=0.94).tolist() == [0]
