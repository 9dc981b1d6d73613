import numpy as np
import pytest

from faceindex.evaluation.clustering import Agreement, bcubed, pairwise


def slow(clusters, people):
    """Return precision and recall of BCubed and of pairs, face by face."""
    count = len(clusters)
    same_cluster = [[clusters[i] == clusters[j] for j in range(count)] for i in range(count)]
    same_person = [[people[i] == people[j] for j in range(count)] for i in range(count)]
    one, other = np.array(same_cluster), np.array(same_person)
    both = one & other
    cluster, person = one.sum(axis=1), other.sum(axis=1)
    pairs = np.triu(np.ones((count, count), bool), 1)
    return (
        ((both.sum(axis=1) / cluster).mean(), (both.sum(axis=1) / person).mean()),
        (
            both[pairs].sum() / np.array(same_cluster)[pairs].sum(),
            both[pairs].sum() / np.array(same_person)[pairs].sum(),
        ),
    )


@pytest.mark.parametrize("seed", range(5))
def test_figures_equal_a_double_loop(seed):
    generator = np.random.default_rng(seed)
    clusters, people = generator.integers(0, 9, 60), generator.integers(100, 112, 60)
    of_faces, of_pairs = slow(clusters, people)
    found, pairs = bcubed(clusters, people), pairwise(clusters, people)
    assert (found.precision, found.recall) == pytest.approx(of_faces)
    assert (pairs.precision, pairs.recall) == pytest.approx(of_pairs)


def test_hand_computed_figures():
    # A whole person, and one in two parts of which one has a stranger in it.
    clusters, people = np.array([1, 1, 2, 2, 3, 2]), np.array([7, 7, 8, 8, 8, 9])
    assert bcubed(clusters, people) == Agreement(
        pytest.approx((1 + 1 + 2 / 3 + 2 / 3 + 1 + 1 / 3) / 6), pytest.approx((1 + 1 + 2 / 3 + 2 / 3 + 1 / 3 + 1) / 6)
    )
    assert pairwise(clusters, people) == Agreement(2 / 4, 2 / 4)
    assert pairwise(clusters, people).f == 0.5


def test_faces_all_by_themselves_are_pure_and_incomplete():
    found = bcubed(np.arange(6), np.zeros(6, int))
    assert (found.precision, found.recall) == (1.0, pytest.approx(1 / 6))
    assert pairwise(np.arange(6), np.zeros(6, int)) == Agreement(1.0, 0.0)
    assert pairwise(np.arange(6), np.arange(6)) == Agreement(1.0, 1.0)
