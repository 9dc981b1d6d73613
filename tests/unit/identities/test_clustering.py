import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceindex.errors import ConfigError
from faceindex.evaluation.clustering import bcubed, pairwise
from faceindex.evaluation.thresholds import load_table
from faceindex.identities.clustering import UNCLUSTERED, Wishes, cluster, limits_of, numbered
from faceindex.identities.graph import (
    AVERAGED,
    NEIGHBOURS,
    SKIPPED,
    Edges,
    Limits,
    Neighbours,
    as_one,
    crowdedness,
    linked_edges,
    neighbours_of,
)
from faceindex.identities.whispers import FREE, whispers
from faceindex.types import IndexRecipe
from tests.support.galleries import make_gallery, random_ids
from tests.support.people import synthetic_people

LIMITS = Limits(sure=0.97, alpha=0.6, linked=0.40, floor=0.88)


def nearest(vectors, width=NEIGHBOURS):
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -2)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, : min(width, len(vectors) - 1)]
    places = np.full((len(vectors), width), -1, np.int32)
    found = np.full((len(vectors), width), -1.0, np.float32)
    places[:, : order.shape[1]] = order
    found[:, : order.shape[1]] = np.take_along_axis(cosines, order, axis=1)
    return Neighbours(vectors, places, found)


def nothing_said(count):
    none = np.empty((0, 2), np.int64)
    return Wishes(np.full(count, FREE), none, none, np.zeros(count, bool))


def slow_crowdedness(vectors, labels, floor):
    """Walk all other faces, nearest first, one of each other cluster."""
    found = []
    for face in range(len(vectors)):
        order = np.argsort(-(vectors @ vectors[face]), kind="stable")
        met, values = {labels[face]}, []
        for other in order:
            if labels[other] not in met:
                met.add(labels[other])
                values.append(float(vectors[other] @ vectors[face]))
        values = values[SKIPPED : SKIPPED + AVERAGED] + [floor] * AVERAGED
        found.append(max(floor, np.mean(values[:AVERAGED])))
    return np.array(found)


def test_crowdedness_equals_a_slow_walk():
    vectors, people = synthetic_people([3] * 40, seed=1)
    found = crowdedness(nearest(vectors), people, floor=0.5)
    assert found == pytest.approx(slow_crowdedness(vectors, people, 0.5), abs=1e-5)


def test_where_few_clusters_are_near_all_are_looked_at_and_missing_ones_count_as_the_floor():
    vectors, people = synthetic_people([80, 70, 60], seed=2)
    found = crowdedness(nearest(vectors), people, floor=0.6)
    assert (found >= 0.6 - 1e-6).all()
    assert (found < 0.7).all()  # nine of ten are missing


def test_neighbours_are_those_of_exact_search_without_the_face_itself_or_faces_left_out(tmp_path):
    vectors, _ = synthetic_people([1] * 150, seed=3)
    ids = random_ids(150, 4)
    gallery = make_gallery(tmp_path, ids, vectors, IndexRecipe("exact"), shards=3)
    kept = np.sort(np.random.default_rng(0).choice(150, 120, replace=False))

    found = neighbours_of(gallery, ids[kept], threads=1)

    for row in range(120):
        there = found.places[row] >= 0
        cosines = found.vectors @ found.vectors[row]
        assert row not in found.places[row]
        assert found.cosines[row, there] == pytest.approx(cosines[found.places[row, there]], abs=1e-3)
        best = np.sort(np.delete(cosines, row))[::-1]
        expected = best[: there.sum()]
        assert found.cosines[row, there] == pytest.approx(expected, abs=2e-3)
        assert there.sum() >= 30  # the rest were places of faces left out


def test_people_who_are_well_apart_are_found_whole():
    vectors, people = synthetic_people([8] * 60 + [1] * 60, seed=5, within=0.15)
    labels = cluster(nearest(vectors), nothing_said(len(vectors)), LIMITS)
    assert pairwise(labels, people).precision > 0.99
    assert bcubed(labels, people).f > 0.97


def test_the_same_seed_gives_the_same_clusters():
    vectors, _ = synthetic_people([4] * 80, seed=6)
    one, other = (cluster(nearest(vectors), nothing_said(320), LIMITS) for _ in range(2))
    assert one.tolist() == other.tolist()


@settings(max_examples=60)
@given(st.integers(0, 10_000))
def test_nothing_that_was_said_is_ever_violated(seed):
    generator = np.random.default_rng(seed)
    vectors, people = synthetic_people([5] * 24, seed=seed % 7, within=0.5)
    count = len(vectors)
    fixed = np.where(generator.random(count) < 0.3, generator.integers(0, 9, count), FREE)
    apart = generator.integers(0, count, (150, 2))
    apart = apart[(apart[:, 0] != apart[:, 1]) & ~(fixed[apart] != FREE).all(axis=1)]

    labels = whispers(linked_edges(nearest(vectors), people, LIMITS, np.zeros(count, bool)), fixed, apart, seed)

    assert not (labels[apart[:, 0]] == labels[apart[:, 1]]).any()
    named = np.flatnonzero(fixed != FREE)
    same = fixed[named][:, None] == fixed[named][None]
    assert ((labels[named][:, None] == labels[named][None]) == same).all()


