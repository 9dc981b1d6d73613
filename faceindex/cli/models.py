"""`faceindex models list|fetch|verify`."""

from typing import TYPE_CHECKING, Any

import rich_click as click

from faceindex.cli.options import console, json_option, print_json

if TYPE_CHECKING:
    from faceindex.faces.models import Model


@click.group()
def models() -> None:
    """List, fetch and verify the networks that find and embed faces.

    The default models come with the packages and work offline; others are fetched only when you ask for them.
    """


@models.command("list")
@json_option
def list_models(as_json: bool) -> None:
    """List the models with their licence, whether commercial use is allowed, and whether their weights are here."""
    from faceindex.faces.models import MODELS

    rows = [_row(model) for model in MODELS.values()]
    if as_json:
        print_json({"schema": "faceindex.models/1", "models": rows})
        return
    out = console()
    for row in rows:
        out.print(f"[bold]{row['name']}[/] ({row['kind']}, {row['weights']}): {row['summary']}")
        out.print(f"  licence: {row['licence']}; commercial use: {row['commercial_ok']}")


@models.command()
@click.argument("name")
def fetch(name: str) -> None:
    """Download a model's weights and check them."""
    from faceindex.faces.models import fetch as fetch_weights
    from faceindex.faces.models import find

    model = find(name)
    file = fetch_weights(name)
    out = console()
    if file is None:
        out.print(f"the weights of {name} come with a package; there is nothing to fetch")
        return
    out.print(f"{file.path}\nsha256 of the download: {file.published_sha256}")
    if model.sha256 is None:
        out.print("its sha256 was not known in advance; the first download's is kept, and later ones must equal it")
    out.print(f"licence: {model.licence}; commercial use: {model.commercial_ok}")


@models.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option
@click.pass_context
def verify(ctx: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Compare the weights on this machine with their checksums.

    Exit code 1: a file is damaged, or a model that was named is missing.
    """
    from faceindex.faces.models import MODELS, find

    rows = [_row(find(name)) for name in names or MODELS]
    if as_json:
        print_json({"schema": "faceindex.models/1", "models": rows})
    else:
        for row in rows:
            console().print(f"{row['name']}: {row['weights']}")
    bad = ("damaged", "missing") if names else ("damaged",)
    ctx.exit(1 if any(row["weights"] in bad for row in rows) else 0)


def _row(model: "Model") -> dict[str, Any]:
    from faceindex.faces.models import verify as weights_state

    return {
        "name": model.name,
        "kind": model.kind,
        "summary": model.summary,
        "licence": model.licence,
        "commercial_ok": model.commercial_ok,
        "weights": weights_state(model.name),
    }
