import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceindex.evaluation.clustering import bcubed, pairwise
from faceindex.identities.clustering import Wishes, as_people, cluster
from faceindex.identities.graph import Limits, Neighbours
from faceindex.identities.insertion import NEW, insert
from faceindex.identities.whispers import FREE
from faceindex.tables import UNCLUSTERED
from tests.support.people import synthetic_people
from tests.unit.identities.test_clustering import nearest, nothing_said

LIMITS = Limits(sure=0.97, alpha=0.6, linked=0.40, floor=0.88)


class Searching:
    """Exact search, that remembers for whom."""

    def __init__(self, vectors):
        self.all = nearest(vectors)
        self.searched = []

    def __call__(self, faces):
        self.searched += faces.tolist()
        return Neighbours(self.all.vectors, self.all.places[faces], self.all.cosines[faces], faces)


def clusters_of(vectors, faces):
    """Return the clusters of some faces and NEW for the others."""
    found = np.unique(cluster(nearest(vectors[faces]), nothing_said(len(faces)), LIMITS), return_inverse=True)[1]
    before = np.full(len(vectors), NEW)
    before[faces] = np.where(np.bincount(found)[found] > 1, found + 1, UNCLUSTERED)
    return before


def same_groups(one, other):
    return bcubed(np.asarray(one), np.asarray(other)).f == 1.0


def without_new(count, share, seed):
    return np.flatnonzero(np.random.default_rng(seed).random(count) >= share)


def test_without_new_faces_nothing_is_searched_for_and_nothing_changes():
    vectors, _ = synthetic_people([8] * 30 + [1] * 30, seed=1)
    before = clusters_of(vectors, np.arange(len(vectors)))
    alone = np.flatnonzero(before == UNCLUSTERED)
    search = Searching(vectors)

    labels, _ = insert(search, before, nothing_said(len(vectors)), LIMITS)

    assert search.searched == []
    expected = before.copy()
    expected[alone] = before.max() + 1 + np.arange(len(alone))
    assert same_groups(labels, expected)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_new_faces_are_where_clustering_afresh_puts_them(share):
    vectors, people = synthetic_people([12] * 60 + [3] * 60 + [1] * 60, seed=2, within=0.25)
    afresh = cluster(nearest(vectors), nothing_said(len(vectors)), LIMITS)
    before = clusters_of(vectors, without_new(len(vectors), share, seed=3))

    labels, _ = insert(Searching(vectors), before, nothing_said(len(vectors)), LIMITS)

    assert bcubed(labels, afresh).f >= 0.985
    assert pairwise(labels, people).precision >= pairwise(afresh, people).precision - 0.005


def test_faces_keep_to_their_clusters_and_only_those_near_new_ones_are_searched_for():
    vectors, _ = synthetic_people([6] * 150, seed=4, within=0.15)
    old = np.setdiff1d(np.arange(900), [0, 1, 61])
    before = clusters_of(vectors, old)
    search = Searching(vectors)

    labels, neighbours = insert(search, before, nothing_said(900), LIMITS)

    kept = old[before[old] != UNCLUSTERED]
    assert same_groups(labels[kept], before[kept])
    assert len(search.searched) == len(set(search.searched)) == len(neighbours.faces) < 100
    assert {0, 1, 61} <= set(search.searched)


def test_it_is_a_clustering_of_all_in_which_the_others_are_held():
    vectors, people = synthetic_people([6] * 60, seed=5, within=0.15)
    new = np.random.default_rng(6).random(360) < 0.2
    before = np.where(new, NEW, people + 1)

    labels, _ = insert(Searching(vectors), before, nothing_said(360), LIMITS)

    wishes = nothing_said(360)
    held = Wishes(np.where(new, FREE, people), wishes.together, wishes.apart, wishes.weak)
    assert same_groups(labels, cluster(nearest(vectors), held, LIMITS))


