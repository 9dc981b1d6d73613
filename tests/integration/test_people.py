"""Naming people as a user does, from photos to searches that answer with names."""

import csv
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import faceindex
from faceindex.cli.main import cli
from faceindex.pipeline.run import IndexOptions, index_photos
from faceindex.tables import from_float16_column
from tests.support.archives import ROOT, make_archive

HERE = IndexOptions(workers=0)
EVEN, ODD = [f"{number:02}.jpg" for number in range(0, 6, 2)], [f"{number:02}.jpg" for number in range(1, 6, 2)]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)


def answer(name: str, *arguments: object) -> Any:
    done = run("people", *arguments, "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, json.loads((ROOT / "schemas" / f"{name}.v1.json").read_text()))
    return document


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make_archive(tmp_path / "photos", 6)


@pytest.fixture
def catalog(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    index_photos(str(tmp_path / "catalog"), [str(archive)], HERE)
    monkeypatch.setenv("FACEINDEX_CATALOG", str(tmp_path / "catalog"))
    return tmp_path / "catalog"


def names(catalog: Path) -> dict[str, int]:
    return {row["person"]: row["faces"] for row in answer("people", "list")["people"]}


def test_people_are_named_corrected_and_found_by_name(archive: Path, catalog: Path, tmp_path: Path) -> None:
    opened = faceindex.open(str(catalog))
    answer("event", "name", *EVEN, "Eileen")
    answer("event", "name", *ODD, "Grace <b>Hopper</b>")

    seen = opened.search(archive / "00.jpg", k=6).faces[0]
    assert (seen.person, [one.person for one in seen.candidates[:3]]) == ("Eileen", ["Eileen"] * 3)
    answer("event", "rename", "Grace <b>Hopper</b>", "Grace")
    answer("event", "reject", "Eileen", "04.jpg")
    answer("event", "split", "Grace", "05.jpg", "--to", "Double")
    answer("event", "not-a-face", "03.jpg")
    assert names(catalog) == {"Eileen": 2, "Double": 1, "Grace": 1}
    assert opened.search(archive / "05.jpg", k=1).faces[0].person == "Double"
    answer("event", "merge", "Double", "Grace")
    assert run("people", "undo").stdout == "undone: Double merged into Grace\n"
    assert run("people", "redo").stdout == "done again: Double merged into Grace\n"
    assert names(catalog) == {"Eileen": 2, "Grace": 2}
    assert json.loads(run("status", "--json").stdout)["people"] == 2
    found = json.loads(run("search", archive / "01.jpg", "--with", "Eileen", "--json").stdout)
    assert {one["photo"] for one in found["faces"][0]["candidates"]} == {str(archive / name) for name in EVEN[:2]}
    assert len(run("people", "history").stdout.splitlines()) == 9


def test_names_survive_moves_new_runs_and_compaction(archive: Path, catalog: Path, tmp_path: Path) -> None:
    answer("event", "name", *EVEN, "Eileen")
    archive.rename(tmp_path / "moved")

    index_photos(str(catalog), [str(tmp_path / "moved")], HERE)
    run("compact")

    assert names(catalog) == {"Eileen": 3}
    assert faceindex.open(str(catalog)).search(tmp_path / "moved" / "02.jpg").faces[0].person == "Eileen"
    assert (catalog / "ledger.sqlite-backups" / "000002.sqlite").stat().st_mode & 0o077 == 0
    assert run("check").exit_code == 0


def test_names_go_to_another_catalog_whose_detector_places_faces_otherwise(
    archive: Path, catalog: Path, tmp_path: Path
) -> None:
    answer("event", "name", *EVEN, "Eileen")
    run("people", "export", tmp_path / "names.jsonl")
    lines = (tmp_path / "names.jsonl").read_text().splitlines()
    moved = json.loads(lines[0])
    for face in moved["faces"]:
        face["face_id"] = face["face_id"][::-1]
        face["box"] = [edge + 3 for edge in face["box"]]
    (tmp_path / "names.jsonl").write_text(json.dumps(moved) + "\n")
    index_photos(str(tmp_path / "other"), [str(archive)], HERE)

    taken = answer("people_import", "import", tmp_path / "names.jsonl", "-c", tmp_path / "other")

    assert taken == {"schema": "faceindex.people_import/1", "new": 1, "events": 1}
    assert [row["faces"] for row in answer("people", "list", "-c", tmp_path / "other")["people"]] == [3]
    assert (tmp_path / "names.jsonl").stat().st_mode & 0o077 == 0


def test_a_contact_sheet_shows_the_faces_of_a_person(catalog: Path, tmp_path: Path) -> None:
    answer("event", "name", *EVEN, "Eileen")

    shown = answer("person", "show", "Eileen", "--sheet", tmp_path / "eileen.png")

    assert [Path(face["photo"]).name for face in sorted(shown["faces"], key=lambda face: face["photo"])] == EVEN
    with Image.open(tmp_path / "eileen.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB"), float)
    assert pixels[40:168, 12:140].std() > 30, "a face was expected in the first place"
    assert (tmp_path / "eileen.png").stat().st_mode & 0o077 == 0
    refused = run("people", "show", "Eileen", "--sheet", tmp_path / "eileen.gif")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)


