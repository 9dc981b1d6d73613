"""Options and output that several commands share."""

import json
import re
import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import rich_click as click

from faceindex.wording import visible

if TYPE_CHECKING:
    from rich.console import Console

Command = TypeVar("Command", bound=Callable[..., Any])

UNWRAPPED = 10_000
"""Columns of output that goes to a file or a pipe: wide enough for any path."""

LEAST_MEMORY = 64 * 2**20
"""Enough for one photo of 4 megapixels at a time in each of two processes."""

LEAST_FACE_PX = 12
"""Side of what MTCNN's first network sees."""

DEVICES = ("auto", "cpu", "cuda")


UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


class Bytes(click.ParamType[int]):
    """A number of bytes, such as 500MB, 2GiB or 2G."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([kmgt]?i?)b?", value.strip().lower())
        if not match or match[2] not in UNITS:
            self.fail(f"must be a size such as 500MB or 2GiB, got {value!r}", param, ctx)
        size = int(float(match[1]) * UNITS[match[2]])
        if size < LEAST_MEMORY:
            self.fail(f"must be at least {LEAST_MEMORY // 2**20} MiB, got {value!r}", param, ctx)
        return size


class FaceSide(click.ParamType[float]):
    """A number of pixels, such as 40 or 40px, given as at least 1; or a share such as 4%, given as less than 1."""

    name = "size"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?(px|%|)", value.strip().lower())
        side = float(match[1]) / (100 if match[2] == "%" else 1) if match else 0.0
        if match and match[2] == "%" and 0 < side < 1:
            return side
        if not match or match[2] == "%" or side < LEAST_FACE_PX or side != int(side):
            wanted = f"whole pixels from {LEAST_FACE_PX} on (40) or a share of the photo's short side (4%)"
            self.fail(f"must be {wanted}, got {value!r}", param, ctx)
        return side


def catalog_option(command: Command) -> Command:
    """Add `-c/--catalog`, which falls back on FACEINDEX_CATALOG and then on ./faceindex-catalog."""
    return click.option(
        "-c",
        "--catalog",
        envvar="FACEINDEX_CATALOG",
        default="faceindex-catalog",
        show_default=True,
        show_envvar=True,
        metavar="DIR",
        help="Folder or URL of the catalog.",
    )(command)


def json_option(command: Command) -> Command:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")(command)


def device_option(command: Command) -> Command:
    """Add `--device`."""
    return click.option(
        "--device",
        type=click.Choice(DEVICES),
        default="auto",
        show_default=True,
        help="Where the networks run; with cpu the index is not built or searched on GPUs either.",
    )(command)


def filter_options(command: Command) -> Command:
    """Add the options that say which faces of the catalog are searched; the command gets them as `filters`."""

    @click.option("--since", metavar="DATE", help="Only photos taken from then on: 2019, 2019-07, 2019-07-31.")
    @click.option("--until", metavar="DATE", help="Only photos taken up to the end of that year, month or day.")
    @click.option("--path", metavar="GLOB", help="Only photos whose whole path matches, such as '*/2019/*'.")
    @click.option("--with", "person", metavar="PERSON", help="Only photos that are known to show this person.")
    @click.option("--min-quality", type=float, metavar="Q", help="Only faces of at least this quality, 0 to 1.")
    @click.option("--min-face", type=float, metavar="PX", help="Only faces of at least this many pixels.")
    @wraps(command)
    def with_filters(
        *args: Any,
        since: str | None,
        until: str | None,
        path: str | None,
        person: str | None,
        min_quality: float | None,
        min_face: float | None,
        **others: Any,
    ) -> Any:
        from faceindex.gallery.filters import Filters

        people = None if person is None else frozenset([person])
        filters = Filters(since, until, path, min_quality, min_face, people=people)
        return command(*args, filters=filters, **others)

    return cast("Command", with_filters)


def watching_options(command: Command) -> Command:
    """Add the options that tell programs of a run; the command gets them as `watching`."""

    @click.option("--metrics", metavar="FILE.prom", help="Keep a file of Prometheus metrics, for node_exporter.")
    @click.option(
        "--metrics-port",
        type=click.IntRange(1, 65535),
        metavar="PORT",
        help="Show them on this port of 127.0.0.1 while the run lasts.",
    )
    @click.option("--log-file", metavar="FILE", help="Append what happens as JSON, an event a line; -: to stderr.")
    @wraps(command)
    def with_watching(
        *args: Any, metrics: str | None, metrics_port: int | None, log_file: str | None, **others: Any
    ) -> Any:
        from faceindex.pipeline.watching import Watching

        return command(*args, watching=Watching(metrics, metrics_port, log_file), **others)

    return cast("Command", with_watching)


def print_json(document: Any, *, one_line: bool = False) -> None:
    """Print a JSON document on stdout."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=None if one_line else 2))


def console(*, stderr: bool = False) -> "Console":
    """Return a rich console that never wraps lines when its output is a file or a pipe."""
    from rich.console import Console

    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, width=None if terminal else UNWRAPPED, highlight=False, soft_wrap=not terminal)


def printable(text: str) -> str:
    """Return text with control and direction-changing characters made visible, so a file name cannot fake output."""
    from rich.markup import escape

    return escape(visible(text))


def counted(count: int, noun: str) -> str:
    """Return "1 photo", "2 photos"."""
    plural = noun if count == 1 else f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {plural}"
