import json
import math
import subprocess
import sys
from importlib import resources
from itertools import pairwise
from pathlib import Path

import pytest

from faceindex.errors import ConfigError
from faceindex.evaluation.model_table import make_model_table
from faceindex.evaluation.thresholds import ModelTable, Threshold, load_table, tail_threshold
from faceindex.faces.models import MODELS
from faceindex.types import ModelId
from tests.support.people import synthetic_people

SHIPPED = sorted(file.stem for file in Path(str(resources.files("faceindex.evaluation") / "shipped")).iterdir())


@pytest.fixture(scope="module")
def document():
    people = synthetic_people([1, 2, 4] * 60, seed=31)
    return make_model_table(*people, ModelId("demo@0123456789ab"), data="synthetic people", draws=2)


@pytest.fixture(scope="module")
def table(document):
    return ModelTable.from_json(document)


@pytest.fixture(scope="module", params=SHIPPED)
def shipped(request):
    return load_table(request.param)


def test_a_cell_of_the_table_is_looked_up_exactly(document, table):
    grid = document["cosines"]["identification"]
    row, column = grid["gallery_sizes"].index(100), grid["rates"].index(0.1)

    found = table.identification_threshold(0.1, 100)

    pairs = grid["pairs"][row][column]
    assert found == Threshold(
        value=pytest.approx(grid["thresholds"][row][column], abs=1e-12),
        fpir=0.1,
        source="model",
        extrapolated=False,
        trials=180,
        pairs=pairs,
        interval=tuple(pytest.approx(0.1 * math.exp(z * math.sqrt(1 / pairs + 0.01))) for z in (-1.2816, 1.2816)),
    )


def test_halfway_between_four_cells_stands_their_mean(document, table):
    grid = document["cosines"]["identification"]
    row, column = grid["gallery_sizes"].index(20), grid["rates"].index(0.1)
    corners = [grid["thresholds"][r][c] for r in (row, row + 1) for c in (column, column + 1)]

    # 31.6 is the geometric mean of 20 and 50: the size must be whole, so the mean is met within a little.
    found = table.identification_threshold(math.sqrt(0.1 * 0.05), 32)

    assert found.value == pytest.approx(sum(corners) / 4, abs=5e-4)
    assert found.pairs == grid["pairs"][row + 1][column + 1]


def test_a_lookup_next_to_an_extrapolated_cell_is_extrapolated(table):
    assert not table.identification_threshold(0.1, 100).extrapolated
    assert table.identification_threshold(0.1, 101).extrapolated
    assert table.identification_threshold(0.1, 10_000).extrapolated


def test_rates_below_the_table_follow_its_tail(document, table):
    grid = document["cosines"]["identification"]
    row = grid["gallery_sizes"].index(100)

    found = table.identification_threshold(1e-6, 100)

    expected = tail_threshold(grid["thresholds"][row][-1], 0.01, grid["tail_exponent"])
    assert found.value == pytest.approx(expected)
    assert grid["thresholds"][row][-1] < found.value < 1
    assert found.extrapolated


def test_galleries_beyond_the_table_take_a_rate_divided_by_their_excess(document, table):
    largest = table.identification_threshold(1e-3, 10**7)

    found = table.identification_threshold(1e-3, 4 * 10**7)

    exponent = document["cosines"]["identification"]["tail_exponent"]
    assert found.value == pytest.approx(tail_threshold(largest.value, 0.25, exponent))
    assert found.value > largest.value
    assert found.extrapolated


def test_rates_above_the_table_get_its_largest(table):
    assert table.identification_threshold(0.9, 50).value == table.identification_threshold(0.5, 50).value
    assert table.verification_threshold(0.9).value == table.verification_threshold(0.5).value


def test_an_empty_gallery_counts_as_one_face(table):
    assert table.identification_threshold(0.01, 0) == table.identification_threshold(0.01, 1)
    assert table.probability_identified(0.95, 0) == table.probability_identified(0.95, 1)


