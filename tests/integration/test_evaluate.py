"""`faceindex evaluate` on photos of two people, as a user runs it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from faceindex.cli.main import cli
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
    no_catalog = faceindex("evaluate", "catalog", "-c", tmp_path)
    nowhere = faceindex(
        "evaluate", "catalog", "-c", tmp_path, "--people-from-folders", "--report", tmp_path / "a" / "b"
    )
    no_pairs = faceindex("evaluate", "lfw", lfw, "--pairs", lfw / "Ada" / "Ada_0001.jpg")

    assert (no_catalog.returncode, nowhere.returncode, no_pairs.returncode) == (1, 2, 2)
    assert "no catalog at" in no_catalog.stderr
    assert f"there is no folder {tmp_path / 'a'}" in nowhere.stderr
    assert "a pairs file of LFW wanted" in no_pairs.stderr
    assert all(result.stderr.count("\n") == 1 for result in (no_catalog, nowhere, no_pairs))


def imported(folder: Path, people: list[str] | None, *, alike: bool = False) -> list[object]:
    """Return arguments that evaluate a catalog of embeddings with these names."""
    vectors = np.random.default_rng(0).normal(size=(len(people or "12345"), 128)).astype(np.float32)
    names = {} if people is None else {"people": np.array(people)}
    np.savez(folder / "faces.npz", vectors=vectors[[0] * len(vectors)] if alike else vectors, **names)
    catalog = folder / "catalog"
    assert run("import", folder / "faces.npz", "-c", catalog, "--model", "dlib-resnet29").exit_code == 0
    return ["evaluate", "catalog", "-c", catalog]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_people_are_known_by_the_names_they_were_imported_with(tmp_path: Path) -> None:
    told = json.loads(run(*imported(tmp_path, ["Ada", "Ada", "Grace"]), "--json").stdout)

    assert (told["labels"], told["people"], told["people_with_two_faces"], told["faces"]) == ("names", 2, 1, 3)
    assert 0 <= told["verification"]["eer"]["low"] <= told["verification"]["eer"]["high"] <= 1
    assert told["notes"][0] == "no rate at an FMR: 0.01 needs 1,000 pairs of people, got 1"


def test_faces_that_are_all_alike_are_measured_and_the_labels_doubted(tmp_path: Path) -> None:
    people = [str(number // 2) for number in range(60)]
    told = json.loads(run(*imported(tmp_path, people, alike=True), "--json").stdout)

    assert told["verification"]["eer"]["value"] == pytest.approx(0.5)
    assert "no searches: thresholds need people who differ" in told["notes"][1]


@pytest.mark.parametrize(
    ("people", "options", "line"),
    [
        (["Ada"] * 5, [], "error rates need faces of two people or more, got 1; label more people"),
        (["Ada", "Grace"], [], "error rates need people with two faces or more, got none; label more photos"),
        (None, [], "error rates need labels, and nobody in the catalog has a name: give --people-from-folders"),
        (["Ada"] * 5, ["--people-from-folders"], "error rates need faces of two people or more, got 0"),
    ],
)
def test_labels_that_tell_nothing_are_one_line(
    people: list[str] | None, options: list[str], line: str, tmp_path: Path
) -> None:
    result = run(*imported(tmp_path, people), *options)

    assert result.exit_code == 2
    assert result.output.startswith(f"faceindex: {line}")
    assert result.output.count("\n") == 1
