"""Comparing two pictures, as a user does: which faces were compared, and at which error rate."""

import json
import math
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image, ImageFilter

from faceindex.cli.main import cli
from faceindex.config import Settings
from faceindex.errors import ConfigError, FaceIndexError
from faceindex.evaluation.thresholds import ModelTable, load_document, load_table
from faceindex.faces.recogniser import Recogniser
from faceindex.verification import VerifyAnswer, verify
from tests.support.archives import ROOT, make_archive, portrait

SETTINGS = Settings()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("archive") / "photos")


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser.load(SETTINGS)


@pytest.fixture(scope="module")
def group() -> Image.Image:
    """Both people of the archive, the astronaut on the right and smaller."""
    picture = Image.new("RGB", (620, 310), "white")
    picture.paste(portrait("hopper"), (150, 0))
    picture.paste(portrait("astronaut").resize((200, 200)), (410, 50))
    return picture


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)


def validated(answer: VerifyAnswer) -> VerifyAnswer:
    """Return the answer, its document checked: the schema names every key of it."""
    schema = json.loads((ROOT / "schemas" / "verify.v1.json").read_text())
    document = json.loads(json.dumps(answer.to_json()))
    jsonschema.validate(document, schema)
    assert set(document) == set(schema["properties"])
    assert set(document["a"]) == set(document["b"]) == set(schema["$defs"]["side"]["properties"])
    return answer


def test_one_person_is_told_from_another(archive: Path, recogniser: Recogniser) -> None:
    same = validated(verify(archive / "00.jpg", archive / "02.jpg", recogniser, SETTINGS))
    different = validated(verify(archive / "00.jpg", archive / "01.jpg", recogniser, SETTINGS))
    faceless = validated(verify(archive / "00.jpg", archive / "scene.png", recogniser, SETTINGS))

    assert [answer.decision for answer in (same, different, faceless)] == ["same", "different", "no_face"]
    assert (same.notes, different.notes, faceless.notes) == ([], [], [])
    assert same.probability is not None
    assert different.probability is not None
    assert same.probability > 0.99
    assert different.probability < 0.05
    assert (faceless.comparisons, faceless.a.faces, faceless.b.faces) == (0, 1, 0)
    assert faceless.similarity is faceless.probability is faceless.log_likelihood_ratio is faceless.a.box is None


def test_the_best_of_several_pairs_has_to_meet_the_rate_of_them_all(
    archive: Path, recogniser: Recogniser, group: Image.Image
) -> None:
    answer = validated(verify(group, archive / "00.jpg", recogniser, SETTINGS, fmr=1e-3))

    assert (answer.a.faces, answer.b.faces, answer.comparisons) == (2, 1, 2)
    assert answer.a.face == 1, "the astronaut is the smaller one"
    assert answer.a.box is not None
    assert answer.a.box[0] > 310
    assert answer.b.face == 0
    limit = load_table(recogniser.embedder.model).verification_threshold(1e-3 / 2)
    assert (answer.threshold, answer.fmr, answer.fmr_per_comparison) == (round(limit.value, 6), 1e-3, 1e-3 / 2)
    assert answer.log_likelihood_ratio is not None
    odds = math.exp(answer.log_likelihood_ratio) / 2
    assert answer.probability == pytest.approx(odds / (1 + odds), abs=2e-4)


def test_an_answer_says_what_it_is_not_worth(archive: Path, recogniser: Recogniser) -> None:
    with Image.open(archive / "01.jpg") as picture:
        blurred = picture.filter(ImageFilter.GaussianBlur(9))
    poor = validated(verify(archive / "00.jpg", blurred, recogniser, SETTINGS))
    itself = validated(verify(archive / "00.jpg", archive / "00.jpg", recogniser, SETTINGS))
    strict = validated(verify(archive / "00.jpg", archive / "02.jpg", recogniser, SETTINGS, threshold=1.0))

    assert (poor.decision, poor.b.low_quality) == ("different", True)
    assert poor.notes == ["low quality of the face in (picture): that the faces differ says little"]
    assert itself.similarity == pytest.approx(1.0, abs=1e-5)
    assert itself.notes == ["both are the same picture: that they match says nothing"]
    assert strict.decision == "different"
    assert strict.notes == ["probably the same person, but not as surely as the error rate asks for"]
    assert (strict.fmr, strict.fmr_per_comparison, strict.threshold_source) == (None, None, "user")


def test_pictures_and_rates_that_cannot_be_used_are_one_line(archive: Path, recogniser: Recogniser) -> None:
    pixels = np.zeros((40, 40, 3), np.uint8)
    for name, told in (("text.jpg", "text.jpg: unsupported: by its first bytes"), ("broken.jpg", "broken.jpg: ")):
        with pytest.raises(FaceIndexError, match=told):
            verify(pixels, archive / name, recogniser, SETTINGS)
    for rate in (0.0, 1.0, math.nan):
        with pytest.raises(ConfigError, match="fmr is an error rate between 0 and 1"):
            verify(pixels, pixels, recogniser, SETTINGS, fmr=rate)
    with pytest.raises(ConfigError, match="a threshold is a cosine similarity"):
        verify(pixels, pixels, recogniser, SETTINGS, threshold=1.5)


def test_the_command_shows_which_faces_were_compared(archive: Path, group: Image.Image, tmp_path: Path) -> None:
    group.save(tmp_path / "group.png")

    told = run("verify", tmp_path / "group.png", archive / "00.jpg")
    document = run("verify", archive / "00.jpg", archive / "scene.png", "--json")

    assert told.exit_code == 0
    assert told.stdout.startswith("same person: similarity 0.9")
    assert "fmr 0.0001, so 5e-05 for the best of 2 pairs of faces (model table; 4" in told.stdout
    assert "group.png: face 1 (of 2) at (" in told.stdout
    assert "00.jpg: one face at (" in told.stdout
    assert (document.exit_code, json.loads(document.stdout)["decision"]) == (4, "no_face")


def test_a_catalog_brings_its_network_and_thresholds(archive: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    assert run("index", archive, "-c", catalog, "--workers", 0).exit_code == 3
    pictures = (archive / "00.jpg", archive / "02.jpg")

    own, plain = (json.loads(run("verify", *pictures, *more, "--json").stdout) for more in (["-c", catalog], []))
    both = run("verify", *pictures, "-c", catalog, "--model", "dlib-resnet29")

    assert own == plain, "so few faces teach nothing"
    assert both.exit_code == 2
    assert "a catalog has its own network" in both.output


def test_the_thresholds_that_decide_are_those_given(archive: Path, recogniser: Recogniser) -> None:
    shipped = load_document(recogniser.embedder.model)
    grid = shipped["verification"]
    stricter = [[threshold + 0.01 for threshold in row] for row in grid["thresholds"]]
    learnt = ModelTable.from_json(
        {**shipped, "source": "labels", "verification": {**grid, "thresholds": stricter}, "same": None}
    )

    own = validated(verify(archive / "00.jpg", archive / "02.jpg", recogniser, SETTINGS, table=learnt))
    plain = verify(archive / "00.jpg", archive / "02.jpg", recogniser, SETTINGS)

    assert own.threshold == pytest.approx(plain.threshold + 0.01, abs=2e-6)
    assert (own.threshold_source, plain.threshold_source) == ("labels", "model")
    assert own.probability is own.log_likelihood_ratio is None, "a table of people with one face each has none"
