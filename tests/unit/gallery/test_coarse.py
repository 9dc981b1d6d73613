import numpy as np

from faceindex.arrays import l2_normalize
from faceindex.gallery.coarse import CoarseRanking


def unit(count: int, seed: int) -> np.ndarray:
    return l2_normalize(np.random.default_rng(seed).standard_normal((count, 96)).astype(np.float32))


def test_the_lists_visited_are_the_nearest_but_for_near_ties():
    centroids, probes = 0.9 * unit(500, 1), unit(300, 2)

    lists = CoarseRanking(centroids).lists(probes, 20)

    distances = ((probes[:, np.newaxis].astype(float) - centroids) ** 2).sum(axis=2)
    last = np.sort(distances, axis=1)[:, 19]
    assert lists.shape == (300, 20)
    assert all(len(set(row)) == 20 for row in lists)
    assert (np.take_along_axis(distances, lists, axis=1) <= last[:, np.newaxis] + 1e-3).all()


def test_the_lists_of_a_probe_do_not_depend_on_the_others():
    ranking, probes = CoarseRanking(unit(1000, 1)), unit(300, 2)

    together = ranking.lists(probes, 50)

    for size in (1, 7, 130):
        parts = [ranking.lists(probes[start : start + size], 50) for start in range(0, 300, size)]
        assert (np.sort(np.concatenate(parts)) == np.sort(together)).all()


def test_more_lists_than_there_are_are_all_of_them():
    lists = CoarseRanking(unit(9, 1)).lists(unit(3, 2), 50)

    assert (np.sort(lists) == np.arange(9)).all()


def test_products_of_the_longest_vectors_are_exact():
    """Vectors of whole numbers along one direction have the largest sums there can be."""
    direction = unit(1, 3)
    ranking = CoarseRanking(np.concatenate([direction, -direction]))

    assert ranking.lists(direction, 1).tolist() == [[0]]
    assert ranking.lists(-direction, 1).tolist() == [[1]]
