"""`faceindex search`."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from faceindex.cli.options import (
    catalog_option,
    console,
    counted,
    device_option,
    filter_options,
    json_option,
    print_json,
    printable,
)
from faceindex.wording import percent

if TYPE_CHECKING:
    from rich.console import Console

    from faceindex.answers import FaceAnswer, SearchAnswer
    from faceindex.cli.timing import Timings
    from faceindex.clock import Clock
    from faceindex.gallery.filters import Filters
    from faceindex.query import OpenCatalog
    from faceindex.vector_files import VectorFile


@click.command()
@click.argument("images", nargs=-1, metavar="IMAGE...", type=click.Path(exists=True))
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
@click.option("--vectors", metavar="FILE", help="Search embeddings instead of pictures: .npy or .npz, one a row.")
@click.option("--sheet", metavar="FILE", help="Write query and matches side by side (.png, .jpg or .html).")
@click.option("--ndjson", is_flag=True, help="Print one JSON document a line, one for each image or row.")
@click.option("--timings", is_flag=True, help="Print on stderr where the time went.")
@device_option
@json_option
@filter_options
@click.pass_context
def search(
    ctx: click.Context,
    images: tuple[str, ...],
    catalog: str,
    k: int,
    fpir: float,
    threshold: float | None,
    vectors: str | None,
    sheet: str | None,
    ndjson: bool,
    timings: bool,
    device: str,
    as_json: bool,
    filters: "Filters",
) -> None:
    """Find the people of a picture in the catalog.

    IMAGE is a picture, or a folder of pictures. Every face in it is searched. A face is `identified` when its best
    candidate reaches the threshold that gives the error rate asked for with --fpir, among the faces that are searched:
    all of the catalog, or those that --since, --until, --path, --with, --min-quality and --min-face leave.

    Exit code 0: somebody was identified. 4: no face, or nobody recognised. 3: some pictures could not be read.
    """
    from faceindex.cli.timing import Timings
    from faceindex.errors import ConfigError

    spent = Timings()
    with spent.stage("import"):
        import faceindex
        import faceindex.query

    if bool(images) == (vectors is not None):
        raise click.UsageError("give pictures, or embeddings with --vectors FILE")
    if as_json and len(images) > 1:
        raise ConfigError("--json prints one document for one image; for several use --ndjson")
    if sheet:
        from faceindex.sheet import require_sheet_format

        require_sheet_format(sheet)
    with spent.stage("open catalog"):
        opened = faceindex.open(catalog, device=device)
        opened.resolve_threshold(fpir, threshold, opened.scope(filters))
    asked = partial(opened.search, k=k, fpir=fpir, threshold=threshold, filters=filters)
    of_vectors = partial(opened.search_vectors, k=k, fpir=fpir, threshold=threshold, filters=filters)
    show = partial(_print, console(), as_json=as_json, ndjson=ndjson)
    if vectors is not None:
        code = _search_vectors(vectors, opened.generation.dimension, of_vectors, show, one=as_json)
        if timings:
            _show_timings(spent, opened, opened.clock)
        ctx.exit(code)
    answers, code = _search_pictures(images, asked, show)
    if sheet:
        _write_sheet(answers, sheet)
    if timings:
        _show_timings(spent, opened, opened.clock, opened.recogniser.clock)
    ctx.exit(code)


def _show_timings(spent: "Timings", opened: "OpenCatalog", *clocks: "Clock") -> None:
    spent.show(*clocks)
    served = opened.searcher.served
    if served.on_gpus or served.reason:
        reason = f" ({served.reason})" if served.reason else ""
        click.echo(f"{served.on_gpus:,} searched on GPUs, {served.on_cpu:,} on the CPU{reason}", err=True)


def _search_pictures(
    images: tuple[str, ...], search: "Callable[[str], SearchAnswer]", show: "Callable[[SearchAnswer], None]"
) -> "tuple[list[SearchAnswer], int]":
    """Search pictures one after another; return the answers and the exit code."""
    from faceindex.errors import ConfigError, FaceIndexError

    answers: list[SearchAnswer] = []
    paths = list(_pictures(images))
    if not paths:
        raise ConfigError(f"no pictures in {images[0]}; give a picture or a folder of pictures")
    for path in paths:
        try:
            answer = search(path)
        except FaceIndexError as error:
            if len(paths) == 1:
                raise
            click.echo(f"faceindex: {error}", err=True)
            continue
        answers.append(answer)
        show(answer)
    if len(answers) < len(paths):
        return answers, 3
    return answers, 0 if any(answer.identified for answer in answers) else 4


def _search_vectors(
    path: str,
    dimension: int,
    search: "Callable[[VectorFile], Iterator[SearchAnswer]]",
    show: "Callable[[SearchAnswer], None]",
    *,
    one: bool,
) -> int:
    """Search the embeddings of a file; return the exit code."""
    from faceindex.errors import ConfigError
    from faceindex.vector_files import VectorFile

    file = VectorFile(path, dimension)
    if one and len(file) > 1:
        raise ConfigError(f"--json prints one document, {path} holds {len(file):,} vectors; use --ndjson")
    identified = False
    for answer in search(file):
        identified |= answer.identified
        show(answer)
    if file.renormalised:
        click.echo(f"faceindex: not all vectors of {path} were of unit length; they were scaled to it", err=True)
    return 0 if identified else 4


def _print(out: "Console", answer: "SearchAnswer", *, as_json: bool, ndjson: bool) -> None:
    if as_json or ndjson:
        print_json(answer.to_json(), one_line=ndjson)
    else:
        _show(out, answer)


def _pictures(images: tuple[str, ...]) -> Iterator[str]:
    from os import fsdecode

    from faceindex.images.crawl import crawl

    for image in images:
        if Path(image).is_dir():
            yield from sorted(fsdecode(ref.path) for ref in crawl(image))
        else:
            yield image


def _show(out: "Console", answer: "SearchAnswer") -> None:
    query = answer.query
    name = printable(str(query["image"]) if "image" in query else f"{query['vectors']} row {query['row']}")
    if not answer.faces:
        out.print(f"[bold]{name}[/]: no face found")
        return
    size = f"gallery of {counted(answer.gallery_size, 'face')}, generation {answer.generation}"
    out.print(f"[bold]{name}[/]: {counted(len(answer.faces), 'face')}; {size}")
    for face in answer.faces:
        _show_face(out, face)


def _show_face(out: "Console", face: "FaceAnswer") -> None:
    from rich.table import Table

    mark = "[green]identified[/]" if face.decision == "identified" else "[yellow]not recognised[/]"
    if face.person:
        mark += f" as [bold]{printable(face.person)}[/]"
    if face.fpir is None:
        rule = f"threshold {face.threshold:.3f}, yours"
    else:
        kind = "extrapolated" if face.extrapolated else "measured"
        rule = f"threshold {face.threshold:.3f} for fpir {face.fpir:g}, {kind} ({face.threshold_source})"
    if face.margin is not None:
        rule += f"; {face.margin:.3f} above the next person"
    out.print(f"\n{_seen(face)}: {mark}; {rule}")
    for one in face.people if any(known.faces > 1 for known in face.people) else ():
        of = f"{one.similarity:.4f} to {counted(one.faces, 'face')}, {percent(one.probability)}"
        style = "" if one.similarity >= face.threshold else "dim"
        out.print(f"  {printable(one.person)}: {of}", style=style)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("rank", "similarity", "probability"):
        table.add_column(title, justify="right")
    named = any(candidate.person for candidate in face.candidates)
    if named:
        table.add_column("person", overflow="fold")
    table.add_column("photo", overflow="fold")
    for candidate in face.candidates:
        probability = percent(candidate.probability)
        similarity = f"{candidate.similarity:.4f}"
        style = "" if candidate.similarity >= face.threshold else "dim"
        person = [printable(candidate.person or "")] if named else []
        table.add_row(str(candidate.rank), similarity, probability, *person, printable(candidate.photo), style=style)
    out.print(table)


def _seen(face: "FaceAnswer") -> str:
    """Return what the query shows of a face."""
    if face.box is None:
        return "embedding"
    x0, y0, x1, y1 = (round(edge) for edge in face.box)
    quality = f"[yellow]low quality {face.quality:.2f}[/]" if face.low_quality else f"quality {face.quality:.2f}"
    return f"face {face.face} at ({x0}, {y0})-({x1}, {y1}), {quality}"


def _write_sheet(answers: "list[SearchAnswer]", sheet: str) -> None:
    from faceindex.pictures import open_upright
    from faceindex.sheet import write_sheet

    write_sheet([answer.to_json() for answer in answers], sheet, open_upright)
    click.echo(f"wrote {sheet}", err=True)
