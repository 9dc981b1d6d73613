"""The examples in docstrings and README run, on the demo's archive."""

import doctest
import os
import re
import shutil
from importlib import import_module
from pathlib import Path

import pytest

from faceindex.demo import build_archive
from faceindex.pipeline.run import IndexOptions, index_photos
from tests.support.archives import ROOT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `faceindex demo` was run."""
    folder = tmp_path_factory.mktemp("examples")
    archive = build_archive(folder / "faceindex-demo")
    index_photos(str(folder / "faceindex-demo" / "catalog"), [str(archive.photos)], IndexOptions(workers=0))
    return folder


@pytest.mark.parametrize("module", ["faceindex", "faceindex.query", "faceindex.catalog.catalog"])
def test_docstring_examples_run(module: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)

    result = doctest.testmod(import_module(module))

    assert result.attempted > 0
    assert result.failed == 0


def test_the_notebook_example_of_readme_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    shutil.copytree("faceindex-demo/catalog", "faceindex-catalog")
    shutil.copy("faceindex-demo/queries/hopper.jpg", "face.jpg")
    [example] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)

    exec(compile(example, "README.md", "exec"), {})

    assert capsys.readouterr().out.startswith("identified ")


def test_readme_has_the_two_commands_ci_and_newcomers_run() -> None:
    commands = re.findall(r"^python3 -m venv .*$", (ROOT / "README.md").read_text(), re.MULTILINE)

    assert [command.rsplit("/", 1)[-1] for command in commands] == ["faceindex demo", "pytest"]
    assert "README.md" in (ROOT / ".ci" / "run").read_text()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
