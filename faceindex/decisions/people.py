"""The named people of a gallery: whose face is whose, and one embedding for those with several faces.

The mean of a person's embeddings, scaled to unit length, recognises best: with three photos of each it misses half as
many people as the most similar of the three, at the same rate of strangers let in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from faceindex.arrays import l2_normalize
from faceindex.gallery.search import Gallery
from faceindex.identities.people import People
from faceindex.tables import from_float16_column, to_float16_column

BLOCK_FACES = 65_536
"""Vectors read at a time: 17 MB of 128 numbers each."""

NOBODY = -1


@dataclass(frozen=True, slots=True, eq=False)
class NamedFaces:
    """Live faces whose people are known."""

    face_ids: NDArray[np.void]
    """V16 (n,)."""
    people: NDArray[np.int64]
    """Place of each face's person in `names`, int64 (n,)."""
    names: Sequence[str]
    """Of everybody, each once, ascending."""

    @classmethod
    def of(cls, people: People) -> Self:
        """Return those that somebody has named, or that came with a name."""
        places = np.array(list(people.names), np.int64)
        names, numbers = np.unique(np.array(list(people.names.values()), np.str_), return_inverse=True)
        return cls(people.rows.ids(places), numbers.astype(np.int64), names.tolist())

    @property
    def face_counts(self) -> NDArray[np.int64]:
        """Faces of each person, int64 (names,)."""
        return np.bincount(self.people, minlength=len(self.names))


@dataclass(frozen=True, eq=False)
class Templates:
    """People who are enrolled with several faces, by name."""

    names: Sequence[str]
    """Ascending."""
    face_counts: NDArray[np.int64]
    """Two or more, int64 (p,)."""
    vectors: NDArray[np.float16]
    """Mean of the faces' embeddings, unit length, float16 (p, d)."""

    @classmethod
    def of(cls, gallery: Gallery, named: NamedFaces) -> Self:
        """Average the faces of each person who has several."""
        counts = named.face_counts
        several = np.flatnonzero(counts >= 2)
        place = np.full(len(counts), NOBODY)
        place[several] = np.arange(len(several))
        sums = np.zeros((len(several), gallery.dimension or 0), np.float32)
        faces = np.flatnonzero(place[named.people] != NOBODY)
        for start in range(0, len(faces), BLOCK_FACES):
            block = faces[start : start + BLOCK_FACES]
            vectors = l2_normalize(gallery.vectors_of(named.face_ids[block]))
            np.add.at(sums, place[named.people[block]], vectors)
        names = [named.names[person] for person in several.tolist()]
        # Faces that cancel each other out have no mean; such people are known by their faces alone.
        some = np.linalg.norm(sums, axis=1) > 0
        means: NDArray[np.float16] = l2_normalize(sums[some]).astype(np.float16)
        kept = [name for name, is_some in zip(names, some.tolist(), strict=True) if is_some]
        return cls(kept, counts[several][some], means)

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Read what `to_table` gives."""
        vectors = from_float16_column(table["embedding"])
        return cls(table["person"].to_pylist(), table["faces"].to_numpy(), vectors)

    def to_table(self) -> pa.Table:
        """Return a row for each person: `person`, `faces` and `embedding`."""
        embedding = to_float16_column(self.vectors.astype(np.float32))
        columns = [pa.array(self.names, pa.string()), pa.array(self.face_counts), embedding]
        return pa.table(columns, ["person", "faces", "embedding"])

    @cached_property
    def places(self) -> dict[str, int]:
        """Place of each person by name."""
        return {name: place for place, name in enumerate(self.names)}
