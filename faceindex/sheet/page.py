"""Strips as one HTML page: a single file without scripts that fetches nothing."""

import base64
import html
import io
from collections.abc import Sequence

import PIL.Image

from faceindex.sheet.strips import EMPTY, GREEN, GREY, INK, LEGEND, PAPER, TILE_PX, Pictures, Strip, Tile

_STYLE = f"""
body {{ font: 14px/1.35 system-ui, sans-serif; color: {INK}; background: {PAPER}; margin: 24px }}
section {{ display: flex; gap: 24px; border-top: 1px solid {EMPTY}; padding: 16px 0; break-inside: avoid }}
figure {{ margin: 0; flex: none; width: {TILE_PX}px; overflow-wrap: anywhere }}
img, .gone {{ width: {TILE_PX}px; height: {TILE_PX}px; box-sizing: border-box; display: block;
  border: 2px solid {EMPTY}; border-radius: 6px }}
.gone {{ background: {EMPTY}; padding: 8px; font-size: 12px; overflow: hidden }}
.green > img, .green > .gone {{ border: 6px solid {GREEN} }}
.verdict {{ color: {PAPER}; background: {GREY}; border-radius: 6px; padding: 2px 8px; margin: 4px 0; text-align: center;
  font-weight: 600 }}
.green > .verdict {{ background: {GREEN} }}
.candidates {{ display: flex; flex-wrap: wrap; gap: 12px }}
bdi {{ display: block; white-space: pre-wrap }}
"""


def page(strips: Sequence[Strip], pictures: Pictures, heading: str) -> str:
    """Return the page; the heading says what was searched."""
    body = "\n".join(
        f'<section>{_figure(strip.probe, pictures, strip.verdict)}<div class="candidates">'
        f"{''.join(_figure(tile, pictures) for tile in strip.candidates)}</div></section>"
        for strip in strips
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>faceindex search</title>\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        f"<style>{_STYLE}</style></head>\n<body><p><bdi>{html.escape(heading)}</bdi>{LEGEND}</p>\n{body}\n</body></html>\n"
    )


def _figure(tile: Tile, pictures: Pictures, verdict: str = "") -> str:
    title = html.escape(tile.title)
    picture = pictures[tile.place]
    if isinstance(picture, str):
        shown = f'<div class="gone" title="{title}"><bdi>{html.escape(picture)}</bdi></div>'
    else:
        data = base64.b64encode(_jpeg(picture)).decode("ascii")
        shown = f'<img src="data:image/jpeg;base64,{data}" alt="{title}" title="{title}">'
    badge = f'<div class="verdict"><bdi>{html.escape(verdict)}</bdi></div>' if verdict else ""
    # `bdi` keeps a name in a right-to-left script from moving the text around it.
    text = "".join(f"<bdi>{html.escape(line)}</bdi>" for line in tile.lines if line)
    return f"<figure{' class=green' if tile.green else ''}>{shown}{badge}<figcaption>{text}</figcaption></figure>"


def _jpeg(picture: PIL.Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return file.getvalue()
