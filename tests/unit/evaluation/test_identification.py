import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from faceindex.errors import ConfigError
from faceindex.evaluation.cohort import NOBODY, Cohort
from faceindex.evaluation.identification import OpenSet, rank_probabilities
from faceindex.evaluation.pairing import Pairing, Pool
from faceindex.evaluation.scores import one_face_each
from faceindex.evaluation.thresholds import Normalisation
from tests.support.people import synthetic_people

FACES = [2, 3, 1, 2, 1, 4, 2, 2, 1, 2]
"""Few enough to try every gallery of three."""


def open_set(
    faces: list[int], sizes: list[int], seed: int = 1, draws: int = 1
) -> tuple[OpenSet, np.ndarray, np.ndarray]:
    vectors, subjects = synthetic_people(faces, seed=seed, within=0.5)
    found = OpenSet.of_pool(Pool.of(vectors, subjects), sizes, draws=draws, seed=9)
    return found, vectors, subjects


def test_rates_equal_searches_of_every_gallery(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("faceindex.evaluation.open_set.MINIMUM_PEOPLE", 5)
    monkeypatch.setattr("faceindex.evaluation.open_set.MEASURED_PAIRS", 2)
    found, vectors, subjects = open_set(FACES, [3])
    enrolled = one_face_each(subjects, np.random.default_rng(9))
    thresholds = np.array([0.85, 0.9, 0.93])

    fnirs: list[list[np.ndarray]] = [[] for _ in FACES]
    at_rank: list[list[int]] = [[] for _ in FACES]
    for probe in np.setdiff1d(np.arange(len(subjects)), enrolled):
        person = subjects[probe]
        for gallery in itertools.combinations([p for p in range(len(FACES)) if p != person], 2):
            cosines = vectors[probe] @ vectors[enrolled[[person, *gallery]]].T
            rank = int((cosines[1:] >= cosines[0]).sum())
            fnirs[person].append((cosines[0] < thresholds) | (rank > 0))
            at_rank[person].append(rank)
    expected = np.mean([np.mean(each, axis=0) for each in fnirs if each], axis=0)

    np.testing.assert_allclose(found.false_negative_rates(thresholds, 3), expected, atol=1e-12)
    for rank, rate in enumerate(found.identification_rates(3, 3)):
        assert rate.value == pytest.approx(np.mean([np.mean(np.array(each) <= rank) for each in at_rank if each]))


def test_a_point_is_what_its_threshold_does():
    found, _, _ = open_set([2, 1, 3] * 20, [10, 40], seed=3, draws=3)

    for size in (10, 40):
        for point in found.points(size):
            assert point.dir.value == pytest.approx(
                1 - found.false_negative_rates(np.array([point.threshold]), size)[0]
            )
            assert point.dir.low <= point.dir.value <= point.dir.high
            assert point.fpir.low <= point.fpir.value <= point.fpir.high
            if point.measured:
                assert point.fpir.value == pytest.approx(point.asked, rel=0.1)


def test_false_positives_are_those_of_searches_in_random_galleries():
    found, vectors, subjects = open_set([2] * 60, [20], seed=5)
    threshold = found.points(20)[0].threshold
    pool = vectors[one_face_each(subjects, np.random.default_rng(9))]
    generator = np.random.default_rng(0)

    hits = []
    for _ in range(4000):
        probe, *gallery = generator.permutation(60)[:21]
        hits.append((pool[probe] @ pool[gallery].T).max() >= threshold)

    assert found.points(20)[0].fpir.value == pytest.approx(np.mean(hits), abs=0.02)


def test_ranks_are_hypergeometric():
    found = rank_probabilities(others=13, gallery_size=5, ranks=6)

    for rivals in range(14):
        expected = [math.comb(rivals, x) * math.comb(13 - rivals, 5 - x) / math.comb(13, 5) for x in range(6)]
        np.testing.assert_allclose(found[:, rivals], expected, atol=1e-12)


def test_more_photos_of_one_person_change_no_rate_of_identification():
    vectors, subjects = synthetic_people([2] * 40, seed=7, within=0.5)
    repeated = np.concatenate([np.arange(80), np.repeat(np.flatnonzero(subjects == 5), 30)])
    once = OpenSet.of_pool(Pool.of(vectors, subjects), [20], draws=1)
    often = OpenSet.of_pool(Pool.of(vectors[repeated], subjects[repeated]), [20], draws=1)

    assert (
        len(once.mated.mean_of_people(once.mated.rivals)) == len(often.mated.mean_of_people(often.mated.rivals)) == 40
    )


def test_intervals_of_fpir_hold_the_truth_as_often_as_they_say():
    points = []
    for seed in range(80):
        vectors, subjects = synthetic_people([2] * 100, seed=seed, within=0.3, dimension=8)
        found = OpenSet.of_pool(Pool.of(vectors, subjects), [20], draws=1)
        points.append(found._false_positive_rate(0.985, 20)[0])
    truth = np.mean([point.value for point in points])

    assert 0.01 < truth < 0.5
    assert np.mean([point.low <= truth <= point.high for point in points]) > 0.88


def test_people_with_one_face_each_cannot_be_searched_for():
    with pytest.raises(ConfigError, match="people with two faces or more, got none"):
        open_set([1] * 30, [10])


def test_normalised_searches_are_counted_as_they_are_scored():
    vectors, subjects = synthetic_people([1, 2, 3] * 20, seed=11, within=0.5)
    others, _ = synthetic_people([1] * 150, seed=12)
    members = np.full(60, NOBODY)
    members[:30] = 150 + np.arange(30)
    first = np.searchsorted(subjects, np.arange(30))
    cohort = Cohort(np.concatenate([others, vectors[first]]), Normalisation(10, 0.75), 2.0)
    pool = replace(Pool.of(vectors, subjects), cohort=cohort, members=members)

    found = OpenSet.of_pool(pool, [59], draws=1, seed=9)

    enrolled = one_face_each(subjects, np.random.default_rng(9))
    probes = np.setdiff1d(np.arange(len(subjects)), enrolled)
    pairing = Pairing(vectors[probes], vectors[enrolled], subjects[probes], None, cohort, members, strangers=False)
    scores = np.concatenate([block for _, block in pairing.blocks()])
    own = scores[np.arange(len(probes)), subjects[probes]]
    assert found.mated.similarities == pytest.approx(own)
    assert found.mated.rivals.tolist() == ((scores >= own[:, None]).sum(axis=1) - 1).tolist()
    assert found.strangers.thresholds.max() < 0.5  # far below any cosine that counts
