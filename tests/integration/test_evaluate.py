"""`faceindex evaluate` on photos of two people, as a user runs it."""

import json
import shutil
from pathlib import Path

import pytest

from tests.support.archives import faceindex, make_archive


@pytest.fixture(scope="module")
def lfw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photos each of two people, in folders as LFW has them."""
    flat = make_archive(tmp_path_factory.mktemp("flat"))
    root = tmp_path_factory.mktemp("lfw") / "photos"
    for index in range(12):
        name = ("Ada", "Grace")[index % 2]
        (root / name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(flat / f"{index:02}.jpg", root / name / f"{name}_{index // 2 + 1:04}.jpg")
    folds = [["Ada 1 2", "Grace 1 3", "Ada 1 Grace 1", "Ada 2 Grace 4"], ["Ada 3 4", "Grace 4 5", "Ada 3 Grace 2"]]
    lines = ["2 2", *folds[0], *folds[1], "Ada 4 Grace 5"]
    (root.parent / "pairs.txt").write_text("\n".join(lines))
    return root


def test_photos_laid_out_like_lfw_are_indexed_and_measured(lfw: Path, tmp_path: Path) -> None:
    catalog, report, plots = tmp_path / "catalog", tmp_path / "report.html", tmp_path / "plots"
    options = ["--pairs", lfw.parent / "pairs.txt", "-c", catalog, "--json"]

    first = faceindex("evaluate", "lfw", lfw, *options, "--report", report, "--plots", plots)

    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout)
    assert (told["people"], told["faces"], told["pairs"]["pairs"], told["pairs"]["missing"]) == (2, 12, 8, 0)
    assert told["pairs"]["accuracy"] == 1
    assert told["verification"]["eer"]["value"] == 0
    assert told["notes"][-1].startswith("no searches: thresholds need 20 labelled people, got 2")
    assert "LFW pairs: 8 in 2 folds" in report.read_text()
    assert {path.name for path in plots.iterdir()} == {"scores.png", "scores.svg"}
    assert report.stat().st_mode & 0o077 == 0

    again = faceindex("evaluate", "catalog", "-c", catalog, "--people-from-folders")

    assert again.returncode == 0, again.stderr
    assert "12 faces of 2 people" in again.stdout
    assert "EER" in again.stdout


def test_what_cannot_be_measured_or_written_is_one_line(lfw: Path, tmp_path: Path) -> None:
    unlabelled = faceindex("evaluate", "catalog", "-c", tmp_path)
    nowhere = faceindex(
        "evaluate", "catalog", "-c", tmp_path, "--people-from-folders", "--report", tmp_path / "a" / "b"
    )
    no_pairs = faceindex("evaluate", "lfw", lfw, "--pairs", lfw / "Ada" / "Ada_0001.jpg")

    assert (unlabelled.returncode, nowhere.returncode, no_pairs.returncode) == (2, 2, 2)
    assert "give --people-from-folders" in unlabelled.stderr
    assert f"there is no folder {tmp_path / 'a'}" in nowhere.stderr
    assert "a pairs file of LFW wanted" in no_pairs.stderr
    assert all(result.stderr.count("\n") == 1 for result in (unlabelled, nowhere, no_pairs))
