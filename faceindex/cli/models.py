"""`faceindex models list|fetch|verify`."""

from typing import TYPE_CHECKING, Any

import rich_click as click

from faceindex.cli.options import console, json_option, print_json, printable

if TYPE_CHECKING:
    from faceindex.faces.models import Model

COLOURS = {"ready": "green", "missing": "dim", "damaged": "red"}


@click.group()
def models() -> None:
    """List, fetch and verify the networks that find and embed faces."""


@models.command("list")
@json_option
def list_models(as_json: bool) -> None:
    """Show every model: what it is, its licence, and whether its weights are on this machine.

    A detector can also be a file, named onnx:FILE: YuNet, SCRFD, Ultra-Light or BlazeFace, recognised by its outputs.
    """
    from rich.table import Table

    from faceindex.faces.models import MODELS, verify

    states = {name: verify(name) for name in MODELS}
    if as_json:
        _print_document(states)
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("model", "kind", "weights", "commercial use", "licence", "what it is"):
        table.add_column(column, no_wrap=column in ("model", "weights"))
    for name, state in states.items():
        model = MODELS[name]
        table.add_row(name, model.kind, _coloured(state), model.commercial_ok, model.licence, model.summary)
    console().print(table)


@models.command("fetch")
@click.argument("name")
def fetch_model(name: str) -> None:
    """Download a model's weights, check them and keep them; nothing else ever downloads any."""
    from faceindex.faces.models import fetch, find

    model = find(name)
    console(stderr=True).print(f"{name}: {model.licence}; commercial use: {model.commercial_ok}")
    file = fetch(name)
    out = console()
    if file is None:
        out.print(f"nothing to fetch: the weights of {name} come with a package that is installed")
        return
    out.print(printable(str(file.path)))
    known = "as published" if model.sha256 else "noted at the first download; every later one must have it"
    out.print(f"sha256 of the download: {file.published_sha256} ({known})")


@models.command("verify")
@click.argument("name", required=False)
@json_option
@click.pass_context
def verify_models(ctx: click.Context, name: str | None, as_json: bool) -> None:
    """Read the weights of one model or all, and tell whether they are what they should be.

    Exit code 0: nothing is damaged. 1: weights are damaged, or those asked for by name are missing.
    """
    from faceindex.faces.models import MODELS, verify

    states = {model: verify(model) for model in ([name] if name else MODELS)}
    if as_json:
        _print_document(states)
    else:
        out = console()
        for model, state in states.items():
            hint = "" if state == "ready" else f"; {_remedy(MODELS[model])}"
            out.print(f"{model}: {_coloured(state)}{hint}")
    if "damaged" in states.values() or (name and states[name] != "ready"):
        ctx.exit(1)


def _print_document(states: dict[str, Any]) -> None:
    from faceindex.faces.models import MODELS

    rows = [
        {
            "name": name,
            "kind": MODELS[name].kind,
            "summary": MODELS[name].summary,
            "licence": MODELS[name].licence,
            "commercial_ok": MODELS[name].commercial_ok,
            "dimension": MODELS[name].dimension,
            "weights": state,
        }
        for name, state in states.items()
    ]
    print_json({"schema": "faceindex.models/1", "models": rows})


def _remedy(model: "Model") -> str:
    if model.url:
        return f"run: faceindex models fetch {model.name}"
    return "install its package again" if model.files else "give its file with --weights"


def _coloured(state: str) -> str:
    return f"[{COLOURS[state]}]{state}[/]"
