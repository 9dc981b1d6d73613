"""Options and output that several commands share."""

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

from faceindex.wording import visible

if TYPE_CHECKING:
    from rich.console import Console

Command = TypeVar("Command", bound=Callable[..., Any])

UNWRAPPED = 10_000
"""Columns of output that goes to a file or a pipe: wide enough for any path."""

DEVICES = ("auto", "cpu", "cuda")


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
        "--device", type=click.Choice(DEVICES), default="auto", show_default=True, help="Where the networks run."
    )(command)


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
