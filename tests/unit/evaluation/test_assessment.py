import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from faceindex.errors import ConfigError
from faceindex.evaluation.assessment import Assessment, assess, fold_pairs, gallery_sizes
from faceindex.evaluation.model_table import make_model_table
from faceindex.evaluation.plots import drawn, plots_of
from faceindex.evaluation.summary import page, tables_of
from faceindex.evaluation.thresholds import ModelTable
from faceindex.types import ModelId
from tests.support.people import synthetic_people

SCHEMA = json.loads((Path(__file__).resolve().parents[3] / "schemas" / "evaluate.v1.json").read_text())
MODEL = ModelId("demo@0123456789ab")
PEOPLE = [3, 1, 2, 5] * 40


@pytest.fixture(scope="module")
def found() -> Assessment:
    table = make_model_table(*synthetic_people(PEOPLE, seed=2, within=0.5), MODEL, data="others", draws=1)
    assessed = assess(*synthetic_people(PEOPLE, seed=1, within=0.5), ModelTable.from_json(table))
    assessed.pairs = fold_pairs(
        [[("a.jpg", "b.jpg", True), ("a.jpg", "c.jpg", False)]] * 2, np.eye(3), ["a.jpg", "b.jpg", "c.jpg"]
    )
    return assessed


def document(found: Assessment, **changes: Any) -> dict[str, Any]:
    about = {"schema": "faceindex.evaluate/1", "catalog": "/<b>", "generation": 3, "model": MODEL, "labels": "folders"}
    return {**about, "photos": 450, "photos_without_face": 10, **found.to_json(), **changes}


def names_of(part: Any, described: dict[str, Any]) -> None:
    """Assert that the schema names every key, at every depth."""
    described = SCHEMA["$defs"]["estimate"] if "$ref" in described else described
    described = described["anyOf"][0] if "anyOf" in described else described
    if isinstance(part, dict):
        assert set(part) == set(described["properties"]) == set(described["required"])
        for key, value in part.items():
            if value is not None:
                names_of(value, described["properties"][key])
    elif isinstance(part, list):
        for value in part:
            names_of(value, described["items"])


def test_the_document_is_the_published_one(found: Assessment) -> None:
    told = json.loads(json.dumps(document(found)))

    jsonschema.Draft202012Validator(SCHEMA).validate(told)
    names_of(told, SCHEMA)
    assert all(told[part] for part in ("verification", "identification", "blufr_style", "probability", "pairs"))


def test_the_same_seed_gives_the_same_figures(found: Assessment) -> None:
    table = make_model_table(*synthetic_people(PEOPLE, seed=2, within=0.5), MODEL, data="others", draws=1)
    again = assess(*synthetic_people(PEOPLE, seed=1, within=0.5), ModelTable.from_json(table)).to_json()

    for part in ("verification", "identification", "blufr_style", "probability"):
        assert again[part] == found.to_json()[part]


def test_without_a_table_searches_are_by_cosines_and_tell_no_probability(found: Assessment) -> None:
    plain = assess(*synthetic_people(PEOPLE, seed=1, within=0.5), None).to_json()

    assert plain["verification"] == found.to_json()["verification"]
    assert (plain["identification"]["score"], found.to_json()["identification"]["score"]) == ("cosine", "normalised")
    assert plain["probability"] is None
    assert plain["notes"] == ["no probabilities: no threshold table for this model"]


def test_few_people_still_get_one_to_one_rates_and_are_told_what_is_missing() -> None:
    few = assess(*synthetic_people([4] * 5, seed=3, within=0.5), None)

    assert few.equal_error_rate.low <= few.equal_error_rate.value <= few.equal_error_rate.high
    assert few.to_json()["identification"] is None
    assert few.notes[:2] == [
        "no rate at an FMR: 0.01 needs 1,000 pairs of people, got 10",
        "no searches: thresholds need 20 labelled people, got 5; label more people",
    ]
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(json.dumps(document(few))))
    assert set(plots_of(few)) == {"scores"}
    for draw in plots_of(few).values():
        assert drawn(draw, "svg").startswith(b"<?xml")


@pytest.mark.parametrize(("faces", "wanted"), [([3], "two people or more"), ([1] * 30, "two faces or more")])
def test_faces_that_tell_nothing_are_refused(faces: list[int], wanted: str) -> None:
    with pytest.raises(ConfigError, match=wanted):
        assess(*synthetic_people(faces, seed=4), None)


def test_faces_that_are_all_alike_have_no_rates_but_no_crash() -> None:
    alike = np.tile(np.eye(1, 8, dtype=np.float32), (60, 1))

    told = assess(alike, np.repeat(np.arange(30), 2), None)

    assert told.verification == [] or told.verification[0].tar.value == 0
    assert "no searches: thresholds need people who differ" in told.notes[1 if not told.verification else 0]


def test_galleries_leave_out_the_searched_person() -> None:
    assert gallery_sizes(21) == [20]
    assert gallery_sizes(100) == [99]
    assert gallery_sizes(1001) == [100, 250, 500, 1000]


def test_every_plot_is_the_same_each_time_in_either_format(found: Assessment) -> None:
    plots = plots_of(found)

    assert set(plots) == {"det", "roc", "scores", "identification", "cmc", "reliability"}
    assert all(drawn(draw, "svg").startswith(b"<?xml") for draw in plots.values())
    assert drawn(plots["det"], "svg") == drawn(plots["det"], "svg")
    assert drawn(plots["det"], "png").startswith(b"\x89PNG")


def test_the_page_shows_every_figure_fetches_nothing_and_believes_no_name(found: Assessment) -> None:
    told = document(found, notes=["<script>"])
    text = page(told, {name: drawn(draw, "svg") for name, draw in plots_of(found).items()})

    assert text.count("data:image/svg+xml") == 6
    assert "http" not in text.replace("http-equiv", "")
    assert "<script>" not in text
    assert "/<b>" not in text
    for table in tables_of(told):
        for row in table.rows:
            assert all(cell in text or "&" in text for cell in row)


def test_rows_of_a_table_are_as_long_as_its_head(found: Assessment) -> None:
    for table in tables_of(document(found)):
        assert {len(row) for row in table.rows} == {len(table.rows[0])}
