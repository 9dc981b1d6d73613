"""Some faces of a gallery, the same few thousand whenever one asks: from them is learnt what is usual in an archive."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES, l2_normalize
from faceindex.decisions.people import NOBODY, NamedFaces
from faceindex.evaluation.cohort import one_face_of_each
from faceindex.evaluation.model_table import SAMPLE, person_limits
from faceindex.evaluation.thresholds import ThresholdGrid
from faceindex.gallery.search import Gallery
from faceindex.tables import ID, from_id_column, to_float16_column, to_id_column


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """The faces of good quality with the lowest ids, which are random and hardly change as a gallery grows."""

    face_ids: NDArray[np.void]
    """V16 (n,), ascending."""
    vectors: NDArray[np.float32]
    """float32 (n, d), unit length."""
    people: NDArray[np.str_]
    """Their names, empty where unknown, (n,)."""
    photo_ids: NDArray[np.bytes_]
    """S16 (n,)."""
    boxes: NDArray[np.float32]
    """float32 (n, 4)."""

    @classmethod
    def of(cls, gallery: Gallery, named: NamedFaces, min_quality: float) -> Self:
        """Choose them; of a small gallery all."""
        lowest = [np.empty(0, f"S{ID_BYTES}")]
        for shard in gallery.shards:
            # The quality of imported faces is unknown.
            good = shard.alive & ~(shard.faces["quality"].to_numpy(zero_copy_only=False) < min_quality)
            lowest.append(shard.ids[np.flatnonzero(good)[:SAMPLE]])  # they stand in order
        ids = np.sort(np.concatenate(lowest))[:SAMPLE]
        face_ids = ids.view(f"V{ID_BYTES}")
        rows = gallery.face_rows(face_ids)
        vectors = np.empty((0, gallery.dimension or 0), np.float32)
        if len(ids):
            vectors = l2_normalize(gallery.vectors_of(face_ids))
        return cls(
            face_ids,
            vectors,
            _names(named, ids),
            from_id_column(rows["photo_id"]).view(f"S{ID_BYTES}"),
            np.column_stack([rows[edge].to_numpy() for edge in ("x0", "y0", "x1", "y1")]).astype(np.float32),
        )

    def distinct(self, verification: ThresholdGrid) -> NDArray[np.int64]:
        """Return the rows of faces that are presumably of different people, int64, see `cohort.one_face_of_each`."""
        same, alike = person_limits(verification)
        numbers = np.unique(self.people, return_inverse=True)[1].astype(np.int64)
        return one_face_of_each(self.vectors, np.where(self.people == "", NOBODY, numbers), same=same, alike=alike)

    def to_table(self, rows: NDArray[np.int64]) -> pa.Table:
        """Return a row for each of some faces: `face_id`, `person` (null where unknown) and `embedding`."""
        people = pa.array([name or None for name in self.people[rows].tolist()], pa.string())
        embedding = to_float16_column(self.vectors[rows])
        face_ids = to_id_column(self.face_ids[rows]).cast(ID)
        return pa.table([face_ids, people, embedding], ["face_id", "person", "embedding"])


def _names(named: NamedFaces, ids: NDArray[np.bytes_]) -> NDArray[np.str_]:
    """Return the names of faces, empty where unknown."""
    known = named.face_ids.view(ids.dtype)
    if not len(known):
        return np.full(len(ids), "", np.str_)
    order = np.argsort(known, kind="stable")
    place = np.minimum(np.searchsorted(known, ids, sorter=order), len(known) - 1)
    people = np.where(known[order[place]] == ids, named.people[order[place]], NOBODY)
    return np.array([*named.names, ""], np.str_)[people]
