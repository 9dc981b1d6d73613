"""The report of a run as one HTML page for the morning: a single file without scripts that fetches nothing."""

import base64
import html
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import numpy as np
import PIL.Image

from faceindex.catalog.generations import Generation
from faceindex.errors import ItemError
from faceindex.images.jpeg import salvage_jpeg
from faceindex.images.read import read_photo
from faceindex.types import PhotoRef, PhotoResult, PhotoState
from faceindex.wording import visible

MOST_LISTED = 500
"""Quarantined photos on the page; all of them are in report.json."""

MOST_PICTURES = 48
"""Of those, how many are shown: enough to see what is wrong, and a page of less than a megabyte."""

PICTURE_PX = 96
SHOWN_STATES = frozenset((PhotoState.TRUNCATED, PhotoState.UNREADABLE))
"""What a decoder got something out of, without coming to harm."""

LARGEST_BYTES = 50_000_000
"""Larger files are not read again for a picture of a few pixels."""

CHART = (640, 120)
"""Width and height in pixels of the picture of rates."""

MOST_BARS = 60
BATCHES_A_BAR = 3
"""Batches end together, as workers do alike: a rate is one of several."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5d6775; --paper: #ffffff; --line: #dfe3e8; --mark: #2864c8 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8ebef; --soft: #9aa4b2; --paper: #14181e; --line: #2d343e; --mark: #78a9ff } }
body { font: 16px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  padding: 16px; max-width: 60rem; overflow-wrap: anywhere }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse } td, th { text-align: left; padding: 4px 16px 4px 0; vertical-align: top }
tr + tr { border-top: 1px solid var(--line) } td.number { text-align: right; font-variant-numeric: tabular-nums }
.soft, th { color: var(--soft); font-weight: 400 } img { display: block; border-radius: 4px }
svg { width: 100%; height: auto } rect { fill: var(--mark) }
.figures { display: flex; flex-wrap: wrap; gap: 0 4rem } .quarantined td:last-child { width: 100% }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem }
"""


def run_page(document: Mapping[str, Any], generation: Generation, timeline: Sequence[tuple[float, int]]) -> str:
    """Return the page.

    Args:
        document: `faceindex.run/1`.
        generation: what the run published.
        timeline: seconds since the run began, ascending, and photos done by then.
    """
    changes = [(name, count) for name, count in document["changes"].items() if count]
    stages = sorted(document["stage_seconds"].items(), key=lambda item: -item[1])
    parts = [
        f"<h1>Run {_text(document['run'])}</h1>",
        f"<p>{document['embedded']:,} photos read in {document['seconds']:,.1f} s, "
        f"{document['photos_per_second']:,.1f} a second; {document['unchanged']:,} unchanged, "
        f"{document['removed']:,} removed, {len(document['quarantined']):,} quarantined. Generation "
        f"{generation.number} is served, with {generation.face_count:,} faces.</p>",
        f'<p class="soft">{_text(document["catalog"])}<br>{_text(_minute(generation.created_at))}, faceindex '
        f"{_text(generation.faceindex)}, {_text(generation.model)}</p>",
        '<div class="figures">',
        _table("Photos in the catalog", sorted(document["photos"].items(), key=lambda item: -item[1])),
        _table("Since the last run", changes),
        _table("The index", _figures(generation)),
        _table("Seconds, of all processes", [(name, f"{seconds:,.1f}") for name, seconds in stages]),
        "</div>",
        _chart(timeline),
        _table("Folders that could not be listed", [(problem, "") for problem in document["unlisted"]]),
        _quarantined(document["quarantined"]),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>faceindex run</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        f"<style>{_STYLE}</style></head>\n<body><main>\n{chr(10).join(part for part in parts if part)}\n"
        "</main></body></html>\n"
    )


def thumbnails(results: Iterable[PhotoResult]) -> dict[str, str]:
    """Return small pictures of photos that could not be read to their end, as base64 of a JPEG, by path.

    Args:
        results: what became of photos; those read to the end are passed over.
    """
    found: dict[str, str] = {}
    for result in results:
        if len(found) == MOST_PICTURES:
            break
        # Without an id it could not be read at all, and trying again takes its time.
        if result.state in SHOWN_STATES and result.photo_id and result.ref.size_bytes <= LARGEST_BYTES:
            picture = _picture(result.ref)
            if picture:
                found[result.ref.path.decode("utf-8", "replace")] = picture
    return found