def test_faces_are_exported_with_their_people_in_three_formats(catalog: Path, tmp_path: Path) -> None:
    answer("event", "name", *EVEN, 'Eileen "E", née Ö\'X')
    files = [tmp_path / f"faces.{kind}" for kind in ("csv", "jsonl", "parquet")]

    assert [run("export", "faces", file, "--vectors").exit_code for file in files] == [0, 0, 0]

    with files[0].open(encoding="utf-8", newline="") as file:
        from_csv = list(csv.DictReader(file))
    from_json = [json.loads(line) for line in files[1].read_text(encoding="utf-8").splitlines()]
    table = pq.read_table(files[2])
    columns = ["face_id", "photo", "box", "confidence", "quality", "captured_at", "cluster", "person", "vector"]
    assert list(from_csv[0]) == list(from_json[0]) == table.column_names == columns
    assert [row["face_id"] for row in from_csv] == [row["face_id"] for row in from_json] == table["face_id"].to_pylist()
    assert [row["person"] or None for row in from_csv] == [row["person"] for row in from_json]
    named = {Path(row["photo"]).name for row in from_json if row["person"] == 'Eileen "E", née Ö\'X'}
    assert named == set(EVEN)
    faces = faceindex.open(str(catalog)).faces()
    stored = dict(
        zip([one.hex() for one in faces["face_id"].to_pylist()], from_float16_column(faces["embedding"]), strict=True)
    )
    for row in table.to_pylist():
        np.testing.assert_allclose(row["vector"], stored[row["face_id"]], atol=1e-3)
    for row in from_csv:
        assert len(json.loads(row["box"])) == 4
    assert {file.stat().st_mode & 0o077 for file in files} == {0}
    assert run("export", "faces", tmp_path / "faces.xlsx").exit_code == 2


def test_a_damaged_ledger_is_named_with_what_to_do(archive: Path, catalog: Path) -> None:
    answer("event", "name", *EVEN, "Eileen")
    (archive / "new.jpg").write_bytes((archive / "00.jpg").read_bytes() + b" ")
    index_photos(str(catalog), [str(archive)], HERE)
    ledger = catalog / "ledger.sqlite"
    ledger.write_bytes(ledger.read_bytes().replace(b"Eileen", b"Irene!"))

    for command in (["people", "list"], ["people", "undo"], ["search", archive / "00.jpg"], ["status"]):
        done = run(*command)
        assert (done.exit_code, done.stderr.count("\n")) == (5, 1), command
        assert f"{ledger} differs from what was written" in done.stderr
        assert f"cp {catalog}/ledger.sqlite-backups/000002.sqlite {ledger}" in done.stderr

    checked = run("check")
    assert checked.exit_code == 5
    assert "ledger.sqlite" in checked.stdout


def test_mistakes_are_one_line(catalog: Path, archive: Path, tmp_path: Path) -> None:
    for arguments, code in [
        (["name", "nosuch.jpg", "Anna"], 4),
        (["name", "scene.png", "Anna"], 4),
        (["name", "00.jpg", "a\x07b"], 2),
        (["rename", "Nobody", "Anna"], 4),
        (["undo"], 4),
        (["import", archive / "text.jpg"], 2),
        (["export", tmp_path / "no" / "such" / "folder.jsonl"], 1),
    ]:
        done = run("people", *arguments)
        assert (done.exit_code, done.stderr.count("\n")) == (code, 1), (arguments, done.stderr)
    assert run("people", "export").stdout == ""
