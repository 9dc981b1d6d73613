"""What searches conclude, and what they learn from: catalogs of imported people, held against slow sums."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

import faceindex
from faceindex.catalog.checksums import write_entry
from faceindex.cli.main import cli
from faceindex.decisions.calibration import Calibration
from faceindex.errors import DamagedError
from faceindex.query import OpenCatalog
from faceindex.vector_files import VectorFile
from tests.support.archives import ROOT
from tests.support.people import synthetic_people

MODEL = "dlib-resnet29"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)


def people_like_photos(faces: list[int], seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return faces of people whose cosines are about those of the model's table."""
    return synthetic_people(faces, seed, within=0.45, dimension=128)


def imported(folder: Path, vectors: NDArray[np.float32], names: NDArray[np.str_] | None) -> str:
    arrays = {"vectors": vectors} if names is None else {"vectors": vectors, "people": names}
    np.savez(folder / "faces.npz", **arrays)
    done = run("import", folder / "faces.npz", "-c", folder / "catalog", "--model", MODEL)
    assert done.exit_code == 0, done.stderr
    return str(folder / "catalog")


def searched(opened: OpenCatalog, probes: NDArray[np.float32], folder: Path, **asked: Any) -> list[Any]:
    np.save(folder / "probes.npy", probes)
    return [answer.faces[0] for answer in opened.search_vectors(VectorFile(str(folder / "probes.npy"), 128), **asked)]


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> tuple[OpenCatalog, NDArray[np.float32], NDArray[np.int64]]:
    """A catalog of 260 people with three faces each, and those faces."""
    vectors, people = people_like_photos([3] * 260, seed=1)
    names = np.char.mod("p%03d", people)
    return faceindex.open(imported(tmp_path_factory.mktemp("several"), vectors, names)), vectors, people


def test_enough_labelled_people_give_the_thresholds(
    several: tuple[OpenCatalog, NDArray[np.float32], NDArray[np.int64]],
) -> None:
    opened, _, _ = several
    told = opened.generation.threshold
    assert told is not None
    assert (told["source"], told["trials"], told["gallery_size"]) == ("labels", 260, 260)
    assert told["normalised"] is not None
    limit = opened.calibration.threshold(0.1, 260)
    assert limit.pairs is not None
    assert limit.pairs >= 10
    assert not limit.extrapolated
    low, high = limit.interval or (0.0, 0.0)
    assert low < 0.1 < high


