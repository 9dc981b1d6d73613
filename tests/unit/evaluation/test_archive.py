import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest

from faceindex.evaluation.archive import (
    ALARM_SPREADS,
    RESAMPLES,
    UPPER,
    LocalMap,
    NonmatedScores,
    NotUsable,
    alike_threshold,
    drift,
    fit_local_map,
    normalised_ceiling,
    resampled_quantiles,
)
from faceindex.evaluation.model_table import make_model_table
from faceindex.evaluation.thresholds import ModelTable, ThresholdGrid, load_table
from faceindex.evaluation.unlabelled_pairs import UnlabelledPairs, unlabelled_pairs
from faceindex.types import ModelId
from tests.support.people import synthetic_people

TABLE = NonmatedScores(0.84, 0.89)


def pairs_of(count, faces_of_a_photo=2):
    """Pairs of faces, all different, with several pairs a photo."""
    rows = np.arange(count)
    return UnlabelledPairs(2 * rows, 2 * rows + 1, rows // faces_of_a_photo, in_photos=True)


def scores_like(table, count, seed=0, *, shift=0.0, scale=1.0):
    """Scores whose depths are normal, with the quantiles of the table, moved and stretched."""
    normal = np.random.default_rng(seed).standard_normal(count) / 1.644854
    depth = table.depth(table.median) + table.spread * (shift + scale * normal)
    return table.ceiling - np.exp(-depth)


def map_of(archive, table=TABLE, **errors):
    known = {"median_variance": 0.0, "upper_variance": 0.0, "covariance": 0.0}
    return LocalMap(table, archive, **(known | errors), pairs=500, faces=200, in_photos=True)


def test_an_archive_like_the_table_keeps_its_thresholds():
    same = map_of(TABLE)
    for value in (0.5, 0.84, 0.89, 0.95, 0.999, 1.0, 1.5):
        assert same.threshold(value) == pytest.approx(value)


def test_the_tables_quantiles_become_the_archives():
    found = map_of(NonmatedScores(0.88, 0.93))
    assert found.threshold(0.84) == pytest.approx(0.88)
    assert found.threshold(0.89) == pytest.approx(0.93)


def test_a_hand_computed_threshold():
    # Distances from the ceiling: 0.4 and 0.2 in the table, 0.2 and 0.05 in the archive, twice as far in depth.
    # A distance of 0.1 is a further halving in the table, so a further quarter in the archive.
    found = map_of(NonmatedScores(0.8, 0.95), NonmatedScores(0.6, 0.8))
    assert found.threshold(0.9) == pytest.approx(1 - 0.05 / 4)


def test_scores_with_another_ceiling_are_mapped_towards_it():
    found = map_of(NonmatedScores(0.3, 0.45, 0.5), NonmatedScores(0.1, 0.3, 0.5))
    assert found.threshold(0.4) == pytest.approx(0.5 - 0.05 / 4)
    assert found.threshold(0.5) == 0.5


def test_thresholds_rise_with_those_of_the_table_and_stay_below_the_ceiling():
    found = map_of(NonmatedScores(0.9, 0.93))
    mapped = [found.threshold(value) for value in np.linspace(-1, 0.9999, 200)]
    assert (np.diff(mapped) > 0).all()
    assert max(mapped) < 1


def test_a_threshold_of_the_table_becomes_the_archives_with_its_rate_and_counts():
    table = load_table("dlib-resnet29")
    asked = table.identification_threshold(0.01, 1000)
    applied = map_of(NonmatedScores(0.88, 0.93), NonmatedScores.of_grid(table.verification)).applied(asked)
    assert applied == replace(asked, value=applied.value, source="archive")
    assert applied.value > asked.value


def test_a_score_of_the_archive_finds_its_way_back_to_the_table():
    found = map_of(NonmatedScores(0.88, 0.93), median_variance=0.01)
    for value in (0.3, 0.84, 0.94, 0.999, 1.0, 1.2):
        assert found.table_score(found.threshold(value, errors=0)) == pytest.approx(value)
    assert found.table_score(0.93) == pytest.approx(TABLE.upper)


def test_a_section_of_a_table_is_mapped_threshold_by_threshold_and_so_is_its_tail():
    section = {
        "gallery_sizes": [1, 10],
        "rates": [0.5, 0.05],
        "thresholds": [[0.84, 0.89], [0.9, 0.93]],
        "pairs": [[500, 50], [50, 5]],
        "extrapolated": [[False, False], [False, True]],
        "tail_exponent": 10.0,
        "ceiling": 1.0,
    }
    found = map_of(NonmatedScores(0.88, 0.93))

    mapped = found.section(section)

    assert mapped["thresholds"] == [
        [round(found.threshold(value), 6) for value in row] for row in section["thresholds"]
    ]
    assert {key: mapped[key] for key in ("gallery_sizes", "rates", "pairs", "extrapolated")} == {
        key: section[key] for key in ("gallery_sizes", "rates", "pairs", "extrapolated")
    }
    # A tenth of the last rate: mapped from the table's tail, and by the mapped section's own tail.
    before, after = (ThresholdGrid.from_json(one).look_up(0.005, 10)[0] for one in (section, mapped))
    assert after == pytest.approx(found.threshold(before), abs=1e-5)


def test_the_ceiling_of_normalised_scores_lies_below_that_of_cosines_by_the_mean_of_the_nearest():
    verification = load_table("dlib-resnet29").verification
    ceiling = normalised_ceiling(verification, 5, 1000, 0.75)
    # Measured on LFW: a face's five nearest of a thousand have a mean cosine of 0.919.
    assert ceiling == pytest.approx(1 - 0.75 * 0.919, abs=0.005)
    assert normalised_ceiling(verification, 5, 1000, 0.0) == 1.0


def test_a_fit_finds_the_map_that_made_the_scores():
    found = fit_local_map(scores_like(TABLE, 40_000, shift=0.8, scale=0.7), pairs_of(40_000), TABLE)
    depth = TABLE.depth(TABLE.median)
    for value in (0.84, 0.89, 0.93, 0.95):
        expected = depth + TABLE.spread * 0.8 + 0.7 * (TABLE.depth(value) - depth)
        assert found.depth(value) == pytest.approx(expected, abs=0.02)
        assert TABLE.depth(found.threshold(value, errors=0)) == pytest.approx(found.depth(value))


def test_one_pair_in_200_of_one_person_hardly_moves_a_threshold():
    clean = scores_like(TABLE, 10_000)
    dirty = clean.copy()
    dirty[:50] = 0.97

    one, other = (fit_local_map(scores, pairs_of(10_000), TABLE) for scores in (clean, dirty))

    assert UPPER <= 0.97
    assert one.threshold(0.94) == pytest.approx(other.threshold(0.94), abs=0.003)
    assert other.threshold(0.94) > one.threshold(0.94)


def test_the_interval_holds_the_true_threshold_in_19_of_20_fits():
    inside = 0
    for seed in range(100):
        found = fit_local_map(scores_like(TABLE, 1000, seed), pairs_of(1000), TABLE, seed)
        low, high = found.interval(0.94)
        inside += low <= 0.94 <= high
        assert low < found.threshold(0.94) < high < 1
    assert inside >= 88


def test_a_fit_from_few_pairs_is_stricter_than_its_best_guess():
    few, many = (fit_local_map(scores_like(TABLE, count), pairs_of(count), TABLE) for count in (500, 20_000))
    assert few.threshold(0.94) - few.threshold(0.94, errors=0) > 3 * (many.threshold(0.94) - many.threshold(0.94, 0))
    assert TABLE.depth(few.threshold(0.94)) == pytest.approx(few.depth(0.94) + few.depth_error(0.94))


def test_pairs_of_one_photo_are_resampled_together():
    scores, pairs = scores_like(TABLE, 600), pairs_of(600, faces_of_a_photo=1)
    # Ten pairs with the same score in each photo are worth one.
    tenfold = UnlabelledPairs(np.arange(12_000)[::2], np.arange(12_000)[1::2], np.repeat(pairs.groups, 10), True)

    once, repeated = fit_local_map(scores, pairs, TABLE), fit_local_map(np.repeat(scores, 10), tenfold, TABLE)

    assert repeated.depth_error(0.94) == pytest.approx(once.depth_error(0.94), rel=0.15)


def test_resampled_quantiles_equal_those_of_repeated_scores():
    generator = np.random.default_rng(5)
    scores, groups = generator.random(60), generator.integers(0, 12, 60) * 3

    found = resampled_quantiles(scores, groups, seed=4)

    again = np.random.default_rng(4)
    names = np.unique(groups)
    assert found.shape == (1 + RESAMPLES, 2)
    for row in range(5):
        drawn = again.integers(len(names), size=len(names)) if row else np.arange(len(names))
        repeated = np.sort(np.concatenate([scores[groups == names[number]] for number in drawn]))
        slow = [repeated[math.ceil(share * len(repeated) - 1e-9) - 1] for share in (0.5, UPPER)]
        assert found[row].tolist() == slow


def test_too_few_pairs_or_faces_are_not_usable():
    few = fit_local_map(scores_like(TABLE, 499), pairs_of(499), TABLE)
    assert few == NotUsable("500 pairs of 200 faces of different people wanted, got 499 of 998")
    one, other = np.triu_indices(60, 1)
    crowd = UnlabelledPairs(one, other, np.zeros(len(one), np.int64), in_photos=True)
    assert "got 1,770 of 60" in fit_local_map(scores_like(TABLE, 1770), crowd, TABLE).reason
    nothing = UnlabelledPairs(*(np.empty(0, np.int64),) * 3, in_photos=False)
    assert "got 0 of 0" in fit_local_map(np.empty(0), nothing, TABLE).reason


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_not_numbers_are_not_usable(bad):
    scores = scores_like(TABLE, 2000)
    scores[[3, 5]] = bad
    assert "2 of 2,000 pairs" in fit_local_map(scores, pairs_of(2000), TABLE).reason


@pytest.mark.parametrize("score", [0.85, 1.0, 1.0001])
def test_faces_that_are_all_alike_are_not_usable(score):
    assert "all alike" in fit_local_map(np.full(1000, score), pairs_of(1000), TABLE).reason


def test_a_spread_that_no_archive_has_is_not_usable():
    for scale in (0.1, 6.0):
        found = fit_local_map(scores_like(TABLE, 1000, scale=scale), pairs_of(1000), TABLE)
        assert isinstance(found, NotUsable)


@pytest.mark.parametrize("shift", [-2.5, 2.5])
def test_scores_of_another_model_are_not_usable(shift):
    found = fit_local_map(scores_like(TABLE, 1000, shift=shift), pairs_of(1000), TABLE)
    assert "too far apart" in found.reason


def test_two_fits_of_one_population_have_not_drifted():
    alarms = [
        drift(*(fit_local_map(scores_like(TABLE, 2000, 2 * seed + i), pairs_of(2000), TABLE) for i in (0, 1)), 0.94)
        for seed in range(50)
    ]
    assert sum(one.alarm for one in alarms) <= 2


def test_a_population_that_moved_has_drifted():
    before, after = (
        fit_local_map(scores_like(TABLE, 2000, seed, shift=shift), pairs_of(2000), TABLE)
        for seed, shift in ((0, 0.0), (1, 0.5))
    )
    risen, fallen = drift(before, after, 0.94), drift(after, before, 0.94)
    assert risen.alarm
    assert risen.spreads == pytest.approx(0.5, abs=0.15)
    assert fallen.spreads == pytest.approx(-risen.spreads)
    assert fallen.errors == pytest.approx(-risen.errors)


def test_a_drift_too_small_to_matter_or_too_small_to_be_sure_of_is_no_alarm():
    moved = NonmatedScores(0.85, 0.8969)
    sure, unsure = map_of(moved), map_of(moved, median_variance=0.01, upper_variance=0.01)
    assert drift(map_of(TABLE), sure, 0.94).spreads > ALARM_SPREADS
    assert drift(map_of(TABLE), sure, 0.94).alarm
    assert not drift(map_of(TABLE), unsure, 0.94).alarm
    assert not drift(map_of(TABLE), map_of(NonmatedScores(0.842, 0.8914)), 0.94).alarm
    assert not drift(map_of(TABLE), map_of(TABLE), 0.94).alarm
    assert not drift(map_of(TABLE), sure, 1.0).alarm


def test_a_map_survives_json():
    found = fit_local_map(scores_like(TABLE, 1000), pairs_of(1000), TABLE)
    kept = json.loads(json.dumps(asdict(found)))
    again = LocalMap(**kept | {name: NonmatedScores(**kept[name]) for name in ("table", "archive")})
    assert again == found


def test_the_shipped_table_says_where_scores_of_two_people_lie():
    table = load_table("dlib-resnet29")
    found = NonmatedScores.of_grid(table.verification)
    # Elsewhere, with other code, such pairs were found with a median near 0.839 and 5 % above 0.892.
    assert (found.median, found.upper) == pytest.approx((0.839, 0.892), abs=0.002)
    assert 0.95 < alike_threshold(table) < 0.96


def people_alike(faces, seed, shared):
    """People of whom all have something in common, the more the more alike."""
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((faces, 24))
    vectors[:, 0] += 8.0
    vectors[:, 1:4] *= 1 - shared
    vectors[:, 4:] *= 1 - shared / 2
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_strangers_among_people_who_look_alike_meet_the_rate_asked_for():
    vectors, subjects = synthetic_people([1] * 500 + [2] * 100, seed=31)
    table = ModelTable.from_json(make_model_table(vectors, subjects, ModelId("demo@0"), data="synthetic", draws=2))
    album, strangers = people_alike(1000, 32, 0.3), people_alike(4000, 33, 0.3)
    photos = np.repeat(np.arange(200), 5)
    boxes = np.column_stack([np.arange(1000) * 10.0, np.zeros(1000), np.arange(1000) * 10.0 + 8, np.ones(1000)])
    pairs = unlabelled_pairs(photos, boxes, album, 0.9999)
    found = fit_local_map(pairs.similarities(album), pairs, NonmatedScores.of_grid(table.verification))
    best = (strangers @ album[:400].T).max(axis=1)

    for fpir in (0.1, 0.03):
        threshold = table.identification_threshold(fpir, 400)
        assert (best >= threshold.value).mean() > 3 * fpir
        assert fpir / 3 < (best >= found.applied(threshold).value).mean() < 1.5 * fpir
