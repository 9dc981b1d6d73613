"""What the command line promises before any work is done."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

import faceindex
from faceindex.cli.main import COMMANDS, cli

HEAVY = (
    "torch",
    "torchvision",
    "faiss",
    "dask",
    "distributed",
    "pyarrow",
    "openvino",
    "facenet_pytorch",
    "PIL",
    "numpy",
)


def loaded_after(code: str) -> set[str]:
    probe = f"{code}\nimport sys\nprint(' '.join(name for name in {HEAVY} if name in sys.modules))"
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(run.stdout.split("\n")[-2].split())


def test_importing_faceindex_loads_nothing_heavy() -> None:
    assert loaded_after("import faceindex") == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = f"from faceindex.cli.main import cli\ntry:\n    cli({arguments!r})\nexcept SystemExit:\n    pass\nprint()"

    assert loaded_after(code) == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])

    assert result.exit_code == 0
    assert len(result.output.split()) > 20


def test_the_version_is_the_package_version() -> None:
    assert CliRunner().invoke(cli, ["--version"]).output == f"faceindex {faceindex.__version__}\n"


@pytest.mark.parametrize("arguments", [["no-such-command"], ["search"], ["index"], ["search", "/no/such/picture.jpg"]])
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(cli, arguments).exit_code == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--memory", "1MB"], "must be at least 64 MiB, got '1MB'"),
        (["--memory", "much"], "must be a size such as 500MB or 2GiB, got 'much'"),
        (
            ["--min-face", "5"],
            "must be whole pixels from 12 on (40) or a share of the photo's short side (4%), got '5'",
        ),
    ],
)
def test_a_value_that_cannot_be_used_is_told_with_one_that_can(options: list[str], message: str) -> None:
    result = CliRunner().invoke(cli, ["index", ".", *options], env={"COLUMNS": "200"})

    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize("command", [["status"], ["check"], ["search", __file__]])
def test_a_missing_catalog_is_one_clear_line(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    nowhere = tmp_path_factory.mktemp("nothing") / "catalog"

    result = CliRunner().invoke(cli, [*command, "-c", str(nowhere)])

    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert f"no catalog at {nowhere}" in result.stderr
    assert "faceindex index" in result.stderr


def test_the_public_names_are_few_and_documented() -> None:
    assert sorted(faceindex.__all__) == ["FaceIndexError", "__version__", "open"]
    for name in ("FaceIndexError", "open"):
        assert getattr(faceindex, name).__doc__
