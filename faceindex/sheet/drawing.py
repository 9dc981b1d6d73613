"""Strips as one picture."""

import textwrap
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import PIL.Image
from PIL import ImageDraw, ImageFont

from faceindex.errors import ConfigError
from faceindex.sheet.strips import EMPTY, GREEN, GREY, INK, LEGEND, PAPER, TILE_PX, Pictures, Strip, Tile

COLUMNS = 10
"""Candidates side by side; more go into further lines."""
MAX_HEIGHT_PX = 65_500
"""Largest height that JPEG can store, rounded down."""

_VERDICT_PX, _CAPTION_PX, _GAP_PX, _HEAD_PX, _FONT_PX = 24, 82, 14, 60, 13
_STEP_PX = TILE_PX + _GAP_PX
_LINE_PX = TILE_PX + _CAPTION_PX + _GAP_PX
_LEFT_PX = _STEP_PX + 3 * _GAP_PX
"""Where candidates begin; what was searched stands apart from them."""


def require_fit(strips: Sequence[Strip]) -> None:
    """Raise `ConfigError` when a picture of the strips would be too high."""
    height = _height(strips)
    if height > MAX_HEIGHT_PX:
        raise ConfigError(f"{len(strips)} faces make a picture {height} pixels high; write an .html page instead")


def drawing(strips: Sequence[Strip], pictures: Pictures, heading: str) -> PIL.Image.Image:
    """Return the picture; the heading says what was searched."""
    columns = max([min(COLUMNS, len(strip.candidates)) for strip in strips], default=0)
    width = _LEFT_PX + max(columns, 3) * _STEP_PX + _GAP_PX
    sheet = PIL.Image.new("RGB", (width, _height(strips)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate((heading, LEGEND)):
        write_text(draw, (_GAP_PX, 10 + number * (_FONT_PX + 4)), line, width - 2 * _GAP_PX)
    top = _HEAD_PX
    for strip in strips:
        draw.line((0, top - _GAP_PX // 2, width, top - _GAP_PX // 2), EMPTY)
        _draw_tile(sheet, draw, (_GAP_PX, top), strip.probe, pictures[strip.probe.place], strip.verdict)
        for index, tile in enumerate(strip.candidates):
            line_number, column = divmod(index, COLUMNS)
            corner = (_LEFT_PX + column * _STEP_PX, top + line_number * _LINE_PX)
            _draw_tile(sheet, draw, corner, tile, pictures[tile.place])
        top += _lines_of(strip) * _LINE_PX + _GAP_PX
    return sheet


def _lines_of(strip: Strip) -> int:
    return max(1, -(-len(strip.candidates) // COLUMNS))


def _height(strips: Sequence[Strip]) -> int:
    return _HEAD_PX + sum(_lines_of(strip) * _LINE_PX + _GAP_PX for strip in strips)


def _draw_tile(
    sheet: PIL.Image.Image,
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    tile: Tile,
    picture: PIL.Image.Image | str,
    verdict: str = "",
) -> None:
    x, y = corner
    end = (x + TILE_PX - 1, y + TILE_PX - 1)
    if isinstance(picture, str):
        draw.rectangle((corner, end), fill=EMPTY)
        for number, line in enumerate(textwrap.wrap(picture, 17)[:7]):
            write_text(draw, (x + 10, y + 10 + number * (_FONT_PX + 4)), line, TILE_PX - 20)
    else:
        sheet.paste(picture, corner)
    draw.rectangle((corner, end), outline=GREEN if tile.green else GREY, width=6 if tile.green else 2)
    y += TILE_PX
    if verdict:
        draw.rectangle((x, y, end[0], y + _VERDICT_PX), fill=GREEN if tile.green else GREY)
        write_text(draw, (x + 10, y + 4), verdict, TILE_PX - 20, PAPER)
        y += _VERDICT_PX
    for number, line in enumerate(tile.lines):
        write_text(draw, (x, y + 4 + number * (_FONT_PX + 4)), line, TILE_PX)


def write_text(draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, width: int, fill: str = INK) -> None:
    """Write one line, without its middle where it is too long: a folder's beginning and a name's end tell most."""
    shown, kept = text, len(text)
    while kept and draw.textlength(shown, _font()) > width:
        kept -= 1
        shown = f"{text[: kept // 2]}…{text[len(text) - (kept - kept // 2) :]}"
    draw.text(corner, shown, fill, _font())


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    # Pillow's own font has Latin letters only; matplotlib brings one with Greek, Cyrillic, Hebrew and Arabic.
    spec = find_spec("matplotlib")
    path = Path(spec.origin or "").parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf" if spec else None
    if path and path.is_file():
        return ImageFont.truetype(str(path), _FONT_PX)
    return ImageFont.load_default(_FONT_PX)
