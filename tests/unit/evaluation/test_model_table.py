import json

import numpy as np
import pytest

from faceindex.errors import ConfigError
from faceindex.evaluation.model_table import FMRS, FPIRS, GALLERY_SIZES, make_model_table
from faceindex.evaluation.scores import balanced_scores
from faceindex.types import ModelId
from tests.support.people import synthetic_people

MODEL = ModelId("demo@0123456789ab")


@pytest.fixture(scope="module")
def people():
    return synthetic_people([1, 2, 4] * 60, seed=21)


@pytest.fixture(scope="module")
def document(people):
    return make_model_table(*people, MODEL, data="synthetic people", draws=2)


def test_thresholds_rise_with_the_gallery_and_with_the_strictness_everywhere(document):
    for grid in (
        document["cosines"]["identification"],
        document["verification"],
    ):
        thresholds = np.array(grid["thresholds"])
        assert (np.diff(thresholds, axis=0) > 0).all()
        assert (np.diff(thresholds, axis=1) > 0).all()
        assert thresholds.max() < 1


def test_the_grid_reaches_from_one_face_to_ten_million(document):
    grid = document["cosines"]["identification"]
    assert (GALLERY_SIZES[0], GALLERY_SIZES[-1]) == (1, 10**7)
    assert (FPIRS[0], FPIRS[-1]) == (0.5, 1e-4)
    for column in ("thresholds", "pairs", "extrapolated"):
        assert np.array(grid[column]).shape == (len(GALLERY_SIZES), len(FPIRS))


def test_measured_cells_rest_on_ten_pairs_and_a_gallery_within_the_pool(document):
    grid = document["cosines"]["identification"]
    for size, pairs, extrapolated in zip(GALLERY_SIZES, grid["pairs"], grid["extrapolated"], strict=True):
        assert extrapolated == [size > 179 or count < 10 for count in pairs]
    assert not grid["extrapolated"][0][0]


def test_verification_thresholds_have_the_balanced_false_match_rate(people, document):
    scores = balanced_scores(*people)
    section = document["verification"]
    measured = [fmr for fmr, guess in zip(FMRS, section["extrapolated"][0], strict=True) if not guess]

    thresholds = section["thresholds"][0][: len(measured)]

    assert thresholds == pytest.approx(scores.thresholds_at(np.array(measured)).tolist(), abs=1e-6)
    assert min(measured) * scores.person_pair_count >= 10
    assert FMRS[len(measured)] * scores.person_pair_count < 10


def test_the_table_says_what_it_was_made_of(document):
    assert document["schema"] == "faceindex.thresholds/1"
    assert (document["model"], document["data"]) == (MODEL, "synthetic people")
    assert (document["people"], document["people_with_two_images"], document["images"]) == (180, 120, 420)
    assert (document["seed"], document["draws"]) == (0, 2)
    assert set(document["made_with"]) == {"faceindex", "numpy", "python"}


def test_the_same_faces_and_seed_give_the_same_document(people, document):
    again = make_model_table(*people, MODEL, data="synthetic people", draws=2)
    assert json.dumps(again) == json.dumps(document)


def test_three_people_give_no_table():
    with pytest.raises(ConfigError, match="20 labelled people, got 3"):
        make_model_table(*synthetic_people([2] * 3, seed=1), MODEL, data="three people")


def test_normalised_scores_have_a_section_of_their_own():
    people = synthetic_people([1, 2] * 200, seed=22)

    document = make_model_table(*people, MODEL, data="synthetic people", draws=1)

    section = document["normalised"]
    assert (section["k"], section["weight"]) == (10, 0.75)
    assert section["cohort"] >= 100
    thresholds = np.array(section["identification"]["thresholds"])
    assert (np.diff(thresholds, axis=0) > 0).all()
    assert (np.diff(thresholds, axis=1) > 0).all()
    assert thresholds.max() < np.array(document["cosines"]["identification"]["thresholds"]).min()


def test_one_face_each_borrows_probabilities_and_measures_the_rest(document):
    people = synthetic_people([1] * 150, seed=23)

    borrowed = make_model_table(*people, MODEL, data="one face each", draws=1, probabilities=document)

    assert borrowed["same"] == document["same"]
    assert borrowed["cosines"]["identified"] == document["cosines"]["identified"]
    assert borrowed["cosines"]["identification"] != document["cosines"]["identification"]
