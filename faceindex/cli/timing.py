"""Where the time of a command went, for `--timings`."""

import os
import time

import rich_click as click

from faceindex.clock import Clock

STARTED = time.perf_counter()


class Timings(Clock):
    """A clock that also knows how long the process has been running."""

    def show(self, *others: Clock) -> None:
        """Print the stages of this clock and others, and the total, on stderr."""
        for other in others:
            self.add(other.seconds)
        for name, seconds in self.seconds.items():
            click.echo(f"{name:>14} {seconds:7.3f} s", err=True)
        click.echo(f"{'total':>14} {_since_start():7.3f} s (with start-up of Python)", err=True)


def _since_start() -> float:
    """Return the age of this process in seconds; where the system does not tell, the age of this module."""
    try:
        with open("/proc/self/stat") as stat, open("/proc/uptime") as uptime:  # noqa: PTH123
            ticks = int(stat.read().rpartition(")")[2].split()[19])
            return float(uptime.read().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return time.perf_counter() - STARTED