def test_a_new_face_between_two_clusters_does_not_make_them_one():
    vectors, people = synthetic_people([9] * 20, seed=7, within=0.1)
    before = np.where(np.arange(180) == 4, NEW, people + 1)
    before[5:9] = 50  # one person in two clusters
    labels, _ = insert(Searching(vectors), before, nothing_said(180), LIMITS)
    assert labels[0] != labels[5]
    assert labels[4] in {labels[0], labels[5]}


def test_a_new_face_and_one_by_itself_make_a_cluster():
    vectors, people = synthetic_people([2] * 40, seed=8, within=0.1)
    before = np.where(np.arange(80) % 2 == 0, UNCLUSTERED, NEW)
    labels, _ = insert(Searching(vectors), before, nothing_said(80), LIMITS)
    assert same_groups(labels, people)


def test_the_same_seed_gives_the_same_clusters():
    vectors, _ = synthetic_people([4] * 80, seed=9)
    before = clusters_of(vectors, without_new(320, 0.2, seed=1))
    one, other = (insert(Searching(vectors), before, nothing_said(320), LIMITS)[0] for _ in range(2))
    assert one.tolist() == other.tolist()


@settings(max_examples=100)
@given(st.integers(0, 10_000))
def test_nothing_that_was_said_is_violated_whatever_the_clusters_were(seed):
    generator = np.random.default_rng(seed)
    count = 120
    vectors, people = synthetic_people([5] * 24, seed=seed % 5, within=0.3)
    before = np.where(generator.random(count) < 0.8, people + 1, generator.integers(0, 30, count))
    before[generator.random(count) < 0.2] = NEW
    fixed = np.where(generator.random(count) < 0.2, generator.integers(0, 9, count), FREE)
    pairs = generator.integers(0, count, (60, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    apart = pairs[10:][~(fixed[pairs[10:]] != FREE).all(axis=1)]
    together = pairs[:10][(fixed[pairs[:10]] == FREE).any(axis=1)]
    wishes = Wishes(fixed, together, apart, np.zeros(count, bool))
    said = as_people(wishes)
    # Two faces that were said to be one person, through others, and two: nobody can obey that.
    apart = apart[(said[apart[:, 0]] != said[apart[:, 1]]) | (said[apart[:, 0]] == FREE)]
    wishes = Wishes(fixed, together, apart, wishes.weak)

    labels, neighbours = insert(Searching(vectors), before, wishes, LIMITS, seed)

    assert not (labels[apart[:, 0]] == labels[apart[:, 1]]).any()
    one, other = together[said[together[:, 0]] == said[together[:, 1]]].T
    assert (labels[one] == labels[other]).all()
    named = np.flatnonzero(fixed != FREE)
    assert ((labels[named][:, None] == labels[named][None]) == (fixed[named][:, None] == fixed[named][None])).all()
    unmoved = np.setdiff1d(np.flatnonzero((before > UNCLUSTERED) & (said == FREE)), neighbours.faces)
    assert len(set(zip(labels[unmoved], before[unmoved], strict=True))) == len(set(before[unmoved]))


def test_named_faces_go_where_most_of_their_person_are_and_take_nobody_along():
    vectors, people = synthetic_people([6] * 20, seed=10, within=0.1)
    wishes = nothing_said(120)
    wishes.fixed[[0, 1, 6]] = 3  # two faces of the first person, and one of the second's, are called the same
    labels, _ = insert(Searching(vectors), people + 1, wishes, LIMITS)
    assert {labels[6]} == set(labels[:6])
    assert same_groups(labels[7:], people[7:])


def test_a_cluster_in_which_two_people_are_named_is_two():
    vectors, people = synthetic_people([6] * 20, seed=11, within=0.1)
    wishes, before = nothing_said(120), people + 1
    before[6:12] = 1
    wishes.fixed[[0, 6]] = 0, 1
    labels, _ = insert(Searching(vectors), before, wishes, LIMITS)
    assert pairwise(labels, people).precision == 1.0
    assert same_groups(labels[12:], people[12:])
