"""`faceindex index`."""

from dataclasses import replace
from typing import TYPE_CHECKING

import rich_click as click

from faceindex.cli.options import (
    Bytes,
    FaceSide,
    catalog_option,
    console,
    counted,
    device_option,
    json_option,
    print_json,
    printable,
    watching_options,
)

if TYPE_CHECKING:
    from faceindex.pipeline.report import RunReport
    from faceindex.pipeline.watching import Watching

SHOWN_QUARANTINED = 20
LEAST_SHARE = 0.01
"""Stages that took less of the time are not named."""


@click.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTOS...")
@catalog_option
@click.option("--workers", type=click.IntRange(min=0), help="Processes to use; default: one for each core. 0: none.")
@click.option("--scheduler", metavar="ADDR", help="Use the Dask cluster at this address, such as tcp://host:8786.")
@click.option(
    "--memory",
    type=Bytes(),
    default="2GiB",
    show_default=True,
    help="For decoded photos, and afterwards for building the index; the networks come on top.",
)
@click.option(
    "--min-face",
    type=FaceSide(),
    metavar="SIZE",
    help="Smallest face looked for, of a new catalog: pixels (40), or a share of the photo's short side (4%). Default: "
    "4%, but no less than 20 pixels of a photo reduced to a long side of 960.",
)
@click.option("--thorough", is_flag=True, help="Smaller faces and turned pictures too, of a new catalog; slower.")
@click.option(
    "--detector",
    metavar="NAME",
    help="Detector of a new catalog: mtcnn, or onnx:FILE for YuNet, SCRFD, Ultra-Light or BlazeFace.",
)
@click.option("--model", metavar="NAME", help="Embedder of a new catalog: see `faceindex models list`, or onnx:FILE.")
@click.option("--weights", metavar="FILE", help="File with the embedder's weights, for a new catalog.")
@click.option(
    "--index",
    "factory",
    metavar="KIND",
    help="auto, exact, or a FAISS factory string such as IVF1024,PQ32x4fs; "
    "parts may follow, as in 'auto;recall=0.9;memory=500MB' or 'auto;nprobe=64;rerank=5'.",
)
@watching_options
@click.option("--retry-failed", is_flag=True, help="Try quarantined photos again although they have not changed.")
@click.option("--allow-removals", is_flag=True, help="Go on when more than a fifth of a folder's photos are gone.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")
@device_option
@json_option
@click.pass_context
def index(
    ctx: click.Context,
    photos: tuple[str, ...],
    catalog: str,
    workers: int | None,
    scheduler: str | None,
    memory: int,
    min_face: float | None,
    thorough: bool,
    detector: str | None,
    model: str | None,
    weights: str | None,
    factory: str | None,
    watching: "Watching",
    retry_failed: bool,
    allow_removals: bool,
    dry_run: bool,
    device: str,
    as_json: bool,
) -> None:
    """Find and embed the faces in folders of photos, and publish them for search.

    PHOTOS are folders, files or URLs (s3://...). Only what is new or changed since the last run is read. Stopped or
    killed at any moment, the same command finishes the work.

    Exit code 0: done. 3: done, but some photos could not be processed and are quarantined; the report names them.
    """
    from faceindex.cli.progress import Progress
    from faceindex.errors import FaceIndexError
    from faceindex.events import STDERR
    from faceindex.pipeline.report import RunReport
    from faceindex.pipeline.run import IndexOptions, index_photos
    from faceindex.pipeline.watching import watched

    options = IndexOptions(
        workers=workers,
        scheduler=scheduler,
        memory_bytes=memory,
        min_face_px=int(min_face) if min_face and min_face >= 1 else None,
        min_face_share=min_face if min_face and min_face < 1 else None,
        thorough=thorough,
        device=device,
        detector=detector,
        model=model,
        weights=weights,
        index=factory,
        retry_failed=retry_failed,
        allow_removals=allow_removals,
        dry_run=dry_run,
    )
    if dry_run:
        watching = replace(watching, metrics=None)
    report = RunReport.of(catalog)
    logged = watching.log_file == STDERR
    try:
        with Progress(quiet=logged) as progress, watched(report, watching, progress) as told:
            index_photos(catalog, photos, options, told, report)
    except FaceIndexError as error:
        if not logged:
            raise
        ctx.exit(error.exit_code)  # the log has said why
    if as_json:
        print_json(report.to_json())
    else:
        _show(report, catalog)
    ctx.exit(report.exit_code)


def _show(report: "RunReport", catalog: str) -> None:
    out = console()
    if report.dry_run:
        todo = f"would embed {counted(report.embedded, 'photo')} and forget {report.removed:,}"
        out.print(f"{todo}; {report.unchanged:,} unchanged")
        return
    rate = f", {report.photos_per_second:,.1f} photos/s" if report.embedded else ""
    out.print(
        f"[bold]{counted(report.embedded, 'photo')} indexed[/] in {report.seconds:.1f} s{rate}; "
        f"{report.unchanged:,} unchanged, {report.removed:,} removed"
    )
    states = ", ".join(
        f"{count:,} {state}" for state, count in sorted(report.photos.items(), key=lambda item: -item[1])
    )
    out.print(f"the catalog now holds {counted(sum(report.photos.values()), 'photo')} ({states})")
    out.print(f"and {counted(report.faces, 'face')} in generation {report.generation}")
    told = [f"{count:,} {name}" for name, count in report.changes.items() if count and name not in ("new", "deleted")]
    if told:
        out.print(f"among them {', '.join(told)}")
    if report.queue_fill is not None:
        out.print(f"[dim]{_where_time_went(report)}[/]")
    if report.ignored:
        out.print(f"[dim]{counted(report.ignored, 'other file')} passed over[/]")
    for problem in report.problems[:SHOWN_QUARANTINED]:
        out.print(f"[yellow]not crawled[/] {printable(problem)}")
    if report.quarantined:
        out.print(f"\n[yellow]{counted(len(report.quarantined), 'photo')} quarantined[/]:")
        for row in report.quarantined[:SHOWN_QUARANTINED]:
            line = f"  {row['state']:<18} {printable(row['photo'])}: {printable(row['detail'])}"
            out.print(line, soft_wrap=True)  # a path is not broken at its spaces
        if len(report.quarantined) > SHOWN_QUARANTINED:
            rest = len(report.quarantined) - SHOWN_QUARANTINED
            out.print(f"  and {rest:,} more in the report")
    if report.path:
        out.print(f"[dim]the report is {printable(report.path.removesuffix('json'))}html[/]", soft_wrap=True)
    out.print(f"\nsearch it with: faceindex search QUERY.jpg -c {printable(catalog)}")


def _where_time_went(report: "RunReport") -> str:
    """Tell what the processes did, and whether the networks or the reading of photos set the pace."""
    seconds = dict(report.clock.seconds)
    seconds.pop("wait", None)
    whole = sum(seconds.values()) or 1.0
    parts = sorted(seconds.items(), key=lambda item: -item[1])
    shares = ", ".join(f"{name} {value / whole:.0%}" for name, value in parts if value / whole >= LEAST_SHARE)
    return f"time went to {shares}; decoded photos were at hand for {report.queue_fill:.0%} of it"
