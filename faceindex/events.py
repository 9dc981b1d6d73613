"""What happens in a run, told through standard logging: a name and fields for programs, a sentence for people.

Nobody hears it unless somebody listens: `recorded` writes it to a file as JSON, one event a line.
"""

import json
import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from faceindex.errors import ConfigError
from faceindex.wording import visible

LOG = logging.getLogger("faceindex")
LOG.addHandler(logging.NullHandler())  # else Python prints warnings where no program has set up logging

STDERR = "-"

FORWARDED = "worker"
"""Attribute of a record that came from a worker: its address. Dask sets it."""


def tell(event: str, message: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Log an event.

    Args:
        event: its name.
        message: one line for people, without the line's end.
        level: of `logging`.
        fields: what JSON can hold; never embeddings or pixels.
    """
    LOG.log(level, "%s", message, extra={"event": event, "fields": fields})


class JsonLines(logging.Formatter):
    """One JSON object a record: time (UTC), level, event, run, message, and the fields of the event."""

    def __init__(self, run: str) -> None:
        super().__init__()
        self._run = run

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "message"),
            "run": self._run,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if hasattr(record, FORWARDED):
            line["worker"] = str(getattr(record, FORWARDED))
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        # Escaped, so that no name of a file can end a line or is cut by a reader that takes other line ends for one.
        return json.dumps(line)


@contextmanager
def recorded(path: str | None, run: str) -> Generator[None]:
    """Write the events of the `with` block as JSON lines.

    Args:
        path: file that is appended to; STDERR for stderr, None for none.
        run: name of the run, which stands in every line.

    Raises:
        ConfigError: the file cannot be written.
    """
    if path is None:
        yield
        return
    try:
        stream = sys.stderr if path == STDERR else open(path, "a", encoding="utf-8", opener=_private)  # noqa: SIM115
    except OSError as error:
        raise ConfigError(f"cannot write the log {visible(path)}: {error.strerror}; give another --log-file") from error
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines(run))
    before = LOG.level
    LOG.setLevel(logging.INFO)
    LOG.addHandler(handler)
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(before)
        if path != STDERR:
            stream.close()


def _private(path: str, flags: int) -> int:
    """Open a file; a new one is for its owner alone, because it names photos."""
    return os.open(path, flags, 0o600)
