"""Who the faces of a generation are: what the ledger says, and the people that photos came with.

A face that the ledger names and the generation lacks, because another detector found it, is stood for by the face that
overlaps its box in the same photo. Reads the faces' rows and no embeddings.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES, ids_array
from faceindex.catalog import layout
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.files import Files
from faceindex.catalog.generations import Generation
from faceindex.catalog.live import open_view, read_tombstones
from faceindex.catalog.parquet import open_arrow
from faceindex.identities.events import FaceRef
from faceindex.identities.ledger import Ledger
from faceindex.identities.state import State
from faceindex.tables import FACE_ROWS, from_id_column

SAME_FACE_IOU = 0.5
"""Overlap from which boxes of two detectors are of one face, as in PASCAL VOC and WIDER FACE."""

EDGES = ("x0", "y0", "x1", "y1")


@dataclass(frozen=True, slots=True, eq=False)
class Constraints:
    """What a clustering must obey; V16 ids of faces of the generation, pairs (n, 2)."""

    must_link: NDArray[np.void]
    """Pairs that are one person: all named faces of each person in a chain, and faces said to be the same."""
    cannot_link: NDArray[np.void]
    """Pairs that are two people: faces said not to be the same, and rejected faces with each face of the person.

    Faces of two named people are not listed: their names differ.
    """
    left_out: NDArray[np.void]
    """(n,): faces that are ignored or none."""
    names: dict[bytes, str]
    """Person of each face that has one."""


class People:
    """Who is who among the live faces of one generation, as of one state of the ledger."""

    def __init__(self, faces: pa.Table, view: pa.Table, state: State) -> None:
        """Take the faces and say who they are.

        Args:
            faces: tables.FACE_ROWS of the live faces, by face id.
            view: tables.PHOTOS_VIEW of the same generation.
            state: what the ledger says.
        """
        self.faces = faces
        self.view = view
        self.state = state
        self.ids: NDArray[np.bytes_] = from_id_column(faces["face_id"]).view(f"S{ID_BYTES}")
        """S16 (n,), ascending."""

    @cached_property
    def places(self) -> dict[bytes, int]:
        """Where among the faces each face of the ledger stands; those that are gone are missing."""
        refs = list(self.state.refs.values())
        if not refs:
            return {}
        rows = positions(self.ids, ids_array([ref.face_id for ref in refs]).view(f"S{ID_BYTES}"))
        found = {ref.face_id: row for ref, row in zip(refs, rows.tolist(), strict=True) if row >= 0}
        lost = [ref for ref in refs if ref.face_id not in found]
        return found | self._taken_over(lost, set(found.values())) if lost else found

    @cached_property
    def spoken_of(self) -> dict[int, bytes]:
        """The face of the ledger that each face stands for, by its place."""
        return {place: face_id for face_id, place in self.places.items()}

    @cached_property
    def names(self) -> dict[int, str]:
        """Who each face is that has a name, by its place."""
        named = {place: self.state.names[face] for face, place in self.places.items() if face in self.state.names}
        return self._came_with() | named

    @cached_property
    def counts(self) -> Counter[str]:
        """Live faces of each person."""
        return Counter(self.names.values())

    @cached_property
    def everybody(self) -> set[str]:
        """All names, of people whose faces are gone too."""
        return set(self.counts) | set(self.state.names.values())

    def name_of(self, places: Iterable[int]) -> list[str | None]:
        """Return who some faces are, None where nobody said."""
        return [self.names.get(place) for place in places]

    def faces_of(self, person: str) -> list[int]:
        """Return the places of a person's faces."""
        return sorted(place for place, name in self.names.items() if name == person)

    def refs(self, places: Iterable[int]) -> tuple[FaceRef, ...]:
        """Return faces as the ledger keeps them; a face that stands for another keeps that one's id."""
        found = []
        for place in places:
            spoken = self.spoken_of.get(place)
            found.append(self.state.refs[spoken] if spoken else self._ref(place))
        return tuple(found)

    def photos_of(self, people: Iterable[str]) -> NDArray[np.bytes_]:
        """Return the ids of the photos that show any of these people, S16 (n,), ascending."""
        wanted = frozenset(people)
        places = [place for place, name in self.names.items() if name in wanted]
        ids = from_id_column(self.faces["photo_id"].take(pa.array(places, pa.int64())))
        return np.unique(ids.view(f"S{ID_BYTES}"))

    def constraints(self) -> Constraints:
        """Return what a clustering of these faces must obey."""
        names = self.names
        by_person: dict[str, list[int]] = {}
        for place, name in sorted(names.items()):
            by_person.setdefault(name, []).append(place)
        must = [(first, other) for first, *others in by_person.values() for other in others]
        cannot = []
        for (a, b), same in self.state.links.items():
            if a in self.places and b in self.places:
                pair = (self.places[a], self.places[b])
                known = [names[place] for place in pair if place in names]
                if len(known) < 2:
                    (must if same else cannot).append(pair)
        for face, person in self.state.rejected:
            if face in self.places:
                cannot += [(self.places[face], other) for other in by_person.get(person, ())]
        left_out = [self.places[face] for face in self.state.left_out if face in self.places]
        return Constraints(
            must_link=self._ids(must).reshape(-1, 2),
            cannot_link=self._ids(cannot).reshape(-1, 2),
            left_out=self._ids(left_out),
            names={self.ids[place : place + 1].tobytes(): name for place, name in names.items()},
        )

    def _ids(self, places: Sequence[object]) -> NDArray[np.void]:
        rows = np.array(places, np.int64).reshape(-1)
        return self.ids[rows].view(f"V{ID_BYTES}")

    def _ref(self, place: int) -> FaceRef:
        row = self.faces.slice(place, 1).to_pylist()[0]
        x0, y0, x1, y1 = (round(row[edge], 2) for edge in EDGES)
        return FaceRef(row["face_id"], row["photo_id"], (x0, y0, x1, y1))

    def _came_with(self) -> dict[int, str]:
        """Return who faces are by the photos they came with, where the ledger does not say otherwise."""
        named = self.view.filter(pc.is_valid(self.view["person"])).select(["photo_id", "person"])
        if not len(named):
            return {}
        people = dict(zip(named["photo_id"].to_pylist(), named["person"].to_pylist(), strict=True))
        among = pc.is_in(self.faces["photo_id"], value_set=named["photo_id"].unique())
        places = np.flatnonzero(among.to_numpy(zero_copy_only=False))
        photos = self.faces["photo_id"].take(pa.array(places)).to_pylist()
        found = {}
        for place, photo in zip(places.tolist(), photos, strict=True):
            spoken = self.spoken_of.get(place, b"")
            if person := self.state.person_of(spoken, people[photo]):
                found[place] = person
        return found

    def _taken_over(self, lost: list[FaceRef], taken: set[int]) -> dict[bytes, int]:
        """Return the faces that stand where lost ones stood: in the same photo, the most overlapping first."""
        photos = pa.array([ref.photo_id for ref in lost], pa.binary(ID_BYTES)).unique()
        rows = np.flatnonzero(pc.is_in(self.faces["photo_id"], value_set=photos).to_numpy(zero_copy_only=False))
        table = self.faces.take(pa.array(rows)).to_pylist()
        in_photo: dict[bytes, list[tuple[int, tuple[float, ...]]]] = {}
        for row, face in zip(rows.tolist(), table, strict=True):
            in_photo.setdefault(face["photo_id"], []).append((row, tuple(face[edge] for edge in EDGES)))
        pairs = [
            (overlap(ref.box, box), ref.face_id, row)
            for ref in lost
            for row, box in in_photo.get(ref.photo_id, ())
            if row not in taken
        ]
        found: dict[bytes, int] = {}
        stood_for: set[int] = set()
        for share, face_id, row in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
            if share >= SAME_FACE_IOU and face_id not in found and row not in stood_for:
                found[face_id] = row
                stood_for.add(row)
        return found


