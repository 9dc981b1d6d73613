"""What pages show of people and faces, from a snapshot of the catalog: plain values, no HTML and no pixels."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from os import fsdecode
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa

from faceindex.arrays import ids_array
from faceindex.catalog.live import rows_of
from faceindex.errors import NothingFoundError
from faceindex.faces.prominence import by_prominence
from faceindex.identities.people import People
from faceindex.identities.selection import Clusters
from faceindex.service.faces import FaceView, Paged, Snapshot, covers, digest_of, face_views, first_of, page_of
from faceindex.tables import IMPORTED
from faceindex.wording import visible

LISTED_A_PAGE = 36


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
    shown = covers(snapshot, [group.places for group in groups])
    return [
        GroupView(group.cluster, len(group.places), faces, group.near)
        for group, faces in zip(groups, shown, strict=True)
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
    return GroupPage(
        shown, page_of(faces, page), digest_of(snapshot, group.places), position, len(groups), before, after
    )


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
    shown = covers(snapshot, list(places.values()))
    return [PersonView(name, len(places[name]), faces) for name, faces in zip(names, shown, strict=True)]


def person_page(snapshot: Snapshot, name: str, page: int = 1) -> PersonPage:
    """Return a person with a page of the faces.

    Raises:
        NothingFoundError: nobody is called so.
    """
    if name not in snapshot.people.everybody:
        raise NothingFoundError(f"nobody is called {visible(name)}")
    places = snapshot.people.faces_of(name)
    faces = sorted(face_views(snapshot, places), key=lambda face: (face.day, face.quality, face.face_id), reverse=True)
    shown = page_of(faces, page)
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


def _near(people: People, cluster: Sequence[int], free: Sequence[int]) -> str | None:
    names = Counter(people.names[place] for place in cluster if place in people.names)
    if not names:
        return None
    name = min(names, key=lambda one: (-names[one], one))
    refused = any((people.spoken_of.get(place, b""), name) in people.state.rejected for place in free)
    return None if refused else name
