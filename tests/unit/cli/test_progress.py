"""Progress where nobody looks at a terminal: a line now and then, with what is done and how long it takes."""

import pytest

from faceindex.cli import progress
from faceindex.cli.progress import Progress


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter([0.0, 0.0, 10.0, 40.0, 45.0, 80.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    shown = Progress()

    for done, faces in ((0, 0), (100, 90), (400, 380), (450, 430), (800, 790)):
        shown("finding faces", done, 8000, faces, 2)

    out, lines = capsys.readouterr()
    assert out == ""
    assert lines.splitlines() == [
        "finding faces: 400 of 8,000, 380 faces, 2 quarantined, 10.0 photos/s, about 13 min left",
        "finding faces: 800 of 8,000, 790 faces, 2 quarantined, 10.0 photos/s, about 12 min left",
    ]


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as shown:
        shown("finding faces", 64, 64, 60)

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("seconds", "told"), [(12.4, "12 s"), (600, "10 min"), (7500, "2 h 5 min")])
def test_durations_are_told_as_people_say_them(seconds: float, told: str) -> None:
    assert progress._duration(seconds) == told
