import subprocess
import sys

import numpy as np
import pytest

from faceindex.arrays import l2_normalize
from faceindex.gallery import exact
from faceindex.gallery.exact import MARGIN, search_exact, widened
from faceindex.gallery.scores import cosines
from tests.support.galleries import MODEL, answers, naive_search, random_ids
from tests.support.people import synthetic_people


def faces(count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    vectors, _ = synthetic_people([3] * (count // 3 + 1), seed)
    return random_ids(count, seed), vectors[:count]


def blocks_of(ids: np.ndarray, vectors: np.ndarray, rows: int) -> list[exact.Block]:
    halves = vectors.astype(np.float16)
    return [(ids.view("S16")[at : at + rows], halves[at : at + rows]) for at in range(0, len(ids), rows)]


@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("k", [1, 10, 400])
def test_blocks_of_any_size_give_what_sorting_everything_gives(rows: int, k: int):
    ids, vectors = faces(300)
    probes = l2_normalize(faces(9, seed=2)[1])

    found = search_exact(blocks_of(ids, vectors, rows), probes, MODEL, k)

    assert answers(found) == naive_search(ids, vectors, probes, k)


def test_blocks_larger_than_the_working_memory_are_cut(monkeypatch: pytest.MonkeyPatch):
    ids, vectors = faces(100)
    probes = l2_normalize(vectors[:23])
    monkeypatch.setattr(exact, "BLOCK_ROWS", 13)
    monkeypatch.setattr(exact, "BLOCK_PROBES", 5)

    found = search_exact(blocks_of(ids, vectors, 100), probes, MODEL, 10)

    assert answers(found) == naive_search(ids, vectors, probes, 10)


def test_faces_that_tie_stand_in_order_of_their_ids():
    ids = random_ids(60, 3)
    vectors = np.repeat(l2_normalize(np.eye(3, 8, dtype=np.float32) + 0.5), 20, axis=0)

    found = search_exact(blocks_of(ids, vectors, 7), vectors[[0, 25]], MODEL, 5)

    assert answers(found)[0] == [[bytes(one) for one in ids[first : first + 5]] for first in (0, 20)]


def test_a_lone_vector_is_wholly_similar_to_itself_and_never_more():
    _, vectors = faces(3000)
    halves = vectors.astype(np.float16)
    rows = np.arange(len(halves))

    similarities = cosines(halves.astype(np.float32), rows, halves, rows)

    assert (similarities == 1).all()


def test_a_score_depends_on_its_two_vectors_alone():
    _, vectors = faces(500)
    probes, halves = vectors[:20], vectors.astype(np.float16)
    left, right = np.repeat(np.arange(20), 500), np.tile(np.arange(500), 20)

    together = cosines(probes, left, halves, right)

    alone = [
        cosines(probes[i : i + 1], np.zeros(1, int), halves[j : j + 1], np.zeros(1, int))[0]
        for i, j in [(0, 0), (7, 411), (19, 499)]
    ]
    assert alone == [together[0], together[7 * 500 + 411], together[-1]]


@pytest.mark.parametrize("dimension", [24, 128, 512, 4096])
def test_the_margin_covers_twice_the_error_of_a_float32_product(dimension: int):
    vectors = l2_normalize(np.random.default_rng(5).standard_normal((50, dimension)).astype(np.float32))
    halves = vectors.astype(np.float16)
    left, right = np.divmod(np.arange(50 * 50), 50)

    quick = (vectors @ widened(halves).T).ravel()

    assert 2 * np.abs(quick - cosines(vectors, left, halves, right)).max() < MARGIN


def test_every_finite_half_is_widened_to_the_same_number():
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]

    np.testing.assert_array_equal(widened(halves).view(np.uint32), halves.astype(np.float32).view(np.uint32))


def test_no_faces_give_empty_lists():
    found = search_exact([], np.ones((2, 4), np.float32), MODEL, 3)

    assert found.face_ids.shape == (2, 3)
    assert found.counts.tolist() == [0, 0]


def test_exact_search_does_not_load_faiss():
    code = "import sys, faceindex.gallery.search, faceindex.gallery.build; sys.exit('faiss' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
