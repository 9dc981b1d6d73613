"""`faceindex models list|fetch|verify`."""

import rich_click as click


@click.group()
def models() -> None:
    """List, fetch and verify the networks that find and embed faces."""