def test_a_person_is_compared_by_the_mean_of_the_faces(
    several: tuple[OpenCatalog, NDArray[np.float32], NDArray[np.int64]], tmp_path: Path
) -> None:
    opened, vectors, people = several
    probes, _ = people_like_photos([1] * 5, seed=2)
    probes = np.concatenate([vectors[:30:3], probes])

    answers = searched(opened, probes, tmp_path, k=10, fpir=0.1)

    half = vectors.astype(np.float16).astype(np.float32)
    means = np.array([half[people == person].sum(axis=0) for person in range(260)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    for probe, answer in zip(probes, answers, strict=True):
        for person in answer.people:
            assert person.faces == 3
            assert person.similarity == pytest.approx(probe @ means[int(person.person[1:])], abs=2e-3)
        assert [p.similarity for p in answer.people] == sorted((p.similarity for p in answer.people), reverse=True)
        assert len({p.person for p in answer.people}) == len(answer.people)
    for answer, own in zip(answers, people[:30:3].tolist(), strict=False):
        assert (answer.decision, answer.person) == ("identified", f"p{own:03d}")
        assert answer.people[0].person == answer.person
        assert answer.margin > 0
        assert answer.people[0].similarity >= answer.threshold


def test_strangers_are_let_in_at_the_rate_asked_for_and_named_people_found(
    several: tuple[OpenCatalog, NDArray[np.float32], NDArray[np.int64]], tmp_path: Path
) -> None:
    opened, _, _ = several
    strangers, _ = people_like_photos([1] * 2000, seed=3)
    answers = searched(opened, strangers, tmp_path, k=1, fpir=0.1)
    assert 0.05 < np.mean([answer.decision == "identified" for answer in answers]) < 0.2


def test_what_somebody_else_has_left_is_all_that_others_get(
    several: tuple[OpenCatalog, NDArray[np.float32], NDArray[np.int64]], tmp_path: Path
) -> None:
    opened, _, people = several
    others, _ = people_like_photos([4] * 260, seed=1)  # the same people, one more face each
    answers = searched(opened, others[3::4][:50], tmp_path, k=10)
    for answer in answers:
        best = answer.people[0]
        assert all(other.probability <= 1 - best.probability + 1e-4 for other in answer.people[1:])
        named = {person.person: person.probability for person in answer.people}
        for candidate in answer.candidates:
            assert candidate.probability == named.get(candidate.person, candidate.probability)
    assert len(people) == 780


@pytest.fixture(scope="module")
def nameless(tmp_path_factory: pytest.TempPathFactory) -> OpenCatalog:
    """A catalog of 600 people with a face each and no names."""
    vectors, _ = people_like_photos([1] * 600, seed=4)
    return faceindex.open(imported(tmp_path_factory.mktemp("nameless"), vectors, None))


def test_the_threshold_that_is_shown_is_the_cosine_the_first_candidate_needs(
    nameless: OpenCatalog, tmp_path: Path
) -> None:
    probes, _ = people_like_photos([1] * 300, seed=5)
    others, _ = people_like_photos([2] * 600, seed=4)  # the same people, one more face each
    probes = np.concatenate([probes, others[1::2][:100]])

    answers = searched(nameless, probes, tmp_path, k=3, fpir=0.3)

    assert nameless.calibration.members is not None
    assert len({answer.threshold for answer in answers}) > 250  # each face has its own
    for answer in answers:
        assert (answer.candidates[0].similarity >= answer.threshold) == (answer.decision == "identified")
    assert {answer.decision for answer in answers} == {"identified", "not_recognised"}
    assert all(answer.margin is None and answer.people == [] for answer in answers)


def test_a_threshold_of_one_s_own_is_held_against_cosines(nameless: OpenCatalog, tmp_path: Path) -> None:
    probes, _ = people_like_photos([1] * 200, seed=6)
    plain = searched(nameless, probes, tmp_path, k=1, threshold=0.8)
    middle = float(np.median([answer.candidates[0].similarity for answer in plain]))

    answers = searched(nameless, probes, tmp_path, k=1, threshold=middle)

    for answer in answers:
        assert answer.threshold == pytest.approx(middle)
        assert (answer.candidates[0].similarity >= middle) == (answer.decision == "identified")
        assert (answer.threshold_source, answer.fpir, answer.pairs, answer.interval) == ("user", None, None, None)


def test_every_answer_says_what_its_threshold_rests_on(nameless: OpenCatalog, tmp_path: Path) -> None:
    [answer] = searched(nameless, people_like_photos([1], seed=7)[0], tmp_path, fpir=0.05)
    limit = nameless.calibration.threshold(0.05, 600)
    assert (answer.threshold_source, answer.extrapolated) == (limit.source, limit.extrapolated)
    assert (answer.trials, answer.pairs, answer.interval) == (limit.trials, limit.pairs, limit.interval)


@pytest.mark.parametrize(
    ("faces", "source", "normalised", "note"),
    [
        ([1] * 3, "model", False, "500 pairs of 200 faces of different people wanted, got 0 of 0"),
        ([40], "model", False, "of different people wanted"),
        ([2] * 120, "model", True, "500 pairs of 200 faces of different people wanted"),
        ([1] * 400, "archive", True, None),
    ],
)
def test_what_there_is_to_learn_from_decides_the_source(
    tmp_path: Path, faces: list[int], source: str, normalised: bool, note: str | None
) -> None:
    vectors, _ = shipped_like(faces)
    catalog = imported(tmp_path, vectors, None)

    document = json.loads(run("calibrate", "-c", catalog, "--json").stdout)

    jsonschema.validate(document, json.loads((ROOT / "schemas" / "calibrate.v1.json").read_text()))
    assert document["source"] == source
    assert (document["cohort"] >= 100) == normalised
    assert (document["identification"][0]["normalised"] is not None) == normalised
    assert note is None if document["note"] is None else note is not None and note in document["note"]


def shipped_like(faces: list[int]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return faces of people with the median and 95 % quantile of cosines of the shipped table, nearly."""
    generator = np.random.default_rng(8)
    centres = generator.standard_normal((len(faces), 128)) * 0.95 ** np.arange(128)
    centres[:, 0] += 7.0
    people = np.repeat(np.arange(len(faces)), faces)
    vectors = centres[people] + 0.1 * generator.standard_normal((len(people), 128))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), people


def test_faces_that_are_all_alike_fall_back_to_the_table_of_the_model(tmp_path: Path) -> None:
    vectors = np.tile(shipped_like([1])[0], (300, 1)) + np.float32(1e-4) * np.random.default_rng(0).random(
        (300, 128), np.float32
    )
    catalog = imported(tmp_path, vectors, np.char.mod("p%03d", np.arange(300)))

    document = json.loads(run("calibrate", "-c", catalog, "--json").stdout)

    assert document["source"] == "model"
    assert "people who differ" in document["note"]
    assert "people who differ" in run("status", "-c", catalog).stdout


def test_calibrating_again_changes_nothing(tmp_path: Path) -> None:
    catalog = imported(tmp_path, shipped_like([1] * 400)[0], None)
    first = json.loads(run("calibrate", "-c", catalog, "--json").stdout)
    again = json.loads(run("calibrate", "-c", catalog, "--json").stdout)
    assert again == first
    assert first["generation"] == 1


def test_a_change_of_people_is_told(tmp_path: Path) -> None:
    vectors, _ = shipped_like([1] * 600)
    catalog = imported(tmp_path, vectors, None)
    closer = vectors[:1] + 0.6 * (shipped_like([1] * 4000)[0][600:] - vectors[:1])
    closer /= np.linalg.norm(closer, axis=1, keepdims=True)
    np.savez(tmp_path / "more.npz", vectors=closer)

    run("import", tmp_path / "more.npz", "-c", catalog)

    assert "the people of this archive have changed" in run("status", "-c", catalog).stdout


def test_an_empty_catalog_cannot_be_calibrated(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    run("index", tmp_path / "photos", "-c", tmp_path / "catalog", "--workers", "0")
    done = run("calibrate", "-c", tmp_path / "catalog")
    assert done.exit_code != 0
    assert "faceindex index" in done.stderr


def test_thresholds_of_another_model_are_never_used(tmp_path: Path) -> None:
    catalog = faceindex.open(imported(tmp_path, shipped_like([1] * 300)[0], None))
    files, generation = catalog.catalog.files, catalog.generation
    document = json.loads(files.read(generation.calibration["thresholds"].path))
    entry = write_entry(
        files, "generations/000009.thresholds.json", json.dumps(document | {"model": "other@0"}).encode()
    )

    with pytest.raises(DamagedError, match="wanted, got those of other@0"):
        Calibration.read(files, replace(generation, calibration={"thresholds": entry}))


def test_a_catalog_published_before_there_were_calibrations_decides_by_the_table_of_the_model(tmp_path: Path) -> None:
    catalog = faceindex.open(imported(tmp_path, shipped_like([1] * 300)[0], None))
    found = Calibration.read(catalog.catalog.files, replace(catalog.generation, calibration={}, threshold=None))
    assert found.table is not None
    assert (found.table.source, found.members, found.entries) == ("model", None, 300)


def test_decisions_are_part_of_what_check_verifies(tmp_path: Path) -> None:
    catalog = Path(imported(tmp_path, shipped_like([1] * 300)[0], None))
    [table] = catalog.glob("generations/*.thresholds.json")
    damaged = bytearray(table.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    table.write_bytes(damaged)

    assert run("check", "-c", catalog).exit_code == 5
    probes = tmp_path / "probes.npy"
    np.save(probes, shipped_like([1])[0])
    done = run("search", "--vectors", probes, "-c", catalog)
    assert done.exit_code == 5
    assert "thresholds.json" in done.stderr
