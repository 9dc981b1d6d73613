"""A person who is erased is in no answer and in no byte of the catalog, and does not come back."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import faceindex
from benchmarks.corrections.nights import done
from benchmarks.corrections.sequences import small_catalog
from benchmarks.corrections.talk import exported, run
from faceindex.catalog import layout
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.files import LocalFiles
from faceindex.catalog.upkeep import check
from faceindex.config import Settings
from faceindex.pipeline.run import IndexOptions, index_photos
from faceindex.tables import from_float16_column
from tests.support.archives import ROOT, make_archive
from tests.support.imports import INDEXED, make_imported

HERE = IndexOptions(workers=0)
NAME = "Eileen Marie Collins-Ö"


def erased(*words: object) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(done("erase", *words, "--json"))
    jsonschema.validate(document, json.loads((ROOT / "schemas" / "erase.v1.json").read_text()))
    return document


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def traces_of(root: Path, faces: list[str], *names: str) -> dict[str, bytes]:
    """Return all that tells of faces and names, by what it is."""
    table = faceindex.open(str(root)).faces()
    found: dict[str, bytes] = {}
    vectors = from_float16_column(table["embedding"])
    for face, half in zip(table["face_id"].to_pylist(), vectors, strict=True):
        if face.hex() in faces:
            single = half.astype(np.float32)
            found |= {f"{face.hex()} id": face, f"{face.hex()} hex": face.hex().encode()}
            found |= {f"{face.hex()} float16": half.tobytes(), f"{face.hex()} float32": single.tobytes()}
            found[f"{face.hex()} unit"] = (single / np.linalg.norm(single)).astype(np.float32).tobytes()
    for name in names:
        found |= {name: name.encode(), f"{name} escaped": json.dumps(name).strip('"').encode()}
    return found


def hits(root: Path, traces: dict[str, bytes]) -> list[str]:
    return [f"{what} in {path}" for path, data in content(root).items() for what, one in traces.items() if one in data]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_archive(tmp_path / "photos", 8)


@pytest.fixture
def catalog(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalog after several nights: two people with names, corrections, clusters, a photo that went, a thumbnail."""
    root = tmp_path / "catalog"
    Catalog.create(str(root), replace(Settings(), batch_photos=4))
    monkeypatch.setenv("FACEINDEX_CATALOG", str(root))
    index_photos(str(root), [str(photos)], HERE)
    done("people", "name", *(f"0{number}.jpg" for number in (0, 2, 4, 6)), "Ellie Before-Wedding")
    done("people", "name", *(f"0{number}.jpg" for number in (1, 3, 5)), "Grace Hopper")
    done("people", "reject", "Ellie Before-Wedding", "07.jpg")
    done("people", "rename", "Ellie Before-Wedding", NAME)
    done("people", "reject", NAME, "05.jpg")
    done("people", "name", "07.jpg", "Grace Hopper")
    done("cluster")
    (photos / "06.jpg").unlink()
    index_photos(str(root), [str(photos)], HERE)
    return root


def test_nothing_of_an_erased_person_is_left_in_any_byte(photos: Path, catalog: Path) -> None:
    mine = [row["face_id"] for row in exported(catalog) if row["person"] == NAME]
    gone = json.loads(run("people", "export").stdout.splitlines()[0])["faces"]
    before = content(catalog)
    traces = traces_of(catalog, [*mine, *(face["face_id"] for face in gone)], NAME, "Ellie Before-Wedding")
    pictures = b"".join(data for path, data in before.items() if path.endswith("report.html"))
    assert b"data:image/jpeg" in pictures
    assert len(hits(catalog, traces)) > len(traces)

    planned = erased(NAME, "--dry-run")
    assert content(catalog) == before
    assert (planned["faces"], planned["photos"], planned["proof"]) == (4, 4, None)
    document = erased(NAME)

    assert hits(catalog, traces) == []
    assert (document["faces"], document["events"], document["in_paths"]) == (4, 4, 0)
    assert document["proof"] == {"files": len(content(catalog)) - 1, "bytes": document["proof"]["bytes"], "hits": 0}
    assert not any(b"data:image" in data for path, data in content(catalog).items() if path.endswith("report.html"))
    assert json.loads(done("check", "--deep", "--json"))["problems"] == []
    assert not (catalog / layout.ERASING).exists()


