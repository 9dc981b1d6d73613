"""From search documents to strips: the faces that go on a sheet, what is written below them, and their pictures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import PIL.Image
from PIL import ImageOps

from faceindex.errors import FaceIndexError
from faceindex.types import Image
from faceindex.wording import percent, visible

TILE_PX = 160
"""Width and height of a face on a sheet."""
MARGIN = 0.35
"""Share of a face's longer side that is shown around it, on each side: hair and chin help a person judge."""
GREEN, GREY, INK, PAPER, EMPTY = "#1a7f37", "#7d848c", "#1f2328", "#ffffff", "#d8dce0"
LEGEND = "A green frame marks what reaches the threshold."

Document = Mapping[str, Any]
Place = tuple[str, tuple[float, ...] | None]
"""A photo's path, and a box in it; None for all of the photo."""
Pictures = Mapping[Place, PIL.Image.Image | str]
"""For each place what is there, `TILE_PX` wide and high, or why it cannot be shown."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A face on the sheet, with what is written below it."""

    place: Place
    title: str
    lines: tuple[str, ...]
    green: bool


@dataclass(frozen=True, slots=True)
class Strip:
    """A face that was searched, and its candidates."""

    probe: Tile
    verdict: str
    candidates: tuple[Tile, ...]


def heading(documents: Sequence[Document]) -> str:
    """Return what was searched: catalog, generation, size and model."""
    told = {(d["catalog"], d["generation"], d["gallery_size"], d["model"]) for d in documents}
    return "; ".join(
        f"{visible(catalog)}, generation {generation}, {size:,} faces, {visible(model)}"
        for catalog, generation, size, model in sorted(told)
    )


def strips_of(document: Document) -> Iterator[Strip]:
    """Yield a strip for each face of a search document, or one that says that there is no face."""
    query = document["query"]
    source = query.get("image") or f"row {query['row']} of {query['vectors']}"
    title = visible(source)
    if not document["faces"]:
        yield Strip(Tile((source, None), title, (_ending(source), "no face found"), False), "no face", ())
    for face in document["faces"]:
        identified = face["decision"] == "identified"
        box = face["box"]
        rate = "set by hand" if face["fpir"] is None else f"for fpir {face['fpir']:g}"
        lines = (_ending(source), f"threshold {face['threshold']:.3f}", rate)
        probe = Tile((source, tuple(box) if box else None), title, lines, identified)
        verdict = visible(face["person"] or "identified") if identified else "not recognised"
        yield Strip(probe, verdict, tuple(_candidate(found, face) for found in face["candidates"]))


def _candidate(found: Document, face: Document) -> Tile:
    lines = (
        f"{found['rank']}.   {found['similarity']:.3f}   {percent(found['probability'])}",
        _ending(found["photo"]),
        visible(found["person"] or ""),
    )
    accepted = face["decision"] == "identified" and found["similarity"] >= face["threshold"]
    box = tuple(found["box"]) if found["box"] else None
    return Tile((found["photo"], box), visible(found["photo"]), lines, accepted)


def _ending(path: str) -> str:
    """Return the last two names of a path: file names repeat in archives, and whole paths do not fit."""
    return visible("/".join(path.rsplit("/", 2)[-2:]))


def cut(strips: Sequence[Strip], load_photo: Callable[[str], Image]) -> Pictures:
    """Return a tile's picture for each place, or why there is none."""
    boxes: dict[str, set[Place]] = {}
    for strip in strips:
        for tile in (strip.probe, *strip.candidates):
            boxes.setdefault(tile.place[0], set()).add(tile.place)
    pictures: dict[Place, PIL.Image.Image | str] = {}
    for path, places in boxes.items():
        try:
            photo = PIL.Image.fromarray(load_photo(path).pixels)
        except FaceIndexError as error:
            pictures.update(dict.fromkeys(places, visible(str(error).removeprefix(f"{path}: "))))
        else:
            pictures.update({place: _tile_picture(photo, place[1]) for place in places})
    return pictures


def _tile_picture(photo: PIL.Image.Image, box: tuple[float, ...] | None) -> PIL.Image.Image:
    """Return a face with its margin, or all of a photo, on a square of `TILE_PX`."""
    if box is None:
        return ImageOps.pad(photo, (TILE_PX, TILE_PX), PIL.Image.Resampling.LANCZOS, EMPTY)
    x0, y0, x1, y1 = box
    longer = max(x1 - x0, y1 - y0, 2)
    # Less margin where the photo ends; paper is shown only where the face itself reaches over the edge.
    side = round(min(longer * (1 + 2 * MARGIN), max(longer, min(photo.size))))
    left, top = (
        _inside(round((low + high - side) / 2), side, length)
        for low, high, length in zip((x0, y0), (x1, y1), photo.size, strict=True)
    )
    square = PIL.Image.new("RGB", (side, side), EMPTY)
    there = (max(0, left), max(0, top), min(photo.width, left + side), min(photo.height, top + side))
    square.paste(photo.crop(there), (max(0, -left), max(0, -top)))
    return square.resize((TILE_PX, TILE_PX), PIL.Image.Resampling.LANCZOS)


def _inside(start: int, side: int, length: int) -> int:
    """Return the start moved so that the side lies within the length, or about its middle where it is too long."""
    return (length - side) // 2 if side > length else min(max(0, start), length - side)
