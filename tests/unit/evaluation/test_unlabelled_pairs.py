import numpy as np
import pytest

from faceindex.errors import ShapeError
from faceindex.evaluation.unlabelled_pairs import (
    GROUP_FACES,
    MOST_PHOTOS,
    PHOTO_FACES,
    distinct_pairs,
    in_photo_pairs,
    presumed_people,
    separate,
    unlabelled_pairs,
)
from tests.support.people import synthetic_people

ALIKE = 0.97


def boxes_in_a_row(photos):
    """Boxes side by side: no two of a photo touch."""
    places = np.arange(len(photos)) * 100.0
    return np.column_stack([places, np.zeros(len(photos)), places + 80, np.full(len(photos), 90.0)])


def found_pairs(photos, vectors, boxes=None, alike=2.0, seed=0):
    photos = np.asarray(photos)
    pairs = in_photo_pairs(photos, boxes_in_a_row(photos) if boxes is None else boxes, vectors, alike, seed)
    return sorted((min(pair), max(pair)) for pair in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))


@pytest.fixture
def six_people():
    return synthetic_people([1] * 6, seed=1)[0]


def test_pairs_are_the_faces_of_one_photo(six_people):
    assert found_pairs([7, 3, 7, 5, 3, 7], six_people) == [(0, 2), (0, 5), (1, 4), (2, 5)]


def test_photo_ids_may_be_bytes(six_people):
    ids = np.frombuffer(b"a" * 16 + b"\0" * 16 + b"a" * 16 + b"\0" * 16 + b"c" * 16 + b"d" * 16, "S16")
    assert found_pairs(ids, six_people) == [(0, 2), (1, 3)]


def test_each_pair_knows_its_photo(six_people):
    photos = np.array([7, 3, 7, 5, 3, 7])
    pairs = in_photo_pairs(photos, boxes_in_a_row(photos), six_people, 2.0)
    assert pairs.in_photos
    assert len(np.unique(pairs.groups)) == 2
    for first, second, other in zip(pairs.first, pairs.second, pairs.groups, strict=True):
        assert photos[first] == photos[second]
        assert {photos[row] for row in pairs.first[pairs.groups == other]} == {photos[first]}


def test_boxes_that_overlap_are_no_pair(six_people):
    boxes = np.array(
        [
            [0, 0, 10, 10],
            [9, 9, 19, 19],  # a corner of the first
            [10, 0, 20, 10],  # beside the first, over the second
            [2, 2, 3, 3],  # inside the first
            [np.nan, 0, 5, 5],
            [100, 100, 110, 110],
        ]
    )
    assert found_pairs([0] * 6, six_people, boxes) == [(0, 2), (0, 5), (1, 3), (1, 5), (2, 3), (2, 5), (3, 5)]


def test_boxes_are_separate_when_they_have_no_area_in_common():
    one = np.array([0.0, 0, 10, 10])
    others = np.array([[10, 0, 20, 10], [0, 10, 10, 20], [9.9, 0, 20, 10], [-5, -5, 20, 20], [np.nan, 0, 1, 1]])
    assert separate(one, others).tolist() == [True, True, False, False, False]
    assert separate(others, one).tolist() == [True, True, False, False, False]


def test_a_face_and_its_mirror_image_are_no_pair():
    vectors, _ = synthetic_people([1, 1], seed=2)
    vectors = np.concatenate([vectors, vectors[:1]])
    assert found_pairs([0, 0, 0], vectors, alike=0.999) in ([(0, 1)], [(1, 2)])


def test_a_couple_in_a_hundred_photos_is_one_pair():
    couple, _ = synthetic_people([1, 1], seed=3)
    vectors, photos = np.tile(couple, (100, 1)), np.repeat(np.arange(100), 2)
    assert len(found_pairs(photos, vectors, alike=0.999)) == 1
    assert len(found_pairs(photos, vectors)) == 100


def test_a_crowd_is_worth_eight_people():
    vectors, _ = synthetic_people([1] * 64, seed=4)
    found = found_pairs([0] * 60 + [1] * 4, vectors)
    assert len({row for pair in found[:-6] for row in pair}) == PHOTO_FACES
    assert len(found[:-6]) == PHOTO_FACES * (PHOTO_FACES - 1) // 2
    assert found[-6:] == [(60, 61), (60, 62), (60, 63), (61, 62), (61, 63), (62, 63)]


def test_faces_of_a_crowd_are_chosen_at_random():
    vectors, _ = synthetic_people([1] * 60, seed=5)
    chosen = {row for seed in range(40) for pair in found_pairs([0] * 60, vectors, seed=seed) for row in pair}
    assert len(chosen) == 60


def test_a_photo_that_nobody_can_pair_is_passed_over():
    vectors, _ = synthetic_people([1] * 4, seed=14)
    assert found_pairs([0, 0, 1, 1], vectors, np.array([[0, 0, 9, 9.0]] * 3 + [[20, 0, 29, 9]])) == [(2, 3)]


