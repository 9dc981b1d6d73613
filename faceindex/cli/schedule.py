"""`faceindex schedule`."""

import os

import rich_click as click

from faceindex.cli.options import catalog_option


@click.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTOS...")
@click.option(
    "--print",
    "kind",
    type=click.Choice(["systemd", "cron", "kubernetes"]),
    required=True,
    help="What runs commands every night there.",
)
@click.option("--scheduler", metavar="ADDR", help="Index on the Dask cluster at this address.")
@catalog_option
def schedule(photos: tuple[str, ...], kind: str, scheduler: str | None, catalog: str) -> None:
    """Print what makes a system index PHOTOS every night; nothing is installed.

    The text says where it goes.
    """
    from faceindex.scheduling import unit

    def whole(path: str) -> str:
        return path if "://" in path else os.path.abspath(path)  # noqa: PTH100 - a Path cannot hold every name

    click.echo(unit(kind, whole(catalog), [whole(root) for root in photos], scheduler), nl=False)