def _picture(ref: PhotoRef) -> str | None:
    """Return what can be seen of a JPEG, as base64; None of anything else."""
    try:
        pixels = salvage_jpeg(read_photo(ref), PICTURE_PX)
    except (ItemError, ValueError):
        return None
    picture = PIL.Image.fromarray(pixels)
    picture.thumbnail((PICTURE_PX, PICTURE_PX))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return base64.b64encode(file.getvalue()).decode("ascii")


def _figures(generation: Generation) -> list[tuple[str, Any]]:
    recipe = [("kind", generation.recipe.factory), ("shards", len(generation.shards))]
    if generation.quality is None:
        return recipe
    quality = generation.quality
    return [
        *recipe,
        ("recall of the first 10", f"{quality.recall_at_10:.3f}"),
        ("first as exact search", f"{quality.first_agreement:.3f}"),
        ("a search, in a batch", f"{quality.search_ms:.2f} ms"),
    ]


def _table(title: str, rows: Sequence[tuple[str, Any]]) -> str:
    if not rows:
        return ""
    shown = "".join(
        f'<tr><th scope="row">{_text(name)}</th><td class="number">{_number(value)}</td></tr>' for name, value in rows
    )
    return f"<section><h2>{title}</h2>\n<table>{shown}</table></section>"


def _chart(timeline: Sequence[tuple[float, int]]) -> str:
    """Return photos a second over the run, as a picture; nothing of a run too short to have a course."""
    bars = min(MOST_BARS, len(timeline) // BATCHES_A_BAR)
    if bars < 2:
        return ""
    at, done = np.array(timeline).T
    edges = np.linspace(at[0], at[-1], bars + 1)
    rates = np.maximum(np.diff(np.interp(edges, at, done)) / np.maximum(np.diff(edges), 1e-9), 0)
    (width, height), most, slowest = CHART, float(rates.max()), float(rates.min())
    step = width / bars
    shown = "".join(
        f'<rect x="{place * step:.1f}" y="{height - high:.1f}" width="{step - 1:.1f}" height="{high:.1f}"/>'
        for place, high in enumerate(rates / max(most, 1e-9) * height)
    )
    told = f"over {at[-1]:,.0f} s, between {slowest:,.1f} and {most:,.1f}"
    return (
        f'<h2>Photos a second</h2>\n<svg viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="photos a second {told}">{shown}</svg>\n<p class="soft">{told}</p>'
    )


def _quarantined(rows: Sequence[Mapping[str, str]]) -> str:
    """Return the photos that could not be processed, by what became of them."""
    if not rows:
        return ""
    counts = Counter(row["state"] for row in rows)
    shown = sorted(rows[:MOST_LISTED], key=lambda row: (-counts[row["state"]], row["state"]))
    parts = [
        f'<h3>{_text(state)}, {counts[state]:,}</h3>\n<table class="quarantined">{_photos(list(group))}</table>'
        for state, group in groupby(shown, key=lambda row: row["state"])
    ]
    more = f"<p>and {len(rows) - MOST_LISTED:,} more in report.json</p>" if len(rows) > MOST_LISTED else ""
    return f"<h2>Quarantined photos</h2>\n{''.join(parts)}{more}"


def _photos(rows: Sequence[Mapping[str, str]]) -> str:
    pictures = any(row.get("thumbnail") for row in rows)
    return "".join(
        f"<tr>{'<td>' + _image(row.get('thumbnail')) + '</td>' if pictures else ''}"
        f'<td>{_text(row["photo"])}<br><span class="soft">{_text(row["detail"])}</span></td></tr>'
        for row in rows
    )


def _image(picture: str | None) -> str:
    return f'<img src="data:image/jpeg;base64,{picture}" alt="what can be seen of it">' if picture else ""


def _minute(moment: str) -> str:
    """Return a moment in ISO 8601 as people write it."""
    return f"{datetime.fromisoformat(moment).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else _text(value)


def _text(value: object) -> str:
    # `bdi` keeps a name in a right-to-left script from moving the text around it.
    return f"<bdi>{html.escape(visible(str(value)))}</bdi>"
