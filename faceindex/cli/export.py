"""`faceindex export`."""

import rich_click as click

from faceindex.cli.options import catalog_option, counted


@click.group()
def export() -> None:
    """Write what the catalog holds for other programs."""


@export.command()
@click.argument("file", metavar="FILE")
@click.option("--vectors", is_flag=True, help="Write the embeddings too.")
@catalog_option
def faces(file: str, vectors: bool, catalog: str) -> None:
    """Write every face, where it is and who it is.

    FILE ends in .csv, .jsonl or .parquet. Columns: face_id, photo, box (x0, y0, x1, y1 in pixels of the upright photo),
    confidence, quality, captured_at, cluster, person, and vector with --vectors. The file is readable by you alone.
    """
    from faceindex.exporting import export_faces
    from faceindex.identities.opening import open_people

    opened, generation, _ = open_people(catalog)
    count = export_faces(opened, generation, file, vectors=vectors)
    click.echo(f"wrote {counted(count, 'face')} to {file}", err=True)
