"""`faceindex demo`, as a newcomer runs it."""

from pathlib import Path

from tests.support.archives import faceindex


def test_the_demo_shows_each_command_and_finds_the_two_people_and_not_the_stranger(tmp_path: Path) -> None:
    first = faceindex("demo", tmp_path / "demo")
    again = faceindex("demo", tmp_path / "demo")

    assert first.returncode == again.returncode == 0, first.stderr
    commands = [line.split()[2] for line in first.stdout.splitlines() if line.startswith("$ faceindex ")]
    assert commands == ["index", "search", "search", "search", "search", "verify", "cluster", "status"]
    decisions = [
        line.split(": ")[1].split(";")[0] for line in first.stdout.splitlines() if line.startswith("face 0 at")
    ]
    assert decisions == ["identified", "identified", "not recognised"]
    assert (tmp_path / "demo" / "who.html").stat().st_mode & 0o077 == 0


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")

    run = faceindex("demo", tmp_path)

    assert run.returncode == 2
    assert "precious.txt" in run.stderr
    assert (tmp_path / "precious.txt").read_text() == "mine"
