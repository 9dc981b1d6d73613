"""Who the faces of a generation are: what the ledger says, and the people that photos came with.

A face that the ledger names and the generation lacks, because another detector found it, is stood for by the face that
overlaps its box in the same photo. Reads the faces' rows and no embeddings.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES, ids_array
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import Generation
from faceindex.catalog.live import open_view, rows_of
from faceindex.identities.events import FaceRef
from faceindex.identities.ledger import Ledger
from faceindex.identities.rows import LiveRows
from faceindex.identities.state import State
from faceindex.tables import from_id_column

SAME_FACE_IOU = 0.5
"""Overlap from which boxes of two detectors are of one face, as in PASCAL VOC and WIDER FACE."""

EDGES = ("x0", "y0", "x1", "y1")


@dataclass(frozen=True, slots=True, eq=False)
class Constraints:
    """What a clustering must obey; V16 ids of faces of the generation, pairs (n, 2)."""

    must_link: NDArray[np.void]
    """Pairs that are one person: each named face with its person's first, and faces said to be the same."""
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

    def __init__(self, rows: LiveRows, view: pa.Table, state: State) -> None:
        """Take the faces and say who they are.

        Args:
            rows: of the generation.
            view: tables.PHOTOS_VIEW of the same generation.
            state: what the ledger says.
        """
        self.rows = rows
        self.view = view
        self.state = state

    @cached_property
    def places(self) -> dict[bytes, int]:
        """Where among the rows each face of the ledger stands; those that are gone are missing."""
        refs = list(self.state.refs.values())
        rows = self.rows.find(ids_array([ref.face_id for ref in refs]))
        found = {ref.face_id: row for ref, row in zip(refs, rows.tolist(), strict=True) if row >= 0}
        lost = [ref for ref in refs if ref.face_id not in found]
        return found | self._taken_over(lost, set(found.values())) if lost else found

    @cached_property
    def spoken_of(self) -> dict[int, bytes]:
        """The face of the ledger that each face stands for, by its place."""
        return {place: face_id for face_id, place in self.places.items()}

    @cached_property
    def left_out(self) -> frozenset[int]:
        """Places of the faces that are ignored or none."""
        return frozenset(self.places[face] for face in self.state.left_out if face in self.places)

    @cached_property
    def names(self) -> dict[int, str]:
        """Who each face is that has a name, by its place."""
        photos = self.view["photo_id"].filter(pc.is_valid(self.view["person"])).unique()
        places = np.union1d(self.rows.in_photos(photos), np.array(list(self.spoken_of), np.int64))
        named = zip(places.tolist(), self.name_of(self.rows.ids(places)), strict=True)
        return {place: name for place, name in named if name is not None}

    @cached_property
    def counts(self) -> Counter[str]:
        """Live faces of each person."""
        return Counter(self.names.values())

    @cached_property
    def everybody(self) -> set[str]:
        """All names, of people whose faces are gone too."""
        return set(self.counts) | set(self.state.names.values())

    def name_of(self, face_ids: NDArray[np.void]) -> list[str | None]:
        """Return who some faces are, V16 (n,), None where nobody said; looks at these only."""
        places = self.rows.find(face_ids)
        came_with = self._came_with(places)
        return [
            self.state.person_of(self.spoken_of.get(place, b""), name)
            for place, name in zip(places.tolist(), came_with, strict=True)
        ]

    def faces_of(self, person: str) -> list[int]:
        """Return the places of a person's faces."""
        return sorted(place for place, name in self.names.items() if name == person)

    def refs(self, places: Iterable[int]) -> tuple[FaceRef, ...]:
        """Return faces as the ledger keeps them; a face that stands for another keeps that one's id."""
        chosen = list(places)
        rows = self.rows.take(np.array(chosen, np.int64)).to_pylist()
        return tuple(
            self.state.refs[self.spoken_of[place]] if place in self.spoken_of else _ref(row)
            for place, row in zip(chosen, rows, strict=True)
        )

    def photos_of(self, people: Iterable[str]) -> NDArray[np.bytes_]:
        """Return the ids of the photos that show any of these people, S16 (n,), ascending."""
        wanted = frozenset(people)
        places = np.array([place for place, name in self.names.items() if name in wanted], np.int64)
        return np.unique(from_id_column(self.rows.take(places)["photo_id"]).view(f"S{ID_BYTES}"))

    def constraints(self) -> Constraints:
        """Return what a clustering of these faces must obey."""
        names = self.names
        by_person: dict[str, list[int]] = {}
        for place, name in sorted(names.items()):
            by_person.setdefault(name, []).append(place)
        must = [(first, other) for first, *others in by_person.values() for other in others]
        cannot: list[tuple[int, int]] = []
        for group in self.state.groups:
            there = [self.places[face] for face in group if face in self.places]
            there = [place for place in there if place not in self.left_out]
            must += [
                (first, other) for first, other in product(there[:1], there[1:]) if not {first, other} <= names.keys()
            ]
        for a, b in self.state.apart:
            if a in self.places and b in self.places and not {self.places[a], self.places[b]} <= names.keys():
                cannot.append((self.places[a], self.places[b]))
        for face, person in self.state.rejected:
            if face in self.places:
                cannot += [(self.places[face], other) for other in by_person.get(person, ())]
        return Constraints(
            must_link=self._ids(must).reshape(-1, 2),
            cannot_link=self._ids(cannot).reshape(-1, 2),
            left_out=self._ids(sorted(self.left_out)),
            names=dict(zip(self._ids(list(names)).tolist(), names.values(), strict=True)),
        )

    def _ids(self, places: Sequence[object]) -> NDArray[np.void]:
        return self.rows.ids(np.array(places, np.int64).reshape(-1))

    def _came_with(self, places: NDArray[np.int64]) -> list[str | None]:
        """Return the person that the photo of each face came with."""
        if self.view["person"].null_count == len(self.view):
            return [None] * len(places)
        there = np.maximum(places, 0)
        photos = rows_of(self.view, from_id_column(self.rows.take(there)["photo_id"]))
        people: list[str | None] = self.view["person"].take(photos).to_pylist()
        return [name if place >= 0 else None for name, place in zip(people, places.tolist(), strict=True)]

    def _taken_over(self, lost: list[FaceRef], taken: set[int]) -> dict[bytes, int]:
        """Return the faces that stand where lost ones stood: in the same photo, the most overlapping first."""
        photos = pa.array([ref.photo_id for ref in lost], pa.binary(ID_BYTES)).unique()
        rows = self.rows.in_photos(photos)
        table = self.rows.take(rows).to_pylist()
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
        return self.at(self.ledger.state())

    def at(self, state: State) -> People:
        """Return who is who by one state of the ledger."""
        if self._people is None or self._people.state is not state:
            self._people = People(*self._tables, state)
        return self._people

    @cached_property
    def _tables(self) -> tuple[LiveRows, pa.Table]:
        return LiveRows.open(self._files, self._generation), open_view(self._files, self._generation)


def people_of(
    catalog: Catalog, generation: Generation, face_ids: Sequence[bytes] | NDArray[np.void]
) -> list[str | None]:
    """Return who faces of a generation are now, None where nobody said; what error rates are measured on.

    Args:
        catalog: with its ledger.
        generation: which.
        face_ids: 16 bytes each.
    """
    return PeopleOf(catalog, generation).now().name_of(ids_array([bytes(one) for one in face_ids]))


def person_count(catalog: Catalog, generation: Generation) -> int:
    """Return how many people have a face in a generation."""
    return len(PeopleOf(catalog, generation).now().counts)


def _ref(row: Mapping[str, Any]) -> FaceRef:
    x0, y0, x1, y1 = (round(row[edge], 2) for edge in EDGES)
    return FaceRef(row["face_id"], row["photo_id"], (x0, y0, x1, y1))


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the intersection of two boxes over their union, 0 to 1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)
