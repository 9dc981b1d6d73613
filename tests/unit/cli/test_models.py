import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from faceindex.cli.main import cli
from faceindex.faces.models import MODELS
from tests.support.downloads import Server, serving


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("FACEINDEX_CACHE", str(folder))
    return folder


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server with weights of facenet-casia, which the table points to."""
    with serving() as running:
        path = tmp_path / "published.pt"
        torch.save({"weight": torch.arange(5.0)}, path)
        running.files["casia.pt"] = path.read_bytes()
        monkeypatch.setitem(MODELS, "facenet-casia", replace(MODELS["facenet-casia"], url=f"{running.url}/casia.pt"))
        yield running


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["models", *arguments])


def fetched(cache: Path) -> Path:
    return cache / "weights" / "facenet-casia.safetensors"


def test_list_names_every_model_with_its_licence_and_whether_it_is_here() -> None:
    result = run("list")

    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines()[1:]}
    assert list(lines) == list(MODELS)
    for name, model in MODELS.items():
        assert model.licence in lines[name]
        assert ("ready" if model.files else "missing") in lines[name]


def test_list_as_json_says_the_same() -> None:
    document = json.loads(run("list", "--json").stdout)

    assert document["schema"] == "faceindex.models/1"
    rows = {row["name"]: row for row in document["models"]}
    assert rows["dlib-resnet29"] | {"summary": ""} == {
        "name": "dlib-resnet29",
        "kind": "embedder",
        "summary": "",
        "licence": "CC0",
        "commercial_ok": "yes",
        "dimension": 128,
        "weights": "ready",
    }
    assert rows["mtcnn"]["dimension"] is None
    assert rows["facenet-vggface2"]["commercial_ok"] == "unclear"


def test_fetch_shows_the_licence_the_file_and_the_checksum_it_noted(server: Server, cache: Path) -> None:
    result = run("fetch", "facenet-casia")

    assert result.exit_code == 0
    assert MODELS["facenet-casia"].licence in result.stderr
    assert str(fetched(cache)) in result.stdout
    assert hashlib.sha256(server.files["casia.pt"]).hexdigest() in result.stdout
    assert "noted at the first download" in result.stdout
    assert run("verify", "facenet-casia").exit_code == 0


def test_fetch_of_packaged_weights_downloads_nothing() -> None:
    result = run("fetch", "dlib-resnet29")

    assert result.exit_code == 0
    assert "nothing to fetch" in result.stdout


def test_fetch_of_a_model_by_file_says_where_to_give_it() -> None:
    result = run("fetch", "omz-0095")

    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].endswith("give the ONNX file with --weights FILE")


def test_a_failed_fetch_is_one_line_and_exits_with_1(server: Server, cache: Path) -> None:
    server.files.clear()

    result = run("fetch", "facenet-casia")

    assert result.exit_code == 1
    assert "404" in result.stderr.splitlines()[-1]
    assert not fetched(cache).exists()


@pytest.mark.parametrize("command", ["fetch", "verify"])
def test_an_unknown_model_exits_with_2_and_names_the_nearest(command: str) -> None:
    result = run(command, "facenet-cassia")

    assert result.exit_code == 2
    assert "did you mean facenet-casia" in result.stderr


def test_verify_of_everything_passes_over_what_was_never_fetched() -> None:
    result = run("verify")

    assert result.exit_code == 0
    assert "dlib-resnet29: ready" in result.stdout
    assert "facenet-casia: missing; run: faceindex models fetch facenet-casia" in result.stdout
    assert "omz-0095: missing; give its file with --weights" in result.stdout


def test_verify_of_one_model_that_is_missing_exits_with_1() -> None:
    assert run("verify", "facenet-casia").exit_code == 1


def test_verify_exits_with_1_when_weights_are_damaged(server: Server, cache: Path) -> None:
    run("fetch", "facenet-casia")
    content = bytearray(fetched(cache).read_bytes())
    content[-1] ^= 1
    fetched(cache).write_bytes(content)

    everything, one = run("verify"), run("verify", "facenet-casia", "--json")

    assert (everything.exit_code, one.exit_code) == (1, 1)
    assert "facenet-casia: damaged" in everything.stdout
    assert [row["weights"] for row in json.loads(one.stdout)["models"]] == ["damaged"]
