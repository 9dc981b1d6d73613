"""Settings of jobs: the command line goes before the file, and what makes no sense is one line that names it."""

import os
import signal
from pathlib import Path

import pytest

from faceindex.errors import ConfigError, LockedError
from faceindex.pipeline.job_settings import JobSettings, job_parser, job_settings, run_job
from faceindex.pipeline.run import IndexOptions
from faceindex.pipeline.watching import Watching

FILE = """
catalog = "/data/faces"
photos = ["/photos", "s3://bucket/press"]
[index]
workers = 2
min_face_share = 1
allow_removals = true
[watching]
metrics = "night.prom"
"""


def read(tmp_path: Path, text: str, *options: str) -> JobSettings:
    (tmp_path / "night.toml").write_text(text)
    return job_settings(job_parser("", "settings").parse_args([str(tmp_path / "night.toml"), *options]))


def test_the_file_says_what_and_where(tmp_path: Path) -> None:
    assert read(tmp_path, FILE) == JobSettings(
        "/data/faces",
        ("/photos", "s3://bucket/press"),
        IndexOptions(workers=2, min_face_share=1, allow_removals=True),
        Watching(metrics="night.prom"),
    )


def test_the_command_line_goes_first_also_to_switch_off(tmp_path: Path) -> None:
    shown = ["--log-file", "-", "--metrics-port", "9101"]
    given = ["--catalog", "c", "--photos", "a", "b", "--workers", "0", "--no-allow-removals"]
    assert read(tmp_path, FILE, *given, *shown) == JobSettings(
        "c",
        ("a", "b"),
        IndexOptions(workers=0, min_face_share=1, allow_removals=False),
        Watching(metrics="night.prom", metrics_port=9101, log_file="-"),
    )


def test_the_command_line_is_enough() -> None:
    given = ["a", "b", "--catalog", "c", "--index", "exact", "--min-face-share", "0.1"]
    arguments = job_parser("", "photos").parse_args(given)
    wanted = JobSettings("c", ("a", "b"), IndexOptions(index="exact", min_face_share=0.1), Watching())
    assert job_settings(arguments, needs_photos=True) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("catalog = 'c'\nphoto = ['p']", "unknown settings: photo"),
        ("catalog = 'c'\n[index]\nwokers = 2", r"\[index\] of the settings has no 'wokers'; it knows workers,"),
        ("catalog = 'c'\n[index]\nworkers = 'two'", "workers in .* must be int, got 'two'"),
        ("catalog = 'c'\n[index]\nworkers = true", "workers in .* must be int, got True"),
        ("catalog = 'c'\n[index]\nworkers = -1", "workers must be at least 0, got -1"),
        ("catalog = 'c'\n[index]\ndry_run = true", "has no 'dry_run'"),
        ("catalog = 'c'\nindex = 'exact'", r"\[index\] of the settings must be a table"),
        ("catalog = 'c'\nphotos = '/photos'", "photos must be a list"),
        ("photos = ['p']", "no catalog to work on"),
        ("catalog = ", "not valid TOML"),
    ],
)
def test_settings_that_make_no_sense_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)


def test_a_job_of_photos_without_any_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no photos to index"):
        job_settings(job_parser("", "photos").parse_args(["--catalog", "c"]), needs_photos=True)
    with pytest.raises(ConfigError, match=r"cannot read the settings .*: No such file"):
        job_settings(job_parser("").parse_args(["--settings", str(tmp_path / "nothing.toml")]))


def test_an_error_is_one_line_and_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    def job() -> int:
        raise LockedError("it is being written")

    assert run_job("night", job) == 75
    assert capsys.readouterr() == ("", "night: it is being written\n")


def test_sigterm_ends_a_job_as_an_error_does_and_leaves_the_handler_as_it_was(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before, ended = signal.getsignal(signal.SIGTERM), []

    def job() -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            ended.append("told")
        return 0

    assert run_job("night", job) == 143
    assert ended == ["told"]
    assert capsys.readouterr().err == "night: stopped by SIGTERM; run it again\n"
    assert signal.getsignal(signal.SIGTERM) is before
