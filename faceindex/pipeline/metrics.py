"""The figures of a run for Prometheus: a text file that node_exporter collects, or a port of this computer.

A night's job is over when somebody asks, which is what the text file is for; the port shows a run that lasts. Names
and units follow https://prometheus.io/docs/practices/naming/.
"""

import logging
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server, write_to_textfile
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_fd_to_metric_families
from prometheus_client.registry import Collector

from faceindex import __version__
from faceindex.errors import ConfigError, FaceIndexError
from faceindex.events import tell
from faceindex.pipeline.report import CHANGES, RunReport
from faceindex.types import DONE_STATES, PhotoState
from faceindex.wording import visible

BETWEEN_WRITES_S = 5.0
"""Seconds between two writes of the text file; node_exporter is asked every 15 to 60."""

LAST_SUCCESS = "faceindex_run_last_success_timestamp_seconds"

REASONS = {
    0: "done",
    2: "usage",
    3: "quarantined",
    4: "nothing_found",
    5: "damaged",
    75: "locked",
    130: "interrupted",
    143: "interrupted",
}
"""Why a run ended, by its exit code; all others failed."""

SUCCESSES = (0, 3)


class RunMetrics(Collector):
    """Shows a report, as it is when it is asked, as metrics."""

    def __init__(self, report: RunReport, last_success: float | None = None) -> None:
        self._report = report
        self._last_success = last_success
        self._exit_code: int | None = None
        self._ended = 0.0

    def end(self, exit_code: int) -> None:
        """Say how the run ended."""
        self._exit_code, self._ended = exit_code, time.time()
        if exit_code in SUCCESSES:
            self._last_success = self._ended

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the metrics, all gauges: of the last run or the catalog as that left it."""
        report = self._report
        run = report.tried()
        quarantined = sum(count for state, count in run.items() if state not in DONE_STATES)
        yield self._figure("faceindex_run_info", "The run and the program.", 1, run=report.name, version=__version__)
        yield self._figure("faceindex_run_start_timestamp_seconds", "When the run began.", report.began)
        yield self._figure(
            "faceindex_run_duration_seconds",
            "Time since then, up to its end.",
            (self._ended or time.time()) - report.began,
        )
        yield self._by("faceindex_run_photos", "Photos the run tried, by what became of them.", "state", _states(run))
        yield self._figure("faceindex_run_quarantined_photos", "Those that could not be processed.", quarantined)
        yield self._figure("faceindex_run_planned_photos", "Photos the run has planned to try.", report.planned)
        yield self._figure("faceindex_run_faces", "Faces found in them.", report.found)
        yield self._figure("faceindex_run_photos_per_second", "Photos tried a second.", report.photos_per_second)
        changes = {name: report.changes[name] for name in CHANGES}
        yield self._by("faceindex_run_changes", "Photos by what happened since the run before.", "kind", changes)
        seconds = dict(report.clock.seconds)
        yield self._by("faceindex_run_stage_seconds", "Time in each stage, of all workers.", "stage", seconds)
        if report.generation is not None:
            yield self._figure("faceindex_catalog_generation", "Number of the served generation.", report.generation)
            photos = _states(report.photos)
            yield self._by("faceindex_catalog_photos", "Photos in the catalog, by state.", "state", photos)
            yield self._figure("faceindex_catalog_faces", "Faces in the catalog.", report.faces)
        if self._last_success is not None:
            yield self._figure(LAST_SUCCESS, "When a run last ended well.", self._last_success)
        if self._exit_code is not None:
            reason = REASONS.get(self._exit_code, "failed")
            yield self._figure("faceindex_run_end_timestamp_seconds", "When the run ended.", self._ended)
            yield self._figure("faceindex_run_success", "1 when it ended well.", float(self._exit_code in SUCCESSES))
            yield self._figure("faceindex_run_exit_code", "Its exit code.", self._exit_code, reason=reason)

    def _figure(self, name: str, text: str, value: float, **labels: str) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, text, labels=["catalog", *labels])
        family.add_metric([visible(self._report.catalog), *labels.values()], value)
        return family

    def _by(self, name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, text, labels=["catalog", label])
        for key, value in values.items():
            family.add_metric([visible(self._report.catalog), key], value)
        return family


class TextFile:
    """Keeps a file of metrics up to date: replaced as a whole, and not too often."""

    def __init__(self, path: Path, metrics: RunMetrics) -> None:
        self._path = path
        self._registry = _registry_of(metrics)
        self._next = 0.0

    def write(self) -> None:
        """Write the file.

        Raises:
            FaceIndexError: it cannot be written.
        """
        self._next = time.monotonic() + BETWEEN_WRITES_S
        try:
            write_to_textfile(str(self._path), self._registry)
        except OSError as error:
            raise FaceIndexError(
                f"cannot write the metrics {visible(str(self._path))}: {error.strerror}; give another --metrics file"
            ) from error

    def update(self, *, now: bool = False) -> None:
        """Write the file if it is time to, or `now`; a run goes on without."""
        if now or time.monotonic() >= self._next:
            try:
                self.write()
            except FaceIndexError as error:
                tell("metrics_not_written", str(error), level=logging.WARNING)


def last_success(path: Path) -> float | None:
    """Return when a run last ended well, by the file of metrics that it left; None where there is none."""
    try:
        with path.open(encoding="utf-8") as file:
            families = list(text_fd_to_metric_families(file))
    except (OSError, ValueError):
        return None
    return next((sample.value for family in families for sample in family.samples if sample.name == LAST_SUCCESS), None)


@contextmanager
def served(port: int, metrics: RunMetrics) -> Generator[None]:
    """Answer Prometheus on a port of the loopback address for as long as the `with` block lasts.

    Raises:
        ConfigError: the port cannot be had.
    """
    try:
        server, thread = start_http_server(port, addr="127.0.0.1", registry=_registry_of(metrics))
    except OSError as error:
        raise ConfigError(
            f"cannot show metrics on port {port}: {error.strerror}; give another --metrics-port"
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _registry_of(metrics: RunMetrics) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(metrics)
    return registry


def _states(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the count of every state, also of those without a photo: an alert cannot ask for what is not there."""
    return {str(state): counts.get(str(state), 0) for state in PhotoState}