def test_others_stay_as_they_were_and_the_person_does_not_come_back(photos: Path, catalog: Path) -> None:
    others = {row["face_id"]: row["person"] for row in exported(catalog) if row["person"] != NAME}
    picture = (photos / "02.jpg").read_bytes()

    erased(NAME)

    assert {row["face_id"]: row["person"] for row in exported(catalog)} == others
    assert run("erase", NAME).exit_code == 4
    opened = faceindex.open(str(catalog))
    [face] = opened.search(photos / "02.jpg", k=10).faces
    assert {one.person for one in face.candidates} <= {"Grace Hopper", None}
    assert str(photos / "02.jpg") not in {one.photo for one in face.candidates}
    assert run("people", "undo").exit_code == 0  # the last word was about Grace
    assert run("people", "redo").exit_code == 0
    # Photos that were erased from, one touched, one forgotten and found again, one under a new name.
    Catalog.open(str(catalog)).with_settings(replace(Catalog.open(str(catalog)).settings, removal_grace_days=0))
    (photos / "02.jpg").unlink()
    (photos / "00.jpg").touch()
    index_photos(str(catalog), [str(photos)], HERE)
    done("compact")
    (photos / "02.jpg").write_bytes(picture)
    (photos / "copy.jpg").write_bytes(picture)
    index_photos(str(catalog), [str(photos)], replace(HERE, retry_failed=True))
    assert {row["face_id"]: row["person"] for row in exported(catalog)} == others
    states = json.loads(done("status", "--json"))["photos"]
    assert states["no_face"] == 5  # four of the person, and the scene


def test_an_old_export_brings_nothing_back(catalog: Path, tmp_path: Path) -> None:
    done("people", "export", tmp_path / "said.jsonl")
    erased(NAME)

    done("people", "import", tmp_path / "said.jsonl")

    assert [row["person"] for row in json.loads(done("people", "list", "--json"))["people"]] == ["Grace Hopper"]


def test_an_imported_person_goes_from_shards_of_an_index_and_from_the_rows_that_named_him(tmp_path: Path) -> None:
    root = tmp_path / "catalog"
    make_imported(root, INDEXED)
    before = exported(root)
    mine = [row["face_id"] for row in before if row["person"] == "person 7"]
    traces = traces_of(root, mine, "person 7")
    assert len(Catalog.open(str(root)).current().shards) > 1  # type: ignore[union-attr]

    erased("person 7", "-c", root)

    assert len(mine) > 1
    assert {row["face_id"] for row in exported(root)} == {row["face_id"] for row in before} - set(mine)
    del traces["person 7"], traces["person 7 escaped"]  # which begins other people's names
    assert hits(root, traces) == []
    done("check", "--deep", "-c", root)
    people = {row["person"] for row in json.loads(done("people", "list", "-c", root, "--json"))["people"]}
    assert people == {row["person"] for row in before} - {"person 7", None}


class Killed(BaseException):
    """As if the process had ended there."""


@pytest.fixture
def named(tmp_path: Path) -> Path:
    root = small_catalog(tmp_path / "base")
    done("cluster", "-c", root)
    faces = [row["face_id"] for row in exported(root)]
    done("people", "name", *faces[:5], NAME, "-c", root)
    done("people", "name", *faces[5:8], "Grace Hopper", "-c", root)
    done("cluster", "-c", root)
    return root


def changes(monkeypatch: pytest.MonkeyPatch, until: int) -> Iterator[int]:
    """Let the process end at the so-many-th change of a file; yields how many there were."""
    count = [0]
    with monkeypatch.context() as patch:
        for name in ("write", "delete"):
            whole = getattr(LocalFiles, name)

            def change(self: LocalFiles, *words: Any, whole: Any = whole) -> Any:
                count[0] += 1
                if count[0] == until:
                    raise Killed
                return whole(self, *words)

            patch.setattr(LocalFiles, name, change)
        yield count[0]
    yield count[0]


def test_an_erasure_killed_at_any_change_is_finished_by_the_same_command(
    named: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = [row["face_id"] for row in exported(named) if row["person"] == NAME]
    traces = traces_of(named, mine, NAME)
    until = 0
    killed = True
    while killed:
        until += 1
        root = tmp_path / f"killed {until}"
        shutil.copytree(named, root)
        trial = changes(monkeypatch, until)
        next(trial)
        try:
            run("erase", NAME, "-c", root)
            killed = False
        except Killed:
            pass
        next(trial)
        assert [problem for problem in check(LocalFiles(root)) if problem.damaged] == []
        if killed and until > 1:
            assert erased(NAME, "-c", root)["faces"] == 5
        elif killed:
            erased(NAME, "-c", root)
        assert hits(root, traces) == []
        assert len(exported(root)) == 145
        shutil.rmtree(root)
    assert until > 20


def test_a_run_that_was_stopped_is_finished_first(photos: Path, catalog: Path) -> None:
    plan = next((catalog / "runs").glob("*/plan.parquet"))
    (catalog / "runs" / "20200101T000000Z-0000").mkdir()
    shutil.copy(plan, catalog / "runs" / "20200101T000000Z-0000" / "plan.parquet")

    refused = run("erase", NAME)

    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert "finish it with the same `faceindex index`" in refused.stderr
