"""Short forms of the trials of what becomes of corrections; `python -m benchmarks.corrections` runs the long ones."""

import json
from pathlib import Path

import numpy as np
import pytest

import faceindex
from benchmarks.corrections import nights
from benchmarks.corrections.talk import Talker, exported, run
from faceindex.gallery.filters import Filters
from tests.integration.test_cluster import faces_of


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """A catalog of 30 people with five faces each, one of whom in every photo stands beside the next."""
    people = np.repeat(np.arange(30), 5)
    ids = np.array([f"{number:03d}" for number in range(len(people))])
    np.savez(tmp_path / "faces.npz", vectors=faces_of(people, 1), ids=ids)
    nights.done("import", tmp_path / "faces.npz", "-c", tmp_path / "catalog", "--model", "dlib-resnet29")
    return tmp_path / "catalog"


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
