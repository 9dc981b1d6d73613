"""`faceindex check --deep` and `faceindex compact` as a user runs them."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from faceindex.catalog.catalog import Catalog
from tests.support.nights import grown

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "schemas" / "compact.v1.json").read_text())


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "faceindex.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return grown(tmp_path / "catalog", "IVF4,PQ4x4fs", [1200, 100, 30])


def test_compact_merges_once_and_check_finds_everything_in_its_place(catalog: Catalog) -> None:
    merged, again = (run("compact", "-c", catalog.root, "--json") for _ in range(2))
    deep = run("check", "--deep", "-c", catalog.root)

    documents = [json.loads(ended.stdout) for ended in (merged, again)]
    for document in documents:
        jsonschema.validate(document, SCHEMA)
    assert (merged.returncode, again.returncode, deep.returncode) == (0, 0, 0)
    assert documents[0]["batches"] == {"before": 3, "after": 1}
    assert documents[0]["shards"]["after"] == 1
    assert documents[1]["generation"] == documents[0]["generation"] == 4
    assert run("compact", "-c", catalog.root).stdout == "nothing to merge or drop\n"
    assert "the index holds each face once, as it is stored" in deep.stdout


def test_an_index_that_does_not_fit_is_found_and_rebuilt(catalog: Catalog) -> None:
    """The manifest of a generation names one shard less than its faces need; every byte is as it was written."""
    from dataclasses import replace

    from faceindex.catalog import generations

    served = catalog.current()
    assert served is not None
    assert len(served.shards) > 1
    broken = replace(served, number=served.number + 1, previous=served.number, shards=served.shards[:1])
    generations.publish(catalog.files, broken)

    shallow, deep = run("check", "-c", catalog.root), run("check", "--deep", "-c", catalog.root)
    rebuilt = run("compact", "--rebuild", "-c", catalog.root)

    assert (shallow.returncode, deep.returncode, rebuilt.returncode) == (0, 5, 0)
    assert "run `faceindex compact --rebuild`" in " ".join(deep.stdout.split())
    assert run("check", "--deep", "-c", catalog.root).returncode == 0


def test_compact_waits_for_no_other_writer(catalog: Catalog) -> None:
    with catalog.lock("a test"):
        ended = run("compact", "-c", catalog.root)

    assert ended.returncode == 75
    assert ended.stderr.count("\n") == 1


def test_compact_needs_a_catalog(tmp_path: Path) -> None:
    ended = run("compact", "-c", str(tmp_path / "none"))

    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
