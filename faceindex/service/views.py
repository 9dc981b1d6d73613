"""What pages show of people and faces, from a snapshot of the catalog: plain values, no HTML and no pixels."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from os import fsdecode
from typing import Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
from blake3 import blake3

from faceindex.arrays import ids_array
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import Generation
from faceindex.catalog.live import rows_of
from faceindex.errors import NothingFoundError
from faceindex.faces.prominence import by_prominence
from faceindex.identities.people import EDGES, People
from faceindex.identities.selection import Clusters
from faceindex.tables import IMPORTED, from_id_column
from faceindex.wording import visible

FACES_A_PAGE = 500
LISTED_A_PAGE = 36
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


@dataclass(frozen=True, slots=True)
class Group:
    """Faces of a cluster that have no name."""

    cluster: int
    places: tuple[int, ...]
    near: str | None
    """Who most named faces of the cluster are; None where there are none, or a face was said to be somebody else."""


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group of unknown faces in a list."""

    cluster: int
    count: int
    covers: list[FaceView]
    near: str | None
    """Who the rest of the cluster is."""


@dataclass(frozen=True, slots=True)
class GroupPage:
    """One group with its faces, and its neighbours in the list."""

    group: GroupView
    faces: Paged[FaceView]
    digest: str
    """Of all faces of the group: what is said of a group that has changed since it was shown is refused."""
    position: int
    """In the list, from 0."""
    groups: int
    before: GroupView | None
    after: GroupView | None


@dataclass(frozen=True, slots=True)
class PersonView:
    """A person in a list."""

    name: str
    count: int
    covers: list[FaceView]


@dataclass(frozen=True, slots=True)
class PersonPage:
    """A person's faces, the latest first."""

    name: str
    faces: Paged[FaceView]
    by_year: list[tuple[str, list[FaceView]]]
    photos: int
    digest: str


@dataclass(frozen=True, slots=True)
class PhotoPage:
    """A photo with its faces, the most prominent first."""

    photo_id: str
    file: str
    path: str
    """Safe to show."""
    width: int
    height: int
    day: str
    faces: list[FaceView]
    imported: bool
    """Whether only embeddings came, and no photo."""


_groups: "WeakKeyDictionary[People, tuple[Clusters, list[Group]]]" = WeakKeyDictionary()


def groups_of(snapshot: Snapshot) -> list[Group]:
    """Return the groups of unknown faces, the largest first; worked out once for each state of the ledger."""
    known = _groups.get(snapshot.people)
    if known is None or known[0] is not snapshot.clusters:
        names = snapshot.people.names
        free = (
            (number, places, tuple(place for place in places if place not in names))
            for number, places in snapshot.clusters.items()
        )
        groups = [Group(number, left, _near(snapshot.people, places, left)) for number, places, left in free if left]
        groups.sort(key=lambda group: (-len(group.places), group.cluster))
        known = (snapshot.clusters, groups)
        _groups[snapshot.people] = known
    return known[1]


def unknown_page(snapshot: Snapshot, page: int) -> Paged[GroupView]:
    """Return a page of the groups of unknown faces."""
    groups = groups_of(snapshot)
    first, pages = first_of(len(groups), LISTED_A_PAGE, page)
    return Paged(group_views(snapshot, groups[first : first + LISTED_A_PAGE]), page, pages, len(groups))


def group_views(snapshot: Snapshot, groups: Sequence[Group]) -> list[GroupView]:
    """Return groups with the faces that stand for them."""
    covers = _covers(snapshot, [group.places for group in groups])
    return [
        GroupView(group.cluster, len(group.places), faces, group.near)
        for group, faces in zip(groups, covers, strict=True)
    ]


def find_group(snapshot: Snapshot, cluster: int) -> tuple[int, Group]:
    """Return the faces of a cluster without a name, and their position in the list.

    Raises:
        NothingFoundError: there are none.
    """
    for position, group in enumerate(groups_of(snapshot)):
        if group.cluster == cluster:
            return position, group
    raise NothingFoundError(f"group {cluster} has no face left without a name")


