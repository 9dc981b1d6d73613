"""Embeddings made elsewhere, enrolled and searched as a user does."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

import faceindex
from faceindex.catalog.catalog import Catalog
from faceindex.cli.main import cli
from faceindex.errors import NothingFoundError
from faceindex.faces.loading import embedder_id
from faceindex.gallery.audit import audit
from faceindex.gallery.filters import Filters
from faceindex.pipeline import importing
from faceindex.pipeline.importing import import_vectors
from faceindex.pipeline.run import IndexOptions, index_photos
from faceindex.vector_files import VectorFile
from tests.support.archives import ROOT, make_archive

MODEL = "dlib-resnet29"
MODEL_ID = embedder_id(MODEL, mirror=True)
UNIT = np.random.default_rng(0).normal(size=(300, 128)).astype(np.float32)
UNIT /= np.linalg.norm(UNIT, axis=1, keepdims=True)
IDS = np.array([f"face {number}" for number in range(300)])
PEOPLE = np.array([f"Ann {number // 3}" if number % 5 else "" for number in range(300)])
DATES = np.array([f"2019-{1 + number % 12:02d}-05" for number in range(300)])


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """A file that says all it can of its vectors."""
    np.savez(tmp_path / "named.npz", vectors=UNIT, ids=IDS, people=PEOPLE, dates=DATES)
    return tmp_path / "named.npz"


def test_imported_faces_are_found_with_their_ids_and_people(named: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"

    done = run("import", named, "-c", catalog, "--model", MODEL, "--json")

    document = json.loads(done.stdout)
    jsonschema.validate(document, json.loads((ROOT / "schemas" / "import.v1.json").read_text()))
    assert (document["imported"], document["unchanged"], document["renormalised"]) == (300, 0, False)
    opened = faceindex.open(str(catalog))
    for row, answer in enumerate(opened.search_vectors(VectorFile(str(named), 128), k=1, threshold=0.9)):
        [candidate] = answer.faces[0].candidates
        assert candidate.photo == f"import:{IDS[row]}"
        assert candidate.person == answer.faces[0].person == (str(PEOPLE[row]) or None)
        assert candidate.box is None
        assert candidate.similarity >= 0.999
    assert list(audit(opened.catalog.files, opened.generation)) == []
    july = opened.scope(Filters(since="2019-07", until="2019-07"))
    assert july.size == sum(date.startswith("2019-07") for date in DATES)


def test_a_search_can_be_limited_to_a_person(named: Path, tmp_path: Path) -> None:
    run("import", named, "-c", tmp_path / "catalog", "--model", MODEL)
    np.save(tmp_path / "probe.npy", UNIT[:1])
    command = (
        "search",
        "--vectors",
        tmp_path / "probe.npy",
        "-c",
        tmp_path / "catalog",
        "--threshold",
        "0.5",
        "--json",
    )

    found = run(*command, "--with", "Ann 7")
    nobody = run(*command, "--with", "Bob")

    names = [candidate["person"] for candidate in json.loads(found.stdout)["faces"][0]["candidates"]]
    assert names == ["Ann 7"] * sum(PEOPLE == "Ann 7")
    assert nobody.exit_code == 4
    assert "none of 300 faces passes the filter people Bob" in nobody.stderr


def test_the_same_file_again_changes_nothing_and_another_vector_under_an_id_replaces_it(
    named: Path, tmp_path: Path
) -> None:
    catalog = str(tmp_path / "catalog")
    first = import_vectors(catalog, str(named), MODEL)
    again = import_vectors(catalog, str(named))
    changed = UNIT.copy()
    changed[7] = -UNIT[8]
    np.savez(named, vectors=changed, ids=IDS, people=PEOPLE, dates=DATES)

    third = import_vectors(catalog, str(named))

    assert (first.imported, again.imported, third.imported) == (300, 0, 1)
    assert again.generation == first.generation
    opened = faceindex.open(catalog)
    assert opened.generation.face_count == 300
    np.save(tmp_path / "probe.npy", -UNIT[8])
    [answer] = opened.search_vectors(VectorFile(str(tmp_path / "probe.npy"), 128), k=1, threshold=0.9)
    assert answer.faces[0].candidates[0].photo == "import:face 7"


def test_files_of_every_kind_hold_the_same(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", UNIT[:20])
    pq.write_table(pa.table({"vector": list(UNIT[:20]), "id": IDS[:20], "person": PEOPLE[:20]}), tmp_path / "b.parquet")
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(UNIT[:20].astype(np.float64).ravel()), 128)
    pq.write_table(pa.table({"vectors": fixed}), tmp_path / "c.parquet")

    files = [VectorFile(str(tmp_path / name), 128) for name in ("a.npy", "b.parquet", "c.parquet")]

    for file in files:
        [rows] = file.batches()
        assert rows.start == 0
        np.testing.assert_allclose(rows.vectors, UNIT[:20], atol=1e-6)
    told = [next(file.batches()) for file in files]
    assert told[0].ids == told[2].people == [None] * 20
    assert told[1].ids == IDS[:20].tolist()
    assert told[1].people == [name or None for name in PEOPLE[:20].tolist()]


def test_faces_that_a_catalog_exports_come_into_another(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "photos")
    index_photos(str(tmp_path / "one"), [str(archive)], IndexOptions(workers=0))
    faces = faceindex.open(str(tmp_path / "one")).faces()
    pq.write_table(faces.select(["embedding"]), tmp_path / "faces.parquet")

    done = import_vectors(str(tmp_path / "two"), str(tmp_path / "faces.parquet"), MODEL)
    both = index_photos(str(tmp_path / "two"), [str(archive)], IndexOptions(workers=0))

    assert done.imported == len(faces)
    assert both.removed == 0
    assert both.faces == 2 * len(faces)
    candidates = faceindex.open(str(tmp_path / "two")).search(archive / "00.jpg", k=2).faces[0].candidates
    assert sorted(candidate.photo.startswith("import:") for candidate in candidates) == [False, True]
    assert [candidate.similarity >= 0.999 for candidate in candidates] == [True, True]


def test_killed_before_it_publishes_the_same_command_does_what_is_left(
    named: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "BATCH_ROWS", 100)
    catalog = str(tmp_path / "catalog")
    undisturbed = import_vectors(str(tmp_path / "other"), str(named), MODEL)
    written = importing._written
    calls: list[str] = []

    def dying(opened: Catalog, name: str, *rest: Any) -> Any:
        calls.append(name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return written(opened, name, *rest)

    monkeypatch.setattr(importing, "_written", dying)
    with pytest.raises(KeyboardInterrupt):
        import_vectors(catalog, str(named), MODEL)
    assert Catalog.open(catalog).current() is None

    done = import_vectors(catalog, str(named), MODEL)

    assert done.imported == undisturbed.imported == 300
    both = [Catalog.open(root).current() for root in (catalog, str(tmp_path / "other"))]
    assert both[0] is not None
    assert both[1] is not None
    assert both[0].batches == both[1].batches


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"vectors": UNIT[:3], "ids": np.array(["a", "b", "a"])}, "each id once wanted, got 'a' 2 times"),
        ({"vectors": UNIT[:3], "model": np.array("other@12")}, "holds those of other@12"),
        ({"vectors": UNIT[:3], "dates": np.array(["2019", "soon", "2018"])}, "row 1 of .* got 'soon'"),
        ({"vectors": UNIT[:3], "people": np.array(["a"])}, "3 people wanted, one for each vector"),
        ({"vectors": UNIT[:3, :64]}, r"shape \(n, 128\) wanted, got \(3, 64\)"),
        ({"vectors": np.full((2, 128), np.nan, np.float32)}, "row 0 holds NaN"),
        ({"vectors": np.zeros((2, 128), np.float32)}, "row 0 is zero"),
        ({"faces": UNIT[:2], "more": UNIT[:2]}, "an array called `vectors` is wanted"),
    ],
)
def test_what_cannot_be_enrolled_is_one_line_and_changes_nothing(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)

    ended = run("import", tmp_path / "bad.npz", "-c", tmp_path / "catalog", "--model", MODEL)

    assert ended.exit_code in (1, 2)
    assert ended.stderr.count("\n") == 1
    assert re.search(message, ended.stderr)
    assert not (tmp_path / "catalog").exists()


@pytest.mark.parametrize("model", [MODEL, MODEL_ID])
def test_a_new_catalog_is_made_for_the_model_that_the_file_names(tmp_path: Path, model: str) -> None:
    np.savez(tmp_path / "told.npz", vectors=UNIT[:3], model=model)

    assert run("import", tmp_path / "told.npz", "-c", tmp_path / "catalog").exit_code == 0

    served = Catalog.open(str(tmp_path / "catalog")).current()
    assert served
    assert served.model == MODEL_ID


def test_embeddings_of_another_model_are_never_searched(named: Path, tmp_path: Path) -> None:
    assert run("import", named, "-c", tmp_path / "catalog", "--model", MODEL).exit_code == 0
    np.savez(tmp_path / "other.npz", vectors=UNIT[:3], model=f"{MODEL}@0123456789ab")

    ended = run("search", "--vectors", tmp_path / "other.npz", "-c", tmp_path / "catalog", "--ndjson")

    assert (ended.exit_code, ended.stdout) == (1, "")
    assert f"embeddings of {MODEL_ID} wanted, {tmp_path}/other.npz holds those of" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_new_catalog_must_be_told_the_model_and_an_old_one_keeps_its_own(named: Path, tmp_path: Path) -> None:
    nameless = run("import", named, "-c", tmp_path / "catalog")
    run("import", named, "-c", tmp_path / "catalog", "--model", MODEL)
    other = run("import", named, "-c", tmp_path / "catalog", "--model", "facenet-vggface2")

    assert nameless.exit_code == 2
    assert "say with --model which model made the vectors" in nameless.stderr
    assert other.exit_code == 1
    assert f"holds embeddings of {MODEL}, facenet-vggface2 asked for" in other.stderr


def test_vectors_of_a_model_of_ones_own_are_enrolled_and_searched(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    np.savez(tmp_path / "a.npz", vectors=UNIT[:50, :96], ids=IDS[:50], model="my-arcface@v2")
    np.save(tmp_path / "b.npy", UNIT[50:60, :96])
    picture = make_archive(tmp_path / "photos", count=1) / "00.jpg"
    np.savez(tmp_path / "v3.npz", vectors=UNIT[:50, :96], model="my-arcface@v3")

    done = [
        run("import", tmp_path / "a.npz", "-c", catalog),
        run("import", tmp_path / "b.npy", "-c", catalog, "--model", "my-arcface"),
    ]
    found = run("search", "--vectors", tmp_path / "b.npy", "-c", catalog, "--threshold", "0.9", "--ndjson")

    assert [one.exit_code for one in (*done, found)] == [0, 0, 0]
    answers = [json.loads(line) for line in found.stdout.splitlines()]
    assert {answer["model"] for answer in answers} == {"my-arcface@v2"}
    assert [answer["faces"][0]["candidates"][0]["photo"][-1] for answer in answers] == [str(row) for row in range(10)]
    for refused, message in (
        (run("import", tmp_path / "v3.npz", "-c", catalog), "embeddings of my-arcface@v2 wanted"),
        (run("import", tmp_path / "b.npy", "-c", catalog, "--model", "other"), "holds embeddings of my-arcface"),
        (run("index", tmp_path, "-c", catalog), "unknown embedder 'my-arcface'"),
        (run("search", picture, "-c", catalog, "--threshold", "0.9"), "are searched with --vectors"),
        (run("search", "--vectors", tmp_path / "b.npy", "-c", catalog, "--ndjson"), "give --threshold S"),
    ):
        assert refused.exit_code in (1, 2)
        assert message in refused.stderr
        assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("model", "message"),
    [("dlib-resnet92", "did you mean dlib-resnet29"), ("my arcface", "a model is a name or name@digest")],
)
def test_a_slip_of_the_keyboard_makes_no_new_model(named: Path, tmp_path: Path, model: str, message: str) -> None:
    ended = run("import", named, "-c", tmp_path / "catalog", "--model", model)

    assert ended.exit_code == 2
    assert message in ended.stderr
    assert not (tmp_path / "catalog").exists()


def test_the_quality_of_what_nobody_saw_is_not_known(named: Path, tmp_path: Path) -> None:
    import_vectors(str(tmp_path / "catalog"), str(named), MODEL)

    opened = faceindex.open(str(tmp_path / "catalog"))

    assert np.isnan(opened.faces()["quality"].to_numpy()).all()
    assert np.isnan(opened.faces()["confidence"].to_numpy()).all()
    with pytest.raises(NothingFoundError, match="none of 300 faces passes the filter min_quality"):
        opened.scope(Filters(min_quality=0.0))
