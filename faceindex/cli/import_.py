"""`faceindex import`."""

import rich_click as click

from faceindex.cli.options import catalog_option, console, counted, json_option, print_json, printable


@click.command("import")
@click.argument("file", metavar="FILE")
@catalog_option
@click.option(
    "--model",
    metavar="NAME",
    help="Model that made the vectors, one of yours too; a new catalog needs it unless FILE says it.",
)
@json_option
def import_(file: str, catalog: str, model: str | None, as_json: bool) -> None:
    """Enrol embeddings made elsewhere.

    FILE is .npy, .npz or Parquet: `vectors`, one a row, and if you like `ids`, `people` and `dates`. Importing it again
    changes nothing; a vector under an id that is known replaces the one before. Vectors of a model that faceindex does
    not have are searched with `faceindex search --vectors FILE --threshold S`.
    """
    from dataclasses import asdict

    from faceindex.cli.progress import Progress
    from faceindex.pipeline.importing import import_vectors

    with Progress() as progress:
        done = import_vectors(catalog, file, model, progress)
    if done.renormalised:
        click.echo(f"faceindex: not all vectors of {file} were of unit length; they were scaled to it", err=True)
    if as_json:
        print_json({"schema": "faceindex.import/1", **asdict(done)})
        return
    console().print(
        f"{counted(done.imported, 'vector')} of {printable(file)} imported, {done.unchanged:,} known already; "
        f"generation {done.generation:,}"
    )
