"""Progress on stderr: a live bar on a terminal, nothing otherwise."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bar


class Progress:
    """Shows what a run reports; an instance is called with (phase, photos done, photos in all, faces, quarantined)."""

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._shown = sys.stderr.isatty()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, phase: str, done: int = 0, total: int = 0, faces: int = 0, quarantined: int = 0) -> None:
        """Show where the run is."""
        if not self._shown:
            return
        if self._bar is None:
            self._start()
        assert self._bar is not None
        counts = f"{faces:,} faces" + (f", {quarantined:,} quarantined" if quarantined else "")
        self._bar.update(
            self._bar.task_ids[0],
            description=phase,
            completed=done,
            total=total or None,
            counts=counts if total else "",
        )

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeRemainingColumn(),
        )
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
        self._bar.add_task("starting", total=None, counts="")
        self._bar.start()
