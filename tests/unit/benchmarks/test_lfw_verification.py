import importlib
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture
def scoring(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, which imports its neighbours as a script does."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("lfw_verification")


def share_right(scores: np.ndarray, mated: np.ndarray, threshold: float) -> float:
    return float(np.mean([not math.isnan(s) and (s >= threshold) == m for s, m in zip(scores, mated, strict=True)]))


def test_no_other_threshold_is_right_more_often(scoring: ModuleType) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        # Few different values, so that many pairs have the same score, and some pairs without a face.
        scores = rng.integers(0, 6, 11) / 5
        scores[rng.random(11) < 0.1] = np.nan
        mated = rng.random(11) < 0.5
        everywhere = np.concatenate([np.arange(-0.1, 1.3, 0.05)])

        threshold = scoring.best_threshold(scores, mated)

        best = max(share_right(scores, mated, each) for each in everywhere)
        assert share_right(scores, mated, threshold) == pytest.approx(best)


def test_a_threshold_stands_in_the_middle_between_two_scores(scoring: ModuleType) -> None:
    scores = np.array([0.1, 0.3, 0.7, 0.9])

    assert scoring.best_threshold(scores, np.array([False, False, True, True])) == pytest.approx(0.5)


def test_each_fold_is_judged_by_the_threshold_of_the_others(scoring: ModuleType) -> None:
    # By themselves the folds are all right at 0.2 and 0.6.
    scores = [np.array([0.1, 0.3, 0.3, 0.3]), np.array([0.5, 0.7])]
    mated = [np.array([False, True, True, True]), np.array([False, True])]

    results = scoring.fold_accuracies(scores, mated)

    assert results == [(0.25, pytest.approx(0.6)), (0.5, pytest.approx(0.2))]


def test_a_pair_without_a_face_is_an_error_of_either_kind(scoring: ModuleType) -> None:
    clear = np.array([0.1, 0.1, 0.9, 0.9])
    mated = np.array([False, False, True, True])

    for missing in range(4):
        scores = clear.copy()
        scores[missing] = np.nan
        (accuracy, _), _ = scoring.fold_accuracies([scores, clear], [mated, mated])
        assert accuracy == 0.75


def test_both_kinds_of_lines_of_a_pairs_file_are_understood(scoring: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("2\t1\nAda\t1\t4\nAda\t2\tBea\t13\nCy\t5\t6\nCy\t7\tAda\t1\n", encoding="utf-8")

    folds = scoring.read_pairs(path)

    assert folds == [
        [("Ada_0001.jpg", "Ada_0004.jpg", True), ("Ada_0002.jpg", "Bea_0013.jpg", False)],
        [("Cy_0005.jpg", "Cy_0006.jpg", True), ("Cy_0007.jpg", "Ada_0001.jpg", False)],
    ]


def test_a_pairs_file_that_lacks_pairs_is_refused(scoring: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("2\t1\nAda\t1\t4\n", encoding="utf-8")

    with pytest.raises(SystemExit, match="promises 4 pairs and holds 1"):
        scoring.read_pairs(path)
