"""Short forms of the trials of what becomes of corrections; `python -m benchmarks.corrections` runs the long ones."""

import json
from pathlib import Path

import numpy as np
import pytest

import faceindex
from benchmarks.corrections import nights, sequences, writes
from benchmarks.corrections.talk import Talker, exported, run
from faceindex.gallery.filters import Filters


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    return sequences.small_catalog(tmp_path / "catalog")


@pytest.mark.parametrize("seed", [1, 2])
def test_no_decision_is_lost_or_contradicted_by_clustering_or_compacting(catalog: Path, seed: int) -> None:
    said, seen = nights.talked(catalog, 30, seed)

    assert nights.clustered_again(catalog, said, seen).wrong == []
    assert nights.compacted(catalog, said).wrong == []


def test_faces_that_are_left_out_are_no_candidates_until_they_are_named(catalog: Path) -> None:
    opened = faceindex.open(str(catalog))
    table = opened.faces()
    vectors = np.frombuffer(b"".join(table["embedding"].to_pylist()), "<f2").reshape(len(table), -1)
    face, other = (face.hex() for face in table["face_id"].to_pylist()[:2])
    np.save(catalog.parent / "probe.npy", vectors[:1].astype(np.float32))

    def found() -> list[str]:
        words = ["search", "--vectors", catalog.parent / "probe.npy", "-k", 150, "--ndjson", "-c", catalog]
        document = json.loads(nights.done(*words))
        assert document["gallery_size"] == len(document["faces"][0]["candidates"])
        return [one["face_id"] for one in document["faces"][0]["candidates"]]

    def size(filters: Filters) -> int:
        return opened.scope(filters).size

    assert found()[0] == face
    nights.done("people", "ignore", face, "-c", catalog)
    nights.done("people", "not-a-face", other, "-c", catalog)
    assert {face, other} & set(found()) == set()
    assert (size(Filters()), size(Filters(path="import:*")), size(Filters(not_people=frozenset("x")))) == (148,) * 3
    nights.done("people", "name", face, "Anna", "-c", catalog)
    assert (found()[0], len(found())) == (face, 149)
    assert size(Filters(path="import:*")) == 149


def test_exports_and_searches_tell_each_correction_at_once(catalog: Path) -> None:
    nights.done("cluster", "-c", catalog)
    talker = Talker(catalog, np.random.default_rng(5))
    for _ in range(8):
        talker.say(1)
        names = talker.said.world().names()
        assert {row["face_id"]: row["person"] for row in exported(catalog) if row["person"]} == names
        for face, name in list(names.items())[:2]:
            shown = json.loads(run("people", "show", f"face:{face}", "-c", catalog, "--json").stdout)
            assert [one["person"] for one in shown["faces"]] == [name]


def test_nothing_is_lost_between_catalogs_that_take_in_what_was_said(catalog: Path, tmp_path: Path) -> None:
    [seen] = sequences.corrected(catalog, tmp_path, 1, 15)

    assert seen.wrong == []


def test_a_killed_command_has_said_what_it_acknowledged(catalog: Path, tmp_path: Path) -> None:
    faces = [row["face_id"] for row in exported(catalog)]

    written, commands = writes.ledger_killed(tmp_path, 5, 1), writes.command_killed(catalog, faces, 2, 1)

    assert written.kills == 5
    assert written.wrong() == commands.wrong() == {}
    assert commands.acknowledged > 0
