"""`faceindex label`."""

import rich_click as click

from faceindex.cli.options import catalog_option


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8642, show_default=True, help="0 takes a free one.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@catalog_option
def label(port: int, no_browser: bool, catalog: str) -> None:
    """Open pages on which unknown faces are named and mistakes put right.

    They are served to this computer only, and to who has the key in the address that is printed, until Ctrl-C. What
    is said there is kept at once and can be undone.
    """
    import webbrowser
    from threading import Timer

    from faceindex.catalog.catalog import Catalog
    from faceindex.machine import user_name
    from faceindex.service.access import Access
    from faceindex.service.app import create_app
    from faceindex.service.archive import Archive
    from faceindex.service.security import new_key
    from faceindex.service.serving import address_of, listen, run

    key = new_key()
    app = create_app(Archive(Catalog.open(catalog)), Access(user_name(), key=key))
    with listen("127.0.0.1", port) as listening:
        address = f"{address_of(listening)}?key={key}"
        click.echo(address)
        click.echo("Ctrl-C stops it", err=True)
        if not no_browser:
            opening = Timer(0.8, webbrowser.open, [address])
            opening.daemon = True
            opening.start()
        run(app, listening)
