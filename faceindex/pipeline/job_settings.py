"""Settings of a job: a TOML file, and the command line, which goes first."""

import argparse
import signal
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

from faceindex.errors import ConfigError, FaceIndexError, InterruptedRunError
from faceindex.events import STDERR
from faceindex.pipeline.report import RunReport
from faceindex.pipeline.run import IndexOptions
from faceindex.pipeline.watching import Watching
from faceindex.wording import visible

TABLES: dict[str, type] = {"index": IndexOptions, "watching": Watching}
"""Tables of the file and what they are made into; each field is an option of the command line too."""

Options = TypeVar("Options")


@dataclass(frozen=True, slots=True)
class JobSettings:
    """What a job works on, and how."""

    catalog: str
    photos: tuple[str, ...]
    index: IndexOptions
    watching: Watching

    @property
    def quiet(self) -> bool:
        """Whether stderr is for the log alone."""
        return self.watching.log_file == STDERR


def job_parser(description: str | None, positional: str | None = None) -> argparse.ArgumentParser:
    """Return a parser of `--settings FILE.toml`, `--catalog`, `--photos` and all options of indexing and watching.

    Args:
        description: of the job.
        positional: "photos" or "settings", when that is given without its name.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    photos = parser.add_argument("photos" if positional == "photos" else "--photos", nargs="*", default=[])
    photos.help = "folders, files or URLs"
    where = ["settings"] if positional == "settings" else ["--settings"]
    settings = parser.add_argument(*where, metavar="FILE.toml", help="settings; the options here go before them")
    settings.nargs = "?" if positional == "settings" else None
    parser.add_argument("--catalog", help="folder or URL of the catalog")
    for table, kind in TABLES.items():
        group = parser.add_argument_group(f"[{table}] of the settings")
        for name, types in _types(kind).items():
            flag = f"--{name.replace('_', '-')}"
            if bool in types:
                group.add_argument(flag, action=argparse.BooleanOptionalAction)
            else:
                [kind_of_value] = types
                group.add_argument(flag, type=kind_of_value, metavar=kind_of_value.__name__.upper())
    return parser


def job_settings(arguments: argparse.Namespace, *, needs_photos: bool = False) -> JobSettings:
    """Return what the file and the command line say.

    Args:
        arguments: of `job_parser`.
        needs_photos: whether the job is nothing without them.

    Raises:
        ConfigError: the file cannot be read, something in it is not known of the wrong type or missing.
    """
    said = _read(Path(arguments.settings)) if arguments.settings else {}
    unknown = said.keys() - {"catalog", "photos", *TABLES}
    if unknown:
        raise ConfigError(f"{arguments.settings} has unknown settings: {', '.join(sorted(unknown))}")
    catalog = arguments.catalog or said.get("catalog")
    photos = arguments.photos or said.get("photos", [])
    if not isinstance(catalog, str):
        raise ConfigError('no catalog to work on; give --catalog DIR, or catalog = "DIR" in the settings')
    if not isinstance(photos, list) or not all(isinstance(root, str) for root in photos):
        raise ConfigError(f"photos must be a list of folders, files or URLs, got {photos!r}")
    if needs_photos and not photos:
        raise ConfigError('no photos to index; give folders, or photos = ["DIR"] in the settings')
    return JobSettings(
        catalog,
        tuple(photos),
        _options(IndexOptions, "index", said, arguments),
        _options(Watching, "watching", said, arguments),
    )


def show(report: RunReport, settings: JobSettings) -> None:
    """Print what a run did on stdout, and photos that were quarantined on stderr unless that is for the log."""
    states = ", ".join(f"{count:,} {state}" for state, count in sorted(report.photos.items()))
    did = f"{report.embedded:,} photos embedded, {report.unchanged:,} unchanged, {report.removed:,} removed"
    print(f"{did}: {states}")
    print(f"{report.faces:,} faces in generation {report.generation}")
    if report.path:
        print(f"the report is {visible(report.path.removesuffix('json'))}html")
    for row in [] if settings.quiet else report.quarantined:
        print(visible(f"{row['state']}: {row['photo']}: {row['detail']}"), file=sys.stderr)


def run_job(name: str, job: Callable[[], int]) -> int:
    """Do a job; return its exit code, or that of the error that ended it, told in one line.

    SIGTERM ends a job as an error does, so that what it was asked to tell is told.
    """

    def stop(number: int, _: object) -> None:
        raise InterruptedRunError(f"stopped by {signal.Signals(number).name}; run it again", exit_code=128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        return job()
    except FaceIndexError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"cannot read the settings {visible(str(path))}: {reason}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{visible(str(path))} is not valid TOML: {error}") from error


def _options(kind: type[Options], table: str, said: Mapping[str, Any], arguments: argparse.Namespace) -> Options:
    values = said.get(table, {})
    if not isinstance(values, dict):
        raise ConfigError(f"[{table}] of the settings must be a table, got {values!r}")
    types = _types(kind)
    for name, value in values.items():
        if name not in types:
            raise ConfigError(f"[{table}] of the settings has no {name!r}; it knows {', '.join(types)}")
        if type(value) not in types[name] and not (type(value) is int and float in types[name]):
            wanted = " or ".join(one.__name__ for one in types[name])
            raise ConfigError(f"{name} in [{table}] of the settings must be {wanted}, got {value!r}")
    given = {name: getattr(arguments, name) for name in types if getattr(arguments, name) is not None}
    return kind(**{**values, **given})


def _types(kind: type) -> dict[str, list[type]]:
    """Return the types, other than None, that the settings in a dataclass may have."""
    hints = get_type_hints(kind)
    return {
        field.name: [one for one in get_args(hints[field.name]) or (hints[field.name],) if one is not NoneType]
        for field in fields(kind)
        if field.name != "dry_run"  # nobody is there to read what would be done
    }