def test_the_same_seed_chooses_the_same_pairs():
    vectors, _ = synthetic_people([1] * 60, seed=6)
    photos = [0] * 30 + [1] * 30
    assert found_pairs(photos, vectors, seed=8) == found_pairs(photos, vectors, seed=8)
    assert found_pairs(photos, vectors, seed=8) != found_pairs(photos, vectors, seed=9)


def test_of_many_photos_some_are_drawn():
    photos = np.repeat(np.arange(MOST_PHOTOS + 500), 2)
    vectors = np.random.default_rng(0).standard_normal((len(photos), 4)).astype(np.float32)
    assert len(found_pairs(photos, vectors, alike=np.inf)) == MOST_PHOTOS


def test_photos_of_one_face_have_no_pairs(six_people):
    assert found_pairs(range(6), six_people) == []
    assert found_pairs([], np.empty((0, 24), np.float32)) == []


def test_arrays_of_different_lengths_are_refused(six_people):
    with pytest.raises(ShapeError, match="got 3, 3, 6"):
        found_pairs([0, 0, 0], six_people)


def test_similarities_are_cosines_of_the_pairs(six_people):
    photos = np.array([0, 0, 0, 1, 1, 1])
    pairs = in_photo_pairs(photos, boxes_in_a_row(photos), six_people.astype(np.float16), 2.0)
    slow = [
        float(np.dot(six_people[one].astype(np.float16).astype(np.float64), six_people[other].astype(np.float16)))
        for one, other in zip(pairs.first, pairs.second, strict=True)
    ]
    assert pairs.similarities(six_people.astype(np.float16)) == pytest.approx(slow, abs=1e-6)


def test_no_two_faces_of_distinct_pairs_are_alike():
    vectors, subjects = synthetic_people([1] * 100 + [40] * 5, seed=7, within=0.1)

    pairs = distinct_pairs(vectors, ALIKE)

    assert not pairs.in_photos
    rows = np.union1d(pairs.first, pairs.second)
    cosines = vectors[rows] @ vectors[rows].T - np.eye(len(rows))
    assert cosines.max() < ALIKE
    assert (subjects[pairs.first] == subjects[pairs.second]).mean() < 0.005


def test_distinct_pairs_are_all_pairs_of_groups_without_a_face_in_common():
    vectors, _ = synthetic_people([1] * 50, seed=8)
    pairs = distinct_pairs(vectors, 2.0)
    assert len(pairs) == 50 // GROUP_FACES * (GROUP_FACES * (GROUP_FACES - 1) // 2)
    members = [
        np.union1d(pairs.first[pairs.groups == g], pairs.second[pairs.groups == g]) for g in np.unique(pairs.groups)
    ]
    assert [len(group) for group in members] == [GROUP_FACES] * len(members)
    assert len(np.unique(np.concatenate(members))) == sum(map(len, members)) == pairs.face_count


@pytest.mark.parametrize("count", [0, 1, GROUP_FACES - 1])
def test_too_few_faces_for_a_group_are_no_pairs(count):
    pairs = distinct_pairs(synthetic_people([1] * 20, seed=9)[0][:count], 2.0)
    assert (len(pairs), pairs.face_count) == (0, 0)


def test_presumed_people_join_one_that_is_alike_and_are_new_otherwise():
    vectors, subjects = synthetic_people([20] * 60, seed=10, within=0.05)  # over several blocks

    people = presumed_people(vectors, ALIKE, np.random.default_rng(0))

    assert (people[people] == people).all()
    cosines = np.einsum("ij,ij->i", vectors, vectors[people])
    assert (cosines[people != np.arange(len(people))] >= ALIKE).all()
    leaders = np.unique(people)
    assert (vectors[leaders] @ vectors[leaders].T - np.eye(len(leaders))).max() < ALIKE
    assert len(leaders) == 60
    assert (subjects[people] == subjects).all()


@pytest.mark.parametrize("seed", range(6))
def test_a_face_that_is_no_number_is_a_person_of_its_own(seed):
    vectors = np.ones((3, 4), np.float32) / 2
    vectors[1] = np.nan
    people = presumed_people(vectors, ALIKE, np.random.default_rng(seed))
    assert people[1] == 1
    assert people[0] == people[2] != 1


def test_pairs_come_from_the_whole_archive_where_it_has_people_enough():
    vectors, _ = synthetic_people([1] * 1200, seed=11)
    pairs = unlabelled_pairs(np.arange(1200) // 5, boxes_in_a_row(np.arange(1200)), vectors, 2.0)
    assert pairs.enough
    assert not pairs.in_photos


def test_pairs_within_photos_serve_where_a_few_people_are_seen_again_and_again():
    people, _ = synthetic_people([1] * 180, seed=12)
    generator = np.random.default_rng(0)
    photos = np.repeat(np.arange(700), 2)
    vectors = people[np.concatenate([generator.permutation(180)[:2] for _ in range(700)])]
    pairs = unlabelled_pairs(photos, boxes_in_a_row(photos), vectors, 0.9999)
    assert pairs.in_photos
    assert pairs.enough


def test_too_few_of_both_are_too_few():
    vectors, _ = synthetic_people([1] * 100, seed=13)
    assert not unlabelled_pairs(np.arange(100) // 5, boxes_in_a_row(np.arange(100)), vectors, 2.0).enough