def test_unnamed_faces_said_to_be_the_same_are_together_unless_also_said_not_to_be():
    vectors, _ = synthetic_people([1] * 40, seed=8)
    wishes = nothing_said(40)
    together = np.array([[3, 30], [30, 17], [5, 6]])
    apart = np.array([[6, 5], [1, 3]])
    labels = cluster(nearest(vectors), Wishes(wishes.fixed, together, apart, wishes.weak), LIMITS)
    assert labels[3] == labels[30] == labels[17]
    assert labels[5] != labels[6]
    assert labels[1] != labels[3]


def test_faces_said_to_be_the_same_stay_with_the_others_of_their_person():
    vectors, people = synthetic_people([8] * 30, seed=12, within=0.1)
    wishes = nothing_said(240)
    together = np.array([[0, 1], [2, 3], [8, 9], [16, 24]])  # the last joins two people
    labels = cluster(nearest(vectors), Wishes(wishes.fixed, together, wishes.apart, wishes.weak), LIMITS)
    assert len(set(labels[:8])) == len(set(labels[8:16])) == 1
    assert labels[16] == labels[24]
    assert bcubed(labels[32:], people[32:]).f == 1.0


def test_links_of_faces_that_move_as_one_are_those_of_their_first():
    weights = np.zeros((5, 5), np.float32)
    for one, other, weight in [(0, 1, 0.5), (0, 2, 0.25), (1, 2, 0.125), (2, 3, 1.0), (3, 4, 2.0)]:
        weights[one, other] = weights[other, one] = weight
    ends = [np.flatnonzero(row) for row in weights]
    starts = np.cumsum([0, *map(len, ends)])
    edges = Edges(starts, np.concatenate(ends).astype(np.int32), weights[weights > 0])

    found = as_one(edges, np.array([0, 0, 2, 3, 2]))  # 1 moves with 0, and 4 with 2

    dense = np.zeros((5, 5))
    for face in range(5):
        part = slice(found.starts[face], found.starts[face + 1])
        dense[face, found.ends[part]] = found.weights[part]
    expected = np.zeros((5, 5))
    expected[0, 2] = expected[2, 0] = 0.375
    expected[2, 3] = expected[3, 2] = 3.0
    assert dense.tolist() == expected.tolist()


def test_faces_of_low_quality_join_clusters_and_found_none():
    vectors, people = synthetic_people([6] * 20, seed=9, within=0.1)
    wishes = nothing_said(120)
    weak = (np.arange(120) % 6 > 3) | (people < 3)  # two faces of everybody, and all of three people
    labels = cluster(nearest(vectors), Wishes(wishes.fixed, wishes.together, wishes.apart, weak), LIMITS)
    sizes = {label: int((labels == label).sum()) for label in set(labels.tolist())}
    for person in range(3, 20):
        assert sizes[labels[person * 6]] >= 5
    assert all(sizes[labels[face]] == 1 for face in range(18))


def test_one_blob_does_not_swallow_a_small_gallery():
    vectors, people = synthetic_people([2] * 5, seed=10, within=0.1)
    labels = cluster(nearest(vectors), nothing_said(10), LIMITS)
    assert pairwise(labels, people).precision == 1.0


@pytest.mark.parametrize("count", [0, 1, 2])
def test_next_to_no_faces_are_clustered_too(count):
    vectors, _ = synthetic_people([1] * max(count, 1), seed=11)
    assert len(set(cluster(nearest(vectors[:count]), nothing_said(count), LIMITS).tolist())) == count


def test_clusters_keep_the_numbers_of_most_of_their_faces():
    before = np.array([4, 4, 4, 7, 7, 0, 0, 0, 9])
    labels = np.array([50, 50, 50, 50, 60, 60, 70, 70, 80])
    found, first_free = numbered(labels, before, 10)
    assert found.tolist() == [4, 4, 4, 4, 7, 7, 10, 10, UNCLUSTERED]
    assert first_free == 11


def test_of_two_parts_of_a_cluster_the_larger_keeps_its_number():
    found, first_free = numbered(np.array([1, 1, 2, 2, 2]), np.full(5, 3), 8)
    assert found.tolist() == [8, 8, 3, 3, 3]
    assert first_free == 9


def test_a_model_without_constants_and_without_a_table_is_refused():
    with pytest.raises(ConfigError, match="no constants for clustering faces of nobody"):
        limits_of("nobody@0123")


@pytest.mark.parametrize("model", ["dlib-resnet29", "edgeface-xs", "mobilefacenet", "omz-0095"])
def test_a_model_without_constants_is_clustered_by_its_error_rates_and_about_as_strictly_as_by_constants(model):
    table = load_table(model)
    chosen, derived = limits_of(f"{model}@0123", table), limits_of("nobody@0123", table)
    assert derived.linked >= chosen.linked
    assert derived.sure == table.verification_threshold(1e-5).value
    assert derived.linked + derived.alpha * derived.floor == pytest.approx(derived.sure)
    assert derived.floor == pytest.approx(chosen.floor, abs=0.1 * (chosen.sure - chosen.floor))
