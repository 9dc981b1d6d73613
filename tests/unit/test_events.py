"""Events as lines of a log: whatever happens and whatever it names, a line is one JSON object."""

import json
import logging
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from faceindex.errors import ConfigError
from faceindex.events import LOG, recorded, tell

RUN = "20260101T030000Z-abcd"


def test_a_line_is_one_object_with_time_level_event_and_run_whatever_a_file_is_called(tmp_path: Path) -> None:
    name = 'new\nline "quoted" \udce9 \u2028 \x1b[31m'
    with recorded(str(tmp_path / "log"), RUN):
        tell("photo_quarantined", name, level=logging.WARNING, photo=name)

    [line] = (tmp_path / "log").read_text().splitlines()
    found = json.loads(line)
    assert {key: found[key] for key in ("level", "event", "run", "message", "photo")} == {
        "level": "warning",
        "event": "photo_quarantined",
        "run": RUN,
        "message": name,
        "photo": name,
    }
    at = datetime.fromisoformat(found["time"])
    assert at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=10)


def test_records_of_other_modules_and_their_traces_are_lines_too(tmp_path: Path) -> None:
    with recorded(str(tmp_path / "log"), RUN):
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logging.getLogger("faceindex.faces").exception("could not %s", "compile")

    [line] = (tmp_path / "log").read_text().splitlines()
    found = json.loads(line)
    assert (found["event"], found["level"], found["message"]) == ("message", "error", "could not compile")
    assert "ValueError" in found["trace"]


def test_a_log_is_appended_to_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    for _ in range(2):
        with recorded(str(tmp_path / "log"), RUN):
            tell("run_started", "again")

    assert len((tmp_path / "log").read_text().splitlines()) == 2
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600


def test_nothing_is_written_and_nothing_stays_behind_where_no_log_was_asked_for(
    capfd: pytest.CaptureFixture[str],
) -> None:
    level, handlers = LOG.level, list(LOG.handlers)
    with recorded(None, RUN):
        tell("worker_lost", "told to nobody", level=logging.WARNING)

    assert capfd.readouterr() == ("", "")
    assert (LOG.level, LOG.handlers) == (level, handlers)


def test_a_log_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot write the log .*nowhere/log: No such file or directory"):
        recorded(str(tmp_path / "nowhere" / "log"), RUN).__enter__()
