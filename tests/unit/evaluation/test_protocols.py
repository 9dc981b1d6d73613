import math
from pathlib import Path

import numpy as np
import pytest

from faceindex.errors import ConfigError
from faceindex.evaluation.protocols import (
    Fold,
    best_threshold,
    blufr_style,
    fold_accuracies,
    mean_less_sd,
    read_pairs,
)
from tests.support.people import synthetic_people


def share_right(scores: np.ndarray, mated: np.ndarray, threshold: float) -> float:
    return float(np.mean([not math.isnan(s) and (s >= threshold) == m for s, m in zip(scores, mated, strict=True)]))


def test_no_other_threshold_is_right_more_often() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        # Few different values, so that many pairs have the same score, and some pairs without a face.
        scores = rng.integers(0, 6, 11) / 5
        scores[rng.random(11) < 0.1] = np.nan
        mated = rng.random(11) < 0.5
        everywhere = np.concatenate([np.arange(-0.1, 1.3, 0.05)])

        threshold = best_threshold(scores, mated)

        best = max(share_right(scores, mated, each) for each in everywhere)
        assert share_right(scores, mated, threshold) == pytest.approx(best)


def test_a_threshold_stands_in_the_middle_between_two_scores() -> None:
    scores = np.array([0.1, 0.3, 0.7, 0.9])

    assert best_threshold(scores, np.array([False, False, True, True])) == pytest.approx(0.5)


def test_each_fold_is_judged_by_the_threshold_of_the_others() -> None:
    # By themselves the folds are all right at 0.2 and 0.6.
    scores = [np.array([0.1, 0.3, 0.3, 0.3]), np.array([0.5, 0.7])]
    mated = [np.array([False, True, True, True]), np.array([False, True])]

    results = fold_accuracies(scores, mated)

    assert results == [Fold(0.25, pytest.approx(0.6)), Fold(0.5, pytest.approx(0.2))]


def test_a_pair_without_a_face_is_an_error_of_either_kind() -> None:
    clear = np.array([0.1, 0.1, 0.9, 0.9])
    mated = np.array([False, False, True, True])

    for missing in range(4):
        scores = clear.copy()
        scores[missing] = np.nan
        first, _ = fold_accuracies([scores, clear], [mated, mated])
        assert first.accuracy == 0.75


def test_both_kinds_of_lines_of_a_pairs_file_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("2\t1\nAda\t1\t4\nAda\t2\tBea\t13\nCy\t5\t6\nCy\t7\tAda\t1\n", encoding="utf-8")

    folds = read_pairs(path)

    assert folds == [
        [("Ada_0001.jpg", "Ada_0004.jpg", True), ("Ada_0002.jpg", "Bea_0013.jpg", False)],
        [("Cy_0005.jpg", "Cy_0006.jpg", True), ("Cy_0007.jpg", "Ada_0001.jpg", False)],
    ]


def test_a_pairs_file_that_lacks_pairs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("2\t1\nAda\t1\t4\n", encoding="utf-8")

    with pytest.raises(ConfigError, match="promises 4 pairs and holds 1"):
        read_pairs(path)


@pytest.mark.parametrize("text", ["", "no numbers\n", "1 1\nAda one two\nAda 1 2\n", "1 1\nAda 1\nAda 2\n"])
def test_a_file_of_something_else_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError, match=r"a pairs file of LFW wanted .*pairs\.txt"):
        read_pairs(path)


def test_photos_of_nobody_in_the_pairs_file_are_refused() -> None:
    with pytest.raises(ConfigError, match="no pair of the file has a face in both photos"):
        fold_accuracies([np.array([np.nan, np.nan])], [np.array([True, False])])


def test_trials_are_random_but_the_same_with_the_same_seed() -> None:
    people = synthetic_people([3, 1, 2, 5] * 25, seed=1, within=0.6)

    found, again, other = blufr_style(*people), blufr_style(*people), blufr_style(*people, seed=1)

    np.testing.assert_array_equal(found.identification, again.identification)
    np.testing.assert_array_equal(found.verification, again.verification)
    assert not np.array_equal(found.identification, other.identification)
    assert len(set(found.identification)) > 3
    assert found.gallery_size == int(1000 / 1242 * (1 - 1500 / 5749) * 75)
    assert mean_less_sd(found.verification) < found.verification.mean()


def test_people_who_differ_clearly_are_always_found_and_strangers_never() -> None:
    found = blufr_style(*synthetic_people([3] * 40, seed=2, within=0.01))

    assert found.identification.tolist() == [1.0] * 10
    assert found.verification.tolist() == [1.0] * 10


def test_people_without_anything_in_common_are_found_no_more_often_than_chance() -> None:
    vectors, _ = synthetic_people([1] * 300, seed=3)

    found = blufr_style(vectors, np.repeat(np.arange(100), 3))

    assert found.identification.mean() < 0.03
    assert found.verification.mean() < 0.03


def test_too_few_people_for_a_trial_are_refused() -> None:
    with pytest.raises(ConfigError, match="needs 4 people with two faces or more, got 2"):
        blufr_style(*synthetic_people([2, 2, 1], seed=4))
