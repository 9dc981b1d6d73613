"""Faces as pages show them, and lists of them in pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import fsdecode
from typing import Generic, Protocol, TypeVar

import numpy as np
from blake3 import blake3

from faceindex.arrays import ids_array
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import Generation
from faceindex.catalog.live import rows_of
from faceindex.errors import NothingFoundError
from faceindex.identities.people import EDGES, People
from faceindex.identities.selection import Clusters
from faceindex.tables import IMPORTED, from_id_column
from faceindex.wording import visible

FACES_A_PAGE = 500
COVERS = 4
"""Faces that stand for a group or a person in a list."""

T = TypeVar("T")


class Snapshot(Protocol):
    """A generation, and who is who in it, at one moment."""

    @property
    def catalog(self) -> Catalog:
        """Where it is from."""

    @property
    def generation(self) -> Generation:
        """Which generation is served."""

    @property
    def people(self) -> People:
        """Who is who."""

    @property
    def clusters(self) -> Clusters:
        """The clusters as the ledger has them now."""


@dataclass(frozen=True, slots=True)
class Paged(Generic[T]):
    """One page of a longer list; pages count from 1."""

    items: list[T]
    page: int
    pages: int
    total: int


@dataclass(frozen=True, slots=True)
class FaceView:
    """A face as a small picture."""

    face_id: str
    photo_id: str
    quality: float
    day: str
    """When the photo was taken, YYYY-MM-DD; empty where unknown."""
    file: str
    """Name of the photo's file, safe to show."""
    person: str | None
    box: tuple[float, float, float, float] | None
    """x0, y0, x1, y1 in pixels of the upright photo; None for an imported embedding."""


def face_views(snapshot: Snapshot, places: Sequence[int]) -> list[FaceView]:
    """Return faces in the order of their places."""
    if not places:
        return []
    people = snapshot.people
    rows = people.rows.take(np.array(places, np.int64))
    photos = people.view.select(["path", "captured_at"]).take(rows_of(people.view, from_id_column(rows["photo_id"])))
    edges = np.column_stack([rows[edge].to_numpy() for edge in EDGES]).astype(float).round(1)
    columns = (rows["face_id"], rows["photo_id"], rows["quality"], photos["path"], photos["captured_at"])
    return [
        FaceView(
            face_id=face_id.hex(),
            photo_id=photo_id.hex(),
            quality=quality,
            day=(taken or "")[:10],
            file=visible(fsdecode(path.rpartition(b"/")[2])),
            person=people.names.get(place),
            box=None if path.startswith(IMPORTED) else (box[0], box[1], box[2], box[3]),
        )
        for place, box, (face_id, photo_id, quality, path, taken) in zip(
            places, edges.tolist(), zip(*(column.to_pylist() for column in columns), strict=True), strict=True
        )
    ]


def covers(snapshot: Snapshot, groups: Sequence[Sequence[int]]) -> list[list[FaceView]]:
    """Return the best faces of each group; the rows of all groups are read at once."""
    flat = [place for places in groups for place in places]
    if not flat:
        return [[] for _ in groups]
    quality = snapshot.people.rows.take(np.array(flat, np.int64))["quality"].to_numpy()
    chosen: list[list[int]] = []
    start = 0
    for places in groups:
        part = quality[start : start + len(places)]
        chosen.append([places[index] for index in np.argsort(-part, kind="stable")[:COVERS].tolist()])
        start += len(places)
    views = iter(face_views(snapshot, [place for places in chosen for place in places]))
    return [[next(views) for _ in places] for places in chosen]


def places_of(people: People, face_ids: Sequence[str]) -> tuple[int, ...]:
    """Return the places of some faces.

    Raises:
        NothingFoundError: one is not in the catalog any more.
    """
    places = tuple(dict.fromkeys(_place(people, one) for one in face_ids))
    if -1 in places:
        raise NothingFoundError("a face that was meant is not in the catalog any more; look at the page again")
    return places


def photos_of(snapshot: Snapshot, face_ids: Sequence[str]) -> dict[str, str]:
    """Return the id of the photo of each face, by face id; faces that live no more are missing."""
    places = snapshot.people.rows.find(ids_array([bytes.fromhex(one) for one in face_ids]))
    there = [face for face, place in zip(face_ids, places.tolist(), strict=True) if place >= 0]
    rows = snapshot.people.rows.take(places[places >= 0])
    return {face: photo.hex() for face, photo in zip(there, rows["photo_id"].to_pylist(), strict=True)}


def digest_of(snapshot: Snapshot, places: Sequence[int]) -> str:
    """Return a short digest of a set of faces."""
    return blake3(np.sort(snapshot.people.rows.ids(np.array(places, np.int64)).view("S16")).tobytes()).hexdigest(8)


def _place(people: People, face_id: str) -> int:
    try:
        [place] = people.rows.find(ids_array([bytes.fromhex(face_id)])).tolist()
    except (ValueError, TypeError):
        return -1
    return int(place)


def first_of(total: int, size: int, page: int) -> tuple[int, int]:
    """Return where a page begins, and how many there are; raises `NothingFoundError` beyond the last."""
    pages = max(1, -(-total // size))
    if not 1 <= page <= pages:
        raise NothingFoundError(f"there are {pages} pages, page {page} was wanted")
    return (page - 1) * size, pages


def page_of(items: list[T], page: int) -> Paged[T]:
    """Return a page of faces; raises `NothingFoundError` beyond the last."""
    first, pages = first_of(len(items), FACES_A_PAGE, page)
    return Paged(items[first : first + FACES_A_PAGE], page, pages, len(items))
