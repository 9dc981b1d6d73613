"""`faceindex demo`."""

import shlex
import shutil
from pathlib import Path

import rich_click as click

MADE_BY_DEMO = ("catalog", "photos", "queries", "who.html")
"""All that a demo's folder may hold; anything else is somebody's own."""


@click.command()
@click.argument("folder", default="faceindex-demo", type=click.Path(path_type=Path, file_okay=False))
@click.pass_context
def demo(ctx: click.Context, folder: Path) -> None:
    """Build a small archive of real photographs, index it, search it and cluster it; takes half a minute.

    The photographs come with the packages (public domain and CC0): two people, scenes without anybody, and
    a broken file. Each command is printed before it runs, so that you can go on from there.
    """
    from faceindex.demo import build_archive

    _make_room(folder)
    archive = build_archive(folder)
    photos, catalog = str(archive.photos), str(folder / "catalog")
    count = sum(1 for path in archive.photos.rglob("*") if path.is_file())
    click.echo(f"made {count} photos of two people, some scenes and a broken file in {photos}\n")
    _run(ctx, "index", photos, "-c", catalog)
    for name, picture in archive.queries.items():
        click.echo(f"\nWho is this? A photo of {_said(name)} that is not in the archive:")
        _run(ctx, "search", str(picture), "-c", catalog, "-k", "3")
    click.echo("\nThe same as a page to look at:")
    queries = [str(picture) for picture in archive.queries.values()]
    _run(ctx, "search", *queries, "-c", catalog, "--sheet", str(folder / "who.html"), quiet=True)
    _run(ctx, "verify", queries[0], queries[1])
    click.echo("\nThe faces of the archive in groups, one for each person:")
    _run(ctx, "cluster", "-c", catalog)
    _run(ctx, "status", "-c", catalog)
    click.echo("\nNow your own: faceindex index ~/Photos, then faceindex search face.jpg")


def _make_room(folder: Path) -> None:
    """Remove an earlier demo; refuse a folder that holds anything else."""
    from faceindex.errors import ConfigError

    if not folder.exists():
        return
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in MADE_BY_DEMO)
    if foreign:
        raise ConfigError(f"{folder} holds other files ({foreign[0]}); give another folder: faceindex demo FOLDER")
    shutil.rmtree(folder)


def _said(name: str) -> str:
    return {"astronaut": "the astronaut", "hopper": "Grace Hopper"}.get(name, "a stranger")


def _run(ctx: click.Context, *arguments: str, quiet: bool = False) -> None:
    """Print a command and run it; a broken photo or an unknown face is part of the show."""
    group = ctx.find_root().command
    click.echo(f"$ faceindex {shlex.join(arguments)}" + ("  > /dev/null" if quiet else ""))
    if quiet:
        import contextlib
        import io

        with contextlib.redirect_stdout(io.StringIO()):
            code = group.main(list(arguments), prog_name="faceindex", standalone_mode=False)
    else:
        code = group.main(list(arguments), prog_name="faceindex", standalone_mode=False)
    if code not in (None, 0, 3, 4):
        ctx.exit(code)
