"""The entry point: finds commands by name, loads only the one that is called, and turns errors into one line.

Data goes to stdout, everything else to stderr. Exit codes stand in `errors.py`.
"""

import sys
from importlib import import_module
from keyword import iskeyword

import rich_click as click

from faceindex import __version__
from faceindex.errors import FaceIndexError

COMMANDS = (
    "demo",
    "index",
    "search",
    "verify",
    "cluster",
    "people",
    "label",
    "serve",
    "token",
    "status",
    "check",
    "compact",
    "import",
    "export",
    "erase",
    "evaluate",
    "calibrate",
    "models",
    "schedule",
)
"""In the order in which a newcomer meets them."""


class Commands(click.RichGroup):
    """Commands in modules of their own; a module is imported when its command or its help line is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command: click.Command = getattr(import_module(f"faceindex.cli.{name}"), name)
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except FaceIndexError as error:
            if ctx.params.get("debug"):
                raise
            click.echo(f"faceindex: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("faceindex: interrupted", err=True)
            ctx.exit(130)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="faceindex %(version)s")
@click.option("--debug", is_flag=True, help="Show the whole trace of an error.")
def cli(debug: bool) -> None:
    """Find people in large photo archives.

    Start with `faceindex demo`, or index your own: `faceindex index ~/Photos`, then `faceindex search face.jpg`.
    """


def main() -> None:
    """Run the command line."""
    # File names may hold bytes that are not UTF-8, and a pipe may have any encoding: never fail to print a name.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    cli(prog_name="faceindex")


if __name__ == "__main__":
    main()
