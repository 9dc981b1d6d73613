"""`faceindex token`."""

import rich_click as click

from faceindex.cli.options import catalog_option, console, json_option, print_json, printable

SCOPES = ("search", "label", "admin")


@click.group()
def token() -> None:
    """Let programs and people elsewhere use `faceindex serve`."""


@token.command()
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice(SCOPES),
    required=True,
    help="search: search, verify and status. label: also all that is known of people, to change it, and the pages. "
    "admin: also runs, quarantine, settings, metrics and the audit.",
)
@catalog_option
def create(name: str, scope: str, catalog: str) -> None:
    """Make a token and print it, this once; what is said with it is said by NAME."""
    from faceindex.catalog.catalog import Catalog
    from faceindex.service.tokens import Scope, TokenStore

    click.echo(TokenStore(Catalog.open(catalog).files).create(name, Scope[scope.upper()]))
    click.echo("keep it: it is stored as a digest only and cannot be printed again", err=True)


@token.command("list")
@catalog_option
@json_option
def list_(catalog: str, as_json: bool) -> None:
    """List the tokens."""
    from faceindex.catalog.catalog import Catalog
    from faceindex.service.tokens import TokenStore

    found = TokenStore(Catalog.open(catalog).files).list()
    rows = [{"name": one.name, "scope": one.scope, "created": one.created} for one in found]
    if as_json:
        print_json({"schema": "faceindex.tokens/1", "tokens": rows})
        return
    out = console()
    for row in rows:
        out.print(f"{printable(row['name'])}  {row['scope']}  {row['created'][:10]}")
    if not rows:
        out.print("no token; make one: faceindex token create NAME --scope search")


@token.command()
@click.argument("name")
@catalog_option
def revoke(name: str, catalog: str) -> None:
    """Let nobody in with a token any more, from now on."""
    from faceindex.catalog.catalog import Catalog
    from faceindex.service.tokens import TokenStore

    TokenStore(Catalog.open(catalog).files).revoke(name)
    click.echo(f"revoked {name}", err=True)
