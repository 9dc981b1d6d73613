import numpy as np
import pytest

from faceindex.arrays import l2_normalize
from faceindex.gallery.scores import best_rows, cosines, merged


@pytest.mark.parametrize("dimension", [1, 7, 32, 33, 128, 300])
def test_a_cosine_is_that_of_float64_rounded(dimension: int):
    generator = np.random.default_rng(dimension)
    left = generator.standard_normal((20, dimension)).astype(np.float32)
    right = l2_normalize(generator.standard_normal((300, dimension)).astype(np.float32)).astype(np.float16)
    pairs = generator.integers(0, 20, 500), generator.integers(0, 300, 500)

    found = cosines(left, pairs[0], right, pairs[1])

    a, b = left[pairs[0]].astype(float), right[pairs[1]].astype(float)
    exact = (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    np.testing.assert_array_almost_equal_nulp(found, exact.astype(np.float32), nulp=1)


def test_a_score_does_not_depend_on_what_is_scored_with_it():
    generator = np.random.default_rng(1)
    left = generator.standard_normal((9, 64)).astype(np.float32)
    right = generator.standard_normal((500, 64)).astype(np.float16)
    pairs = generator.integers(0, 9, 700), generator.integers(0, 500, 700)

    together = cosines(left, pairs[0], right, pairs[1])

    alone = [cosines(left, pairs[0][[n]], right, pairs[1][[n]])[0] for n in range(0, 700, 31)]
    assert together[::31].tolist() == alone


def test_where_there_is_no_row_there_is_no_score():
    found = cosines(np.ones((1, 4), np.float32), np.zeros(2, np.int64), np.ones((1, 4), np.float16), np.array([-1, 0]))

    assert found.tolist() == [-np.inf, 1.0]


def test_rows_come_by_score_and_ties_by_row():
    similarities = np.array([[0.5, -np.inf, 0.9, 0.5, -0.5, 0.0, -0.0]], np.float32)
    rows = np.array([[7, -1, 3, 2, 9, 5, 4]])

    scores, best = best_rows(similarities, rows, 6)

    assert best.tolist() == [[3, 2, 7, 4, 5, 9]]
    assert scores.tolist() == [[np.float32(0.9), 0.5, 0.5, 0.0, 0.0, -0.5]]
    assert np.isneginf(best_rows(similarities, rows, 9)[0][0, 6])


def test_lists_of_shards_merge_by_score_and_then_by_id():
    similarities = np.array([[0.9, 0.5, 0.9, 0.5, -np.inf]], np.float32)
    ids = np.array([[b"b", b"c\0\0d", b"a", b"c\0\0\1", b""]], "S16")

    scores, found = merged(similarities, ids, 4)

    assert found.tolist() == [[b"a", b"b", b"c\0\0\1", b"c\0\0d"]]
    assert scores.tolist() == [[np.float32(0.9), np.float32(0.9), 0.5, 0.5]]
