"""Progress on stderr: a live bar on a terminal, now and then a line otherwise."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

import rich_click as click

if TYPE_CHECKING:
    from rich.progress import Progress as Bar


BETWEEN_LINES_S = 30.0
"""Seconds between lines where stderr is no terminal: a night's log stays readable, and short work says nothing."""


class Progress:
    """Shows what a run reports; an instance is called with (phase, photos done, photos in all, faces, quarantined)."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bar: Bar | None = None
        self._shown = sys.stderr.isatty()
        self._told = time.monotonic()
        self._first: tuple[float, int] | None = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, phase: str, done: int = 0, total: int = 0, faces: int = 0, quarantined: int = 0) -> None:
        """Show where the run is."""
        if self._quiet:
            return
        now = time.monotonic()
        if self._first is None and total:
            self._first = (now, done)
        rate = (done - self._first[1]) / max(now - self._first[0], 1e-9) if self._first and done else 0.0
        counts = f"{faces:,} faces" + (f", {quarantined:,} quarantined" if quarantined else "")
        counts += f", {rate:,.1f} photos/s" if rate and faces else ""
        # By the rate of the whole run: photos come in batches, some at the same moment.
        counts += f", about {_duration((total - done) / rate)} left" if rate and done < total else ""
        if not self._shown:
            if now - self._told >= BETWEEN_LINES_S and total:
                self._told = now
                click.echo(f"{phase}: {done:,} of {total:,}, {counts}", err=True)
            return
        if self._bar is None:
            self._start()
        assert self._bar is not None
        self._bar.update(
            self._bar.task_ids[0],
            description=phase,
            completed=done,
            total=total or None,
            counts=counts if total else "",
        )

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[counts]}"),
        )
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
        self._bar.add_task("starting", total=None, counts="")
        self._bar.start()


def _duration(seconds: float) -> str:
    """Return hours and minutes, or minutes, or seconds."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
