"""Many faces side by side, to see at a glance who does not belong."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import PIL.Image
from PIL import ImageDraw, ImageOps

from faceindex.sheet.drawing import write_text
from faceindex.sheet.strips import EMPTY, GREY, PAPER

COLUMNS = 10
MAX_FACES = 1000
SIDE_PX, GAP_PX, CAPTION_PX, HEAD_PX = 128, 12, 40, 40


@dataclass(frozen=True, slots=True)
class Crop:
    """A face and what is written below it."""

    jpeg: bytes | None
    """None where none was kept."""
    lines: tuple[str, ...]


def contact_sheet(crops: Sequence[Crop], heading: str) -> PIL.Image.Image:
    """Return faces in lines of `COLUMNS`, in order; at most `MAX_FACES` are meant to be given."""
    columns = max(4, min(COLUMNS, len(crops)))
    step, line_step = SIDE_PX + GAP_PX, SIDE_PX + GAP_PX + CAPTION_PX
    size = (GAP_PX + columns * step, HEAD_PX + -(-len(crops) // columns) * line_step)
    sheet = PIL.Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    write_text(draw, (GAP_PX, 12), heading, size[0] - 2 * GAP_PX)
    for number, crop in enumerate(crops):
        row, column = divmod(number, columns)
        x, y = GAP_PX + column * step, HEAD_PX + row * line_step
        end = (x + SIDE_PX - 1, y + SIDE_PX - 1)
        if crop.jpeg is None:
            draw.rectangle(((x, y), end), fill=EMPTY)
        else:
            picture = PIL.Image.open(io.BytesIO(crop.jpeg)).convert("RGB")
            sheet.paste(ImageOps.fit(picture, (SIDE_PX, SIDE_PX), PIL.Image.Resampling.LANCZOS), (x, y))
        draw.rectangle(((x, y), end), outline=GREY)
        for index, text in enumerate(crop.lines[:2]):
            write_text(draw, (x, y + SIDE_PX + 3 + index * 17), text, SIDE_PX)
    return sheet