class PeopleOf:
    """The people of one generation as of now: read anew when the ledger has grown."""

    def __init__(self, catalog: Catalog, generation: Generation) -> None:
        self._files = catalog.files
        self._generation = generation
        self.ledger = Ledger(catalog.files)
        self._people: People | None = None

    def now(self) -> People:
        """Return who is who now."""
        state = self.ledger.state()
        if self._people is None or self._people.state is not state:
            faces, view = self._tables
            self._people = People(faces, view, state)
        return self._people

    @cached_property
    def _tables(self) -> tuple[pa.Table, pa.Table]:
        return live_rows(self._files, self._generation), open_view(self._files, self._generation)


def live_rows(files: Files, generation: Generation) -> pa.Table:
    """Return tables.FACE_ROWS of a generation's live faces, by face id: what its shards keep, without the dead."""
    wanted = {layout.shard_path(shard.shard_id, "faces.arrow") for shard in generation.shards}
    entries = [entry for shard in generation.shards for entry in shard.files if entry.path in wanted]
    rows = pa.concat_tables([FACE_ROWS.empty_table(), *(open_arrow(files, entry).cast(FACE_ROWS) for entry in entries)])
    ids = from_id_column(rows["face_id"]).view(f"S{ID_BYTES}")
    if generation.tombstones is not None:
        dead = read_tombstones(files, generation).view(f"S{ID_BYTES}")
        alive = positions(dead, ids) < 0
        if not alive.all():
            rows, ids = rows.filter(pa.array(alive)), ids[alive]
    if (ids[:-1] < ids[1:]).all():
        return rows
    return rows.take(np.unique(ids, return_index=True)[1])


def people_of(
    catalog: Catalog, generation: Generation, face_ids: Sequence[bytes] | NDArray[np.void]
) -> list[str | None]:
    """Return who faces of a generation are now, None where nobody said; what error rates are measured on.

    Args:
        catalog: with its ledger.
        generation: which.
        face_ids: 16 bytes each.
    """
    people = PeopleOf(catalog, generation).now()
    wanted = np.frombuffer(b"".join(bytes(one) for one in face_ids), f"S{ID_BYTES}")
    return people.name_of(positions(people.ids, wanted).tolist())


def person_count(catalog: Catalog, generation: Generation) -> int:
    """Return how many people have a face in a generation."""
    return len(PeopleOf(catalog, generation).now().counts)


def positions(ascending: NDArray[np.bytes_], wanted: NDArray[np.bytes_]) -> NDArray[np.int64]:
    """Return where each wanted id stands among ascending ones, int64 (n,); -1 where it does not."""
    if not len(ascending):
        return np.full(len(wanted), -1, np.int64)
    places = np.searchsorted(ascending, wanted).clip(max=len(ascending) - 1)
    return np.where(ascending[places] == wanted, places, -1).astype(np.int64)


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the intersection of two boxes over their union, 0 to 1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)
