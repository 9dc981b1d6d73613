"""`faceindex serve`."""

import rich_click as click

from faceindex.cli.options import catalog_option, device_option


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8642, show_default=True, help="0 takes a free one.")
@click.option("--allow-host", multiple=True, metavar="NAME", help="A name others call it by; may be given again.")
@device_option
@catalog_option
def serve(host: str, port: int, allow_host: tuple[str, ...], device: str, catalog: str) -> None:
    """Serve the HTTP API and the labelling pages.

    Programs find the API described at /api/v1/openapi.json. By default only this computer is served. On any other
    address, and wherever the catalog has tokens, every request needs one: see `faceindex token create`. It speaks plain
    HTTP; towards other computers put a server with TLS before it.
    """
    import shlex

    from faceindex.catalog.catalog import Catalog
    from faceindex.errors import ConfigError
    from faceindex.machine import user_name
    from faceindex.service.access import Access
    from faceindex.service.app import LOOPBACK, create_app
    from faceindex.service.archive import Archive
    from faceindex.service.serving import address_of, listen, run
    from faceindex.service.tokens import TokenStore

    opened = Catalog.open(catalog)
    tokens = TokenStore(opened.files)
    local = host in LOOPBACK
    if not local and not tokens:
        raise ConfigError(
            f"serving on {host} lets others in, and the catalog has no token; make one first: "
            f"faceindex token create NAME --scope label -c {shlex.quote(catalog)}"
        )
    access = Access(user_name(), tokens=tokens, open_to_local=local)
    with listen(host, port) as listening:
        app = create_app(Archive(opened, device), access, {*LOOPBACK, host, *(one.lower() for one in allow_host)})
        click.echo(address_of(listening))
        click.echo("Ctrl-C stops it" if local else "tokens travel unencrypted; Ctrl-C stops it", err=True)
        run(app, listening)
