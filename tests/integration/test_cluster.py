"""Unknown faces in groups, as a user makes, names and corrects them; what people said outlives every clustering."""

import csv
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

import faceindex
from faceindex.cli.main import cli
from faceindex.identities.opening import clusters_of, open_people
from tests.support.archives import ROOT

PEOPLE, FACES = 30, 5


def run(*arguments: object) -> Result:
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done


def faces_of(people: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
    """Return a face of each of these people, as alike as photos of one person are for the default model."""
    generator = np.random.default_rng(7)
    centres = generator.standard_normal((200, 128)) * 0.95 ** np.arange(128)
    centres[:, 0] += 7.0
    vectors = centres[people] + 0.1 * np.random.default_rng(seed).standard_normal((len(people), 128))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def imported(folder: Path, people: NDArray[np.int64], seed: int) -> Path:
    ids = [f"{person:03d}-{seed}-{number}" for number, person in enumerate(people.tolist())]
    np.savez(folder / f"{seed}.npz", vectors=faces_of(people, seed), ids=np.array(ids))
    run("import", folder / f"{seed}.npz", "-c", folder / "catalog", "--model", "dlib-resnet29")
    return folder / "catalog"


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """A catalog of 30 people with five faces each, not yet clustered."""
    return imported(tmp_path, np.repeat(np.arange(PEOPLE), FACES), seed=1)


def clustered(catalog: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run("cluster", "-c", catalog, "--json").stdout)
    jsonschema.validate(document, json.loads((ROOT / "schemas" / "cluster.v1.json").read_text()))
    return document


def clusters(catalog: Path) -> dict[int, set[str]]:
    """Return the ids that the faces of each cluster were imported by."""
    opened, generation, people_of = open_people(str(catalog))
    people = people_of.now()
    photo_of = dict(
        zip(
            faceindex.open(str(catalog)).faces()["face_id"].to_pylist(),
            faceindex.open(str(catalog)).faces()["photo"].to_pylist(),
            strict=True,
        )
    )
    return {
        number: {photo_of[bytes(face)].removeprefix("import:") for face in people.rows.ids(np.array(places))}
        for number, places in clusters_of(opened, generation, people).items()
    }


def person_in(ids: set[str]) -> set[str]:
    return {one.split("-")[0] for one in ids}


def test_faces_of_one_person_are_one_cluster(catalog: Path) -> None:
    document = clustered(catalog)

    found = clusters(catalog)

    assert (document["clusters"], document["faces"], document["unclustered"]) == (PEOPLE, PEOPLE * FACES, 0)
    assert sorted(found) == list(range(1, PEOPLE + 1))
    assert all(len(ids) == FACES and len(person_in(ids)) == 1 for ids in found.values())
    assert json.loads(run("status", "-c", catalog, "--json").stdout)["clusters"] == PEOPLE
    assert "30 clusters without a name" in run("cluster", "-c", catalog).stdout


def test_clustering_again_changes_nothing(catalog: Path) -> None:
    first, before = clustered(catalog), clusters(catalog)
    assert clustered(catalog)["generation"] == first["generation"]
    assert clusters(catalog) == before


def test_a_cluster_that_was_named_answers_searches_and_keeps_its_name(catalog: Path, tmp_path: Path) -> None:
    clustered(catalog)
    [anna] = person_in(clusters(catalog)[3])
    run("people", "name", "3", "Anna", "-c", catalog)
    probes = tmp_path / "probe.npy"
    np.save(probes, faces_of(np.array([int(anna)]), seed=9))

    answer = json.loads(run("search", "--vectors", probes, "-c", catalog, "--json").stdout)
    again = clustered(catalog)

    assert answer["faces"][0]["person"] == "Anna"
    assert again["clusters"] == PEOPLE
    assert person_in(clusters(catalog)[3]) == {anna}
    assert "29 clusters without a name" in run("cluster", "-c", catalog).stdout
    run("export", "faces", tmp_path / "faces.csv", "-c", catalog)
    with (tmp_path / "faces.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["person"] == "Anna"]
    assert [row["cluster"] for row in rows] == ["3"] * FACES


def test_new_faces_join_and_clusters_keep_their_numbers(catalog: Path, tmp_path: Path) -> None:
    clustered(catalog)
    before = {number: person_in(ids) for number, ids in clusters(catalog).items()}

    imported(tmp_path, np.concatenate([np.arange(0, PEOPLE, 2), np.repeat([100, 101], 3)]), seed=2)
    document = clustered(catalog)

    after = clusters(catalog)
    assert document["clusters"] == PEOPLE + 2
    assert {number: person_in(ids) for number, ids in after.items() if number in before} == before
    assert {frozenset(person_in(after[number])) for number in (PEOPLE + 1, PEOPLE + 2)} == {
        frozenset({"100"}),
        frozenset({"101"}),
    }


def test_few_new_faces_are_put_in_their_places_and_many_have_all_clustered(catalog: Path, tmp_path: Path) -> None:
    assert clustered(catalog)["inserted"] is None
    imported(tmp_path, np.arange(PEOPLE // 2), seed=2)
    few = clustered(catalog)
    placed = clusters(catalog)
    assert (few["inserted"], few["clusters"], few["unclustered"]) == (PEOPLE // 2, PEOPLE, 0)
    assert clustered(catalog)["inserted"] == 0
    assert clusters(catalog) == placed

    assert json.loads(run("cluster", "-c", catalog, "--afresh", "--json").stdout)["inserted"] is None
    assert clusters(catalog) == placed, "placed as clustering afresh places them, and numbered as before"
    imported(tmp_path, np.arange(PEOPLE), seed=3)
    assert clustered(catalog)["inserted"] == PEOPLE
    imported(tmp_path, np.arange(PEOPLE), seed=4)
    assert clustered(catalog)["inserted"] is None, "a fifth of all faces have joined since"
    assert "30 new faces" not in run("cluster", "-c", catalog).stdout


def test_questions_about_new_faces_are_those_asked_after_clustering_afresh(catalog: Path, tmp_path: Path) -> None:
    clustered(catalog)
    imported(tmp_path, np.concatenate([np.arange(10), np.arange(100, 110)]), seed=2)
    assert clustered(catalog)["inserted"] == 20
    placed = json.loads(run("people", "suggest", "-c", catalog, "--json").stdout)["questions"]
    run("cluster", "-c", catalog, "--afresh")
    assert json.loads(run("people", "suggest", "-c", catalog, "--json").stdout)["questions"] == placed


def test_corrections_are_obeyed_where_new_faces_join_too(catalog: Path, tmp_path: Path) -> None:
    clustered(catalog)
    found = clusters(catalog)
    [anna], [other] = person_in(found[1]), person_in(found[2])
    run("people", "name", "1", "Anna", "-c", catalog)
    opened, generation, people_of = open_people(str(catalog))
    people = people_of.now()
    places = clusters_of(opened, generation, people)
    rejected, moved = (bytes(people.rows.ids(np.array(places[number][:1]))[0]).hex() for number in (1, 2))
    run("people", "reject", "Anna", rejected, "-c", catalog)
    run("people", "name", moved, "Anna", "-c", catalog)  # as wrong as can be, and obeyed

    imported(tmp_path, np.array([int(anna)] * 2 + [int(other)] * 2), seed=2)
    assert clustered(catalog)["inserted"] == 4

    opened, generation, people_of = open_people(str(catalog))
    people = people_of.now()
    after = clusters_of(opened, generation, people)
    [named] = {number for number, faces in after.items() if any(people.names.get(face) == "Anna" for face in faces)}
    inside = {bytes(face).hex() for face in people.rows.ids(np.array(after[named]))}
    assert (named, len(inside)) == (1, FACES + 2), "four faces of Anna's, one that was given to her and the new ones"
    assert moved in inside
    assert rejected not in inside
    assert len(after[2]) == FACES - 1 + 2


def test_corrections_are_obeyed_and_outlive_every_clustering(catalog: Path, tmp_path: Path) -> None:
    clustered(catalog)
    opened, generation, people_of = open_people(str(catalog))
    now = people_of.now()
    found = clusters_of(opened, generation, now)
    faces = {number: [bytes(one).hex() for one in now.rows.ids(np.array(places))] for number, places in found.items()}
    run("people", "name", "1", "Anna", "-c", catalog)
    run("people", "name", "2", "Bert", "-c", catalog)
    run("people", "reject", "Anna", faces[1][0], "-c", catalog)
    run("people", "name", faces[3][0], "Anna", "-c", catalog)  # as wrong as can be, and obeyed
    run("people", "ignore", faces[4][0], "-c", catalog)

    imported(tmp_path, np.repeat(np.arange(60, 80), 4), seed=3)
    clustered(catalog)

    opened, generation, people_of = open_people(str(catalog))
    now = people_of.now()
    cluster_of = {
        bytes(face).hex(): number
        for number, places in clusters_of(opened, generation, now).items()
        for face in now.rows.ids(np.array(places))
    }
    anna = cluster_of[faces[1][1]]
    assert {cluster_of[face] for face in faces[1][1:]} == {anna}
    assert cluster_of.get(faces[1][0]) != anna
    assert cluster_of[faces[3][0]] == anna
    assert {cluster_of[face] for face in faces[2]} == {2}
    assert anna != 2
    assert faces[4][0] not in cluster_of


def test_a_catalog_without_faces_is_not_clustered(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    CliRunner().invoke(cli, ["index", str(tmp_path / "photos"), "-c", str(tmp_path / "catalog")])
    done = CliRunner().invoke(cli, ["cluster", "-c", str(tmp_path / "catalog")])
    assert done.exit_code != 0
    assert "faceindex index" in done.stderr


def test_a_damaged_file_of_clusters_is_named(catalog: Path) -> None:
    clustered(catalog)
    [file] = catalog.glob("generations/*.clusters.arrow")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    done = CliRunner().invoke(cli, ["cluster", "-c", str(catalog)])
    assert done.exit_code == 5
    assert file.name in done.stderr


def test_questions_about_faces_are_answered_once_and_at_once(tmp_path: Path, catalog: Path) -> None:
    clustered(catalog)
    first = min(clusters(catalog))
    run("people", "name", first, "Anna", "-c", catalog)
    apart = sorted(clusters(catalog))[1:3]
    run("people", "merge", f"cluster:{apart[0]}", f"cluster:{apart[1]}", "-c", catalog)

    assert len(clusters(catalog)) == PEOPLE - 1, "said a moment ago, and not clustered since"
    imported(tmp_path, np.arange(PEOPLE), seed=2)
    clustered(catalog)
    asked = json.loads(run("people", "suggest", "-c", catalog, "--json").stdout)
    jsonschema.validate(asked, json.loads((ROOT / "schemas" / "suggestions.v1.json").read_text()))
    [about_anna] = [one for one in asked["suggestions"] if one["person"] == "Anna"]
    run("people", "suggest", "--yes", about_anna["question"], "-c", catalog)

    people = json.loads(run("people", "list", "-c", catalog, "--json").stdout)["people"]
    assert [(one["person"], one["faces"]) for one in people] == [("Anna", FACES + 1)]
    after = json.loads(run("people", "suggest", "-c", catalog, "--json").stdout)
    assert about_anna["question"] not in [one["question"] for one in after["suggestions"]]
    again = CliRunner().invoke(cli, ["people", "suggest", "--yes", about_anna["question"], "-c", str(catalog)])
    assert again.exit_code == 4
    assert "is open" in again.stderr


def test_nothing_is_asked_before_the_faces_were_clustered(catalog: Path) -> None:
    done = CliRunner().invoke(cli, ["people", "suggest", "-c", str(catalog)])

    assert done.exit_code == 2
    assert "run `faceindex cluster`" in done.stderr
