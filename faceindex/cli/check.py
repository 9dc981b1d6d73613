"""`faceindex check`."""

import rich_click as click

from faceindex.cli.options import catalog_option, console, counted, json_option, print_json, printable


@click.command()
@catalog_option
@click.option(
    "--repair",
    is_flag=True,
    help="Serve the newest generation whose manifest is whole, and forget older ones that are damaged.",
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
    from faceindex.catalog.generations import current, restore_current
    from faceindex.catalog.layout import CURRENT
    from faceindex.catalog.lock import writer_lock
    from faceindex.catalog.upkeep import check as problems_of
    from faceindex.catalog.upkeep import drop_damaged
    from faceindex.identities.ledger import ledger_problems

    files = open_files(catalog)
    if not files.exists(CURRENT):
        read_settings(files)  # says so when there is no catalog at all
    if repair:
        with writer_lock(files, "faceindex check --repair"):
            restore_current(files)
            drop_damaged(files)
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