@pytest.mark.parametrize("rate", [0, 1, -0.1, 1.5, math.nan, math.inf])
def test_a_rate_that_is_none_is_refused(table, rate):
    with pytest.raises(ConfigError, match="fpir is an error rate between 0 and 1"):
        table.identification_threshold(rate, 100)
    with pytest.raises(ConfigError, match="fmr is an error rate between 0 and 1"):
        table.verification_threshold(rate)


def test_verification_thresholds_name_their_trials(table):
    found = table.verification_threshold(0.01)
    assert (found.fmr, found.fpir, found.source) == (0.01, None, "model")
    assert (found.trials, found.pairs, found.extrapolated) == (180 * 179 // 2, 161, False)
    assert table.verification_threshold(1e-4).extrapolated


@pytest.mark.parametrize("similarity", [-math.inf, -1.0, 0.0, 0.5, 1.0, 1.001, math.inf])
def test_probabilities_stay_between_0_and_1(table, similarity):
    assert 0 <= table.probability_identified(similarity, 10**9) <= 1
    assert 0 <= table.probability_same(similarity) <= 1


def test_a_far_face_is_improbable_and_the_same_picture_nearly_certain(table):
    assert table.probability_identified(-math.inf, 100) == 0
    assert table.probability_identified(1.0, 100) > 0.99
    assert table.probability_same(0.0) < 0.01
    assert table.probability_same(1.0) > 0.99


def test_a_table_of_another_schema_is_refused(document):
    with pytest.raises(ConfigError, match=r"schema faceindex\.thresholds/1 wanted, got 'faceindex\.thresholds/2'"):
        ModelTable.from_json(document | {"schema": "faceindex.thresholds/2"})


def test_a_table_with_a_part_missing_is_refused(document):
    with pytest.raises(ConfigError, match="of demo@0123456789ab has no 'verification'"):
        ModelTable.from_json({name: part for name, part in document.items() if name != "verification"})


def test_a_table_survives_json(document, table):
    assert ModelTable.from_json(json.loads(json.dumps(document))).identification_threshold(
        0.02, 77
    ) == table.identification_threshold(0.02, 77)


def test_a_model_without_a_table_is_refused_with_what_to_do():
    with pytest.raises(ConfigError, match="no threshold table for model nobody: give --threshold S"):
        load_table("nobody@0123456789ab")


def test_other_weights_of_the_same_name_are_refused_with_what_to_do(shipped):
    name, _ = shipped.model.split("@")
    with pytest.raises(ConfigError, match=f"made with {shipped.model}.*give --threshold S"):
        load_table(ModelId(f"{name}@000000000000"))


def test_a_shipped_table_is_found_by_name_and_by_model_and_belongs_to_one_of_the_models_table(shipped):
    assert load_table(shipped.model).model == shipped.model
    assert shipped.model.split("@")[0] in MODELS


def test_a_shipped_table_is_measured_on_thousands_of_people(shipped):
    found = shipped.identification_threshold(0.01, 1000)
    assert not found.extrapolated
    assert found.trials > 3000
    assert found.pairs > 30


def test_the_default_models_thresholds_are_those_found_with_other_code_on_these_photos():
    table = load_table("dlib-resnet29")
    assert table.identification_threshold(0.01, 1000).value == pytest.approx(0.9537, abs=0.004)
    assert table.identification_threshold(0.1, 1000).value == pytest.approx(0.9402, abs=0.004)


def test_shipped_thresholds_rise_with_the_gallery_and_with_the_strictness_everywhere(shipped):
    rows = shipped.cosines.identification.thresholds
    assert all(low < high for row in rows for low, high in pairwise(row))
    assert all(low < high for one, two in pairwise(rows) for low, high in zip(one, two, strict=True))


def test_thresholds_load_none_of_the_heavy_libraries():
    heavy = "{'torch', 'pyarrow', 'faiss', 'dask'}"
    code = f"import sys, faceindex.evaluation.thresholds; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout == "[]\n"
