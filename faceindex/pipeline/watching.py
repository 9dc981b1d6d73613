"""How a run that nobody watches is watched: metrics of it and a log of its events, for programs."""

import logging
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from faceindex import __version__
from faceindex.errors import FaceIndexError
from faceindex.events import recorded, tell
from faceindex.pipeline.report import Progress, RunReport


@dataclass(frozen=True, slots=True)
class Watching:
    """What a run tells programs, and where."""

    metrics: str | None = None
    """File of Prometheus metrics, for node_exporter's textfile collector; its name ends in .prom."""
    metrics_port: int | None = None
    """Port of the loopback address on which they are shown while the run lasts."""
    log_file: str | None = None
    """File that events are appended to as JSON lines; - for stderr."""


@contextmanager
def watched(report: RunReport, watching: Watching, progress: Progress = lambda *_: None) -> Generator[Progress]:
    """Tell of a run for as long as the `with` block lasts, and of how it ended.

    Args:
        report: of the run; metrics show what it holds.
        watching: what is told, and where.
        progress: is called with what the run is given to call, which the block gets.

    Raises:
        ConfigError: a file cannot be written, or the port cannot be had.
    """
    with recorded(watching.log_file, report.name):
        tell("run_started", f"run {report.name} of {report.catalog}", catalog=report.catalog, version=__version__)
        try:
            with _measured(report, watching, progress) as shown:
                yield shown
        except BaseException as error:
            said = str(error) if isinstance(error, FaceIndexError) else repr(error)
            tell("run_ended", said, level=logging.ERROR, exit_code=exit_code_of(error), error=type(error).__name__)
            raise
        document = report.to_json()
        del document["quarantined"]  # each has had its own line
        said = f"{report.embedded:,} photos embedded, {len(report.quarantined):,} quarantined"
        tell("run_ended", said, exit_code=report.exit_code, report=document)


def exit_code_of(error: BaseException) -> int:
    """Return what a program ends with that an error has stopped."""
    if isinstance(error, FaceIndexError):
        return error.exit_code
    return 130 if isinstance(error, KeyboardInterrupt) else 1


@contextmanager
def _measured(report: RunReport, watching: Watching, progress: Progress) -> Generator[Progress]:
    """Show metrics of a run for as long as the `with` block lasts, and leave a file of how it ended."""
    if watching.metrics is None and watching.metrics_port is None:
        yield progress
        return
    from faceindex.pipeline.metrics import RunMetrics, TextFile, last_success, served

    path = Path(watching.metrics) if watching.metrics else None
    metrics = RunMetrics(report, last_success(path) if path else None)
    file = TextFile(path, metrics) if path else None

    def shown(*figures: object) -> None:
        progress(*figures)
        if file:
            file.update()

    with ExitStack() as stack:
        if watching.metrics_port:
            stack.enter_context(served(watching.metrics_port, metrics))
        if file:
            file.write()  # what cannot be written is better known now than after hours
        try:
            yield shown
        except BaseException as error:
            metrics.end(exit_code_of(error))
            if file:
                file.update(now=True)
            raise
        metrics.end(report.exit_code)
        if file:
            file.write()
