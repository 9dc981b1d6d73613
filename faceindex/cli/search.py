"""`faceindex search`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from faceindex.cli.options import (
    catalog_option,
    console,
    counted,
    device_option,
    json_option,
    print_json,
    printable,
)
from faceindex.wording import percent

if TYPE_CHECKING:
    from rich.console import Console

    from faceindex.query import FaceAnswer, SearchAnswer


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=click.Path(exists=True))
@catalog_option
@click.option("-k", default=10, show_default=True, type=click.IntRange(min=1), help="Candidates for each face.")
@click.option(
    "--fpir",
    default=0.01,
    show_default=True,
    metavar="RATE",
    help="How often a stranger may be wrongly identified, at the size the gallery has now.",
)
@click.option("--threshold", type=float, metavar="S", help="Decide by this cosine similarity instead of an error rate.")
@click.option("--sheet", metavar="FILE", help="Write query and matches side by side (.png, .jpg or .html).")
@click.option("--ndjson", is_flag=True, help="Print one JSON document a line, one for each image.")
@click.option("--timings", is_flag=True, help="Print on stderr where the time went.")
@device_option
@json_option
@click.pass_context
def search(
    ctx: click.Context,
    images: tuple[str, ...],
    catalog: str,
    k: int,
    fpir: float,
    threshold: float | None,
    sheet: str | None,
    ndjson: bool,
    timings: bool,
    device: str,
    as_json: bool,
) -> None:
    """Find the people of a picture in the catalog.

    IMAGE is a picture, or a folder of pictures. Every face in it is searched. A face is `identified` when its best
    candidate reaches the threshold that gives the error rate asked for with --fpir.

    Exit code 0: somebody was identified. 4: no face, or nobody recognised. 3: some pictures could not be read.
    """
    from faceindex.cli.timing import Timings
    from faceindex.errors import ConfigError, FaceIndexError

    spent = Timings()
    with spent.stage("import"):
        import faceindex
        import faceindex.query

    if as_json and len(images) > 1:
        raise ConfigError("--json prints one document for one image; for several use --ndjson")
    if sheet:
        from faceindex.sheet import require_sheet_format

        require_sheet_format(sheet)
    with spent.stage("open catalog"):
        opened = faceindex.open(catalog, device=device)
        opened.resolve_threshold(fpir, threshold)
    out = console()
    answers: list[SearchAnswer] = []
    paths = list(_pictures(images))
    if not paths:
        raise ConfigError(f"no pictures in {images[0]}; give a picture or a folder of pictures")
    for path in paths:
        try:
            answer = opened.search(path, k, fpir=fpir, threshold=threshold)
        except FaceIndexError as error:
            if len(paths) == 1:
                raise
            click.echo(f"faceindex: {error}", err=True)
            continue
        answers.append(answer)
        if as_json or ndjson:
            print_json(answer.to_json(), one_line=ndjson)
        else:
            _show(out, answer)
    if sheet:
        _write_sheet(answers, sheet)
    if timings:
        spent.show(opened.clock, opened.recogniser.clock)
    ctx.exit(_exit_code(answers, len(paths)))


def _exit_code(answers: "list[SearchAnswer]", picture_count: int) -> int:
    if len(answers) < picture_count:
        return 3
    return 0 if any(answer.identified for answer in answers) else 4


def _pictures(images: tuple[str, ...]) -> Iterator[str]:
    from os import fsdecode

    from faceindex.images.crawl import crawl

    for image in images:
        if Path(image).is_dir():
            yield from sorted(fsdecode(ref.path) for ref in crawl(image))
        else:
            yield image


def _show(out: "Console", answer: "SearchAnswer") -> None:
    name = printable(str(answer.query["image"]))
    if not answer.faces:
        out.print(f"[bold]{name}[/]: no face found")
        return
    size = f"gallery of {counted(answer.gallery_size, 'face')}, generation {answer.generation}"
    out.print(f"[bold]{name}[/]: {counted(len(answer.faces), 'face')}; {size}")
    for face in answer.faces:
        _show_face(out, face)


def _show_face(out: "Console", face: "FaceAnswer") -> None:
    from rich.table import Table

    x0, y0, x1, y1 = (round(edge) for edge in face.box)
    mark = "[green]identified[/]" if face.decision == "identified" else "[yellow]not recognised[/]"
    if face.fpir is None:
        rule = f"threshold {face.threshold:.3f}, yours"
    else:
        kind = "extrapolated" if face.extrapolated else "measured"
        rule = f"threshold {face.threshold:.3f} for fpir {face.fpir:g}, {kind} ({face.threshold_source} table)"
    quality = f"[yellow]low quality {face.quality:.2f}[/]" if face.low_quality else f"quality {face.quality:.2f}"
    out.print(f"\nface {face.face} at ({x0}, {y0})-({x1}, {y1}), {quality}: {mark}; {rule}")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("rank", "similarity", "probability"):
        table.add_column(title, justify="right")
    table.add_column("photo", overflow="fold")
    for candidate in face.candidates:
        probability = percent(candidate.probability)
        similarity = f"{candidate.similarity:.4f}"
        style = "" if candidate.similarity >= face.threshold else "dim"
        table.add_row(str(candidate.rank), similarity, probability, printable(candidate.photo), style=style)
    out.print(table)


def _write_sheet(answers: "list[SearchAnswer]", sheet: str) -> None:
    from faceindex.query import open_upright
    from faceindex.sheet import write_sheet

    write_sheet([answer.to_json() for answer in answers], sheet, open_upright)
    click.echo(f"wrote {sheet}", err=True)
