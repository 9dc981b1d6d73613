"""`faceindex evaluate lfw|catalog`."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import rich_click as click

from faceindex.cli.options import catalog_option, console, counted, device_option, json_option, print_json

if TYPE_CHECKING:
    from faceindex.evaluation.assessment import Assessment
    from faceindex.labelled import LabelledFaces
    from faceindex.query import OpenCatalog

Labels = Literal["folders", "names"]
"""Who a face is of: the folder its photo is in, or the name that the catalog has."""

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group()
def evaluate() -> None:
    """Measure error rates on photos of known people."""


def output_options(command: Command) -> Command:
    """Add --report, --plots, --seed and --json."""
    command = json_option(command)
    command = click.option("--seed", default=0, show_default=True, help="Of the choices of faces.")(command)
    command = click.option(
        "--plots",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Write the plots there, as PNG and SVG.",
    )(command)
    return click.option(
        "--report",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Write tables and plots as one HTML page.",
    )(command)


@evaluate.command("catalog")
@catalog_option
@click.option("--people-from-folders", is_flag=True, help="The folder a photo is in names the person it is about.")
@output_options
def evaluate_catalog(
    catalog: str, people_from_folders: bool, report: Path | None, plots: Path | None, seed: int, as_json: bool
) -> None:
    """Measure the error rates of a catalog on its own labelled faces.

    The people are those that faces were imported with, or the folders that photos are in. Of several faces in a photo
    the most prominent one counts. Needs two photos or more of some people; searches are measured from 20 people on,
    and are worth something from some hundred on.
    """
    import faceindex

    _require_outputs(report, plots)
    opened = faceindex.open(catalog)
    labels: Labels = "folders" if people_from_folders else "names"
    labelled, found = _assess(opened, labels, seed)
    _answer(_document(opened, labels, labelled, found), found, report, plots, as_json)


@evaluate.command("lfw")
@click.argument("photos", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.option(
    "--pairs",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    required=True,
    help="LFW's pairs file, pairs.txt, or one of its format.",
)
@click.option("-c", "--catalog", metavar="DIR", help="Keep the faces in this catalog, or use those already there.")
@click.option("--model", metavar="NAME", help="Embedder: see `faceindex models list`, or onnx:FILE.")
@click.option("--weights", metavar="FILE", help="File with the embedder's weights.")
@device_option
@output_options
def evaluate_lfw(
    photos: str,
    pairs: Path,
    catalog: str | None,
    model: str | None,
    weights: str | None,
    device: str,
    report: Path | None,
    plots: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Measure a model on Labelled Faces in the Wild, or photos that are laid out like it: DIR/NAME/NAME_0001.jpg.

    The photos are indexed as any others are, into a temporary catalog unless one is given. Accuracy on the pairs, each
    fold at the threshold of the others, and all that `faceindex evaluate catalog` measures.
    """
    import faceindex
    from faceindex.cli.progress import Progress
    from faceindex.evaluation.assessment import fold_pairs
    from faceindex.evaluation.protocols import read_pairs
    from faceindex.pipeline.run import IndexOptions, index_photos

    _require_outputs(report, plots)
    folds = read_pairs(pairs)
    with ExitStack() as stack:
        root = catalog or str(Path(stack.enter_context(TemporaryDirectory(prefix="faceindex-"))) / "catalog")
        with Progress() as progress:
            index_photos(root, [photos], IndexOptions(device=device, model=model, weights=weights), progress)
        opened = faceindex.open(root, device=device)
        labelled, found = _assess(opened, "folders", seed)
        found.pairs = fold_pairs(folds, labelled.vectors, [Path(photo).name for photo in labelled.photos])
        _answer(_document(opened, "folders", labelled, found), found, report, plots, as_json)


def _assess(opened: "OpenCatalog", labels: Labels, seed: int) -> "tuple[LabelledFaces, Assessment]":
    from faceindex.errors import ConfigError
    from faceindex.evaluation.assessment import assess
    from faceindex.labelled import people_by_name, people_from_folders

    labelled = (people_from_folders if labels == "folders" else people_by_name)(opened)
    if labels == "names" and not labelled.photos:
        raise ConfigError(
            "error rates need labels, and nobody in the catalog has a name: give --people-from-folders if each person "
            "has a folder of their own"
        )
    table = opened.calibration.table
    found = assess(labelled.vectors, labelled.subjects, table, seed)
    if table and table.source == "labels" and found.probabilities:
        found.notes.append("probabilities were learnt from these very people: for others expect them a little worse")
    if labelled.unusable:
        found.notes.append(f"{counted(labelled.unusable, 'face')} left out: their embeddings are not numbers, or zero")
    return labelled, found


def _document(opened: "OpenCatalog", labels: Labels, labelled: "LabelledFaces", found: "Assessment") -> dict[str, Any]:
    counts = opened.generation.photo_counts
    return {
        "schema": "faceindex.evaluate/1",
        "catalog": opened.catalog.root,
        "generation": opened.generation.number,
        "model": labelled.model,
        "labels": labels,
        "photos": sum(counts.values()),
        "photos_without_face": counts.get("no_face", 0),
        **found.to_json(),
    }


def _require_outputs(report: Path | None, plots: Path | None) -> None:
    """Refuse early what cannot be written after minutes of work."""
    from faceindex.errors import ConfigError

    for path in (report, plots):
        if path and not path.parent.is_dir():
            raise ConfigError(f"there is no folder {path.parent} to write {path.name} in; make it first")


def _answer(
    document: dict[str, Any], found: "Assessment", report: Path | None, plots: Path | None, as_json: bool
) -> None:
    from faceindex.evaluation.plots import drawn, plots_of
    from faceindex.evaluation.summary import page
    from faceindex.outputs import write_private

    if as_json:
        print_json(document)
    else:
        _show(document)
    if report:
        figures = {name: drawn(draw, "svg") for name, draw in plots_of(found).items()}
        write_private(report, page(document, figures).encode(), "report")
        click.echo(f"wrote {report}", err=True)
    if plots:
        plots.mkdir(exist_ok=True)
        for name, draw in plots_of(found).items():
            write_private(plots / f"{name}.png", drawn(draw, "png"), "plot")
            write_private(plots / f"{name}.svg", drawn(draw, "svg"), "plot")
        click.echo(f"wrote the plots to {plots}", err=True)


def _show(document: dict[str, Any]) -> None:
    from rich.table import Table

    from faceindex.cli.options import printable
    from faceindex.evaluation.summary import headline, tables_of

    out = console()
    out.print(f"[bold]{printable(headline(document))}[/]; intervals of 95 % over people")
    for told in tables_of(document):
        out.print(f"\n{printable(told.title)}")
        table = Table(box=None, pad_edge=False, header_style="dim")
        for place, title in enumerate(told.rows[0]):
            table.add_column(title, justify="right" if place else "left")
        for row in told.rows[1:]:
            table.add_row(*row)
        out.print(table)
    for note in document["notes"]:
        out.print(f"\n[yellow]{printable(note)}[/]")
