"""`faceindex check`."""

from typing import TYPE_CHECKING

import rich_click as click

from faceindex.cli.options import catalog_option, console, counted, json_option, print_json, printable

if TYPE_CHECKING:
    from faceindex.catalog.files import Files


@click.command()
@catalog_option
@click.option(
    "--repair",
    is_flag=True,
    help="Serve the newest generation whose manifest is whole, without its damaged files; forget older damaged ones. "
    "What those files held comes back with the next `faceindex index`, which embeds only that.",
)
@click.option("--deep", is_flag=True, help="Hold the index against the stored embeddings too, face by face.")
@json_option
@click.pass_context
def check(ctx: click.Context, catalog: str, repair: bool, deep: bool, as_json: bool) -> None:
    """Verify every byte of the catalog.

    Exit code 0: everything is as it was written. 5: something is damaged; each file is named.
    """
    from faceindex.catalog.catalog import read_settings
    from faceindex.catalog.files import open_files
    from faceindex.catalog.generations import current
    from faceindex.catalog.layout import CURRENT
    from faceindex.catalog.upkeep import check as problems_of
    from faceindex.identities.ledger import ledger_problems

    files = open_files(catalog)
    if not files.exists(CURRENT):
        read_settings(files)  # says so when there is no catalog at all
    if repair:
        _repair(files, told=not as_json)
    problems = [*problems_of(files), *ledger_problems(files)]
    lost = sum(problem.damaged for problem in problems)
    if deep and not lost and (served := current(files)):
        from faceindex.gallery.audit import audit

        problems += audit(files, served)
    damaged = [problem for problem in problems if problem.damaged]
    if as_json:
        rows = [{"path": found.path, "detail": found.detail, "damaged": found.damaged} for found in problems]
        print_json({"schema": "faceindex.check/1", "catalog": files.root, "damaged": len(damaged), "problems": rows})
    else:
        out = console()
        for found in problems:
            mark = "[red]damaged[/]" if found.damaged else "[dim]note[/]"
            out.print(f"{mark} {printable(found.path)}: {printable(found.detail)}")
        if lost:
            out.print(f"{counted(lost, 'file')} damaged; photos are untouched")
        elif not damaged:
            also = ", and the index holds each face once, as it is stored" if deep else ""
            out.print(f"[green]everything is as it was written{also}[/]")
    if damaged:
        ctx.exit(5)


def _repair(files: "Files", *, told: bool) -> None:
    from faceindex.catalog.catalog import Catalog, read_settings
    from faceindex.catalog.generations import restore_current
    from faceindex.catalog.lock import writer_lock
    from faceindex.catalog.upkeep import drop_damaged
    from faceindex.pipeline.repair import repair

    with writer_lock(files, "faceindex check --repair"):
        restore_current(files)
        repaired = repair(Catalog(files, read_settings(files)))
        drop_damaged(files)
    if repaired is None or not told:
        return
    out = console()
    out.print(f"generation {repaired.generation.number} is without the damaged files")
    if repaired.photo_count:
        again = "run the same `faceindex index` again to embed them, and no others"
        out.print(f"it knows nothing of {counted(repaired.photo_count, 'photo')} that they held; {again}")
    if repaired.clusters_lost:
        out.print("its clusters are gone; run `faceindex cluster`")