def group_page(snapshot: Snapshot, cluster: int, page: int = 1) -> GroupPage:
    """Return a group with a page of its faces, the best first; raises `NothingFoundError` when there is none."""
    groups = groups_of(snapshot)
    position, group = find_group(snapshot, cluster)
    near = [groups[at] if 0 <= at < len(groups) else None for at in (position - 1, position + 1)]
    views = iter(group_views(snapshot, [one for one in (group, *near) if one]))
    shown = next(views)
    before, after = (next(views) if one else None for one in near)
    faces = sorted(face_views(snapshot, group.places), key=lambda face: (-face.quality, face.face_id))
    return GroupPage(shown, _page(faces, page), digest_of(snapshot, group.places), position, len(groups), before, after)


def person_list(snapshot: Snapshot, page: int, wanted: str = "") -> Paged[PersonView]:
    """Return a page of the people whose names hold some letters, those with most faces first."""
    names = [name for name in people_by_count(snapshot) if wanted.casefold() in name.casefold()]
    first, pages = first_of(len(names), LISTED_A_PAGE, page)
    return Paged(person_views(snapshot, names[first : first + LISTED_A_PAGE]), page, pages, len(names))


def people_by_count(snapshot: Snapshot) -> list[str]:
    """Return all names, of those with most faces first."""
    counts = snapshot.people.counts
    return sorted(counts, key=lambda name: (-counts[name], name))


def person_views(snapshot: Snapshot, names: Sequence[str]) -> list[PersonView]:
    """Return people with the faces that stand for them."""
    places: dict[str, list[int]] = {name: [] for name in names}
    for place, name in snapshot.people.names.items():
        if name in places:
            places[name].append(place)
    covers = _covers(snapshot, list(places.values()))
    return [PersonView(name, len(places[name]), faces) for name, faces in zip(names, covers, strict=True)]


def person_page(snapshot: Snapshot, name: str, page: int = 1) -> PersonPage:
    """Return a person with a page of the faces.

    Raises:
        NothingFoundError: nobody is called so.
    """
    if name not in snapshot.people.everybody:
        raise NothingFoundError(f"nobody is called {visible(name)}")
    places = snapshot.people.faces_of(name)
    faces = sorted(face_views(snapshot, places), key=lambda face: (face.day, face.quality, face.face_id), reverse=True)
    shown = _page(faces, page)
    years: dict[str, list[FaceView]] = {}
    for face in shown.items:
        years.setdefault(face.day[:4], []).append(face)
    photos = len({face.photo_id for face in faces})
    return PersonPage(name, shown, list(years.items()), photos, digest_of(snapshot, places))


def photo_page(snapshot: Snapshot, photo_id: str) -> PhotoPage:
    """Return a photo with its faces.

    Raises:
        NothingFoundError: no live photo has this id.
    """
    people = snapshot.people
    try:
        wanted = ids_array([bytes.fromhex(photo_id)])
        [row] = rows_of(people.view, wanted).tolist()
    except (ValueError, TypeError):
        row = -1
    if row < 0:
        raise NothingFoundError("no photo of the catalog has this id")
    photo = people.view.slice(row, 1).to_pylist()[0]
    places = people.rows.in_photos(pa.array([photo["photo_id"]], people.view["photo_id"].type))
    faces = face_views(snapshot, places.tolist())
    width, height = photo["width"] or 0, photo["height"] or 0
    if faces and all(face.box for face in faces):
        boxes = np.array([face.box for face in faces], np.float32)
        faces = [faces[index] for index in by_prominence(boxes, width, height).tolist()]
    path = visible(fsdecode(photo["path"]))
    day = (photo["captured_at"] or "")[:10]
    imported = photo["path"].startswith(IMPORTED)
    return PhotoPage(photo_id, path.rpartition("/")[2], path, width, height, day, faces, imported)


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


def _covers(snapshot: Snapshot, groups: Sequence[Sequence[int]]) -> list[list[FaceView]]:
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


def _near(people: People, cluster: Sequence[int], free: Sequence[int]) -> str | None:
    names = Counter(people.names[place] for place in cluster if place in people.names)
    if not names:
        return None
    name = min(names, key=lambda one: (-names[one], one))
    refused = any((people.spoken_of.get(place, b""), name) in people.state.rejected for place in free)
    return None if refused else name


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


def _page(items: list[T], page: int) -> Paged[T]:
    first, pages = first_of(len(items), FACES_A_PAGE, page)
    return Paged(items[first : first + FACES_A_PAGE], page, pages, len(items))
