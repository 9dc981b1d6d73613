"""People of a few made-up faces, as of what was said of them."""

from typing import Any

import pyarrow as pa

from faceindex.arrays import ids_array
from faceindex.identities.events import Event
from faceindex.identities.people import People
from faceindex.identities.rows import LiveRows
from faceindex.identities.state import state_of
from faceindex.tables import FACE_ROWS, PHOTOS_VIEW
from tests.support.speech import face

OUTSIDE = (0.0, 0.0, 10.0, 10.0)
HALF = (0.0, 0.0, 10.0, 6.0)


def row(number: int, photo: int | None = None, box: tuple[float, ...] = OUTSIDE) -> dict[str, Any]:
    edges = dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))
    return {"face_id": face(number), "photo_id": face(photo or 1000 + number), "confidence": 1, "quality": 1, **edges}


def seen(photo: int, path: bytes, person: str | None = None) -> dict[str, Any]:
    size = {"size_bytes": 1, "mtime_ns": 1, "state": "ok", "detail": "", "face_count": 1, "batch": "00"}
    return {"photo_id": face(photo), "path": path, "person": person, "width": 10, "height": 10, **size}


def people(
    *events: Event, rows: list[dict[str, Any]], views: list[dict[str, Any]] | None = None, dead: int = 0
) -> People:
    rows = sorted(rows, key=lambda one: one["face_id"])
    parts = [pa.Table.from_pylist(rows[start::2], FACE_ROWS) for start in (0, 1)]
    if views is None:
        numbers = sorted({int.from_bytes(one["photo_id"], "big") for one in rows})
        views = [seen(number, b"/%d.jpg" % number) for number in numbers]
    view = pa.Table.from_pylist(views, PHOTOS_VIEW).sort_by("photo_id")
    return People(LiveRows(parts, ids_array([face(dead)])), view, state_of(events))
