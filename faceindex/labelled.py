"""Which face of a catalog is whom: the labelled faces that error rates are measured on."""

from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from faceindex.arrays import l2_normalize
from faceindex.catalog.live import open_view, rows_of
from faceindex.faces.prominence import by_prominence
from faceindex.query import OpenCatalog
from faceindex.tables import from_float16_column, from_id_column
from faceindex.types import ModelId


@dataclass(frozen=True, slots=True, eq=False)
class LabelledFaces:
    """Faces with the people they are of, one face a photo."""

    photos: list[str]
    """Path of each face's photo, ascending."""
    vectors: NDArray[np.float32]
    """float32 (n, d), unit length."""
    names: NDArray[np.str_]
    """Who each face is, (n,)."""
    model: ModelId

    @property
    def subjects(self) -> NDArray[np.int64]:
        """A number for each name, int64 (n,)."""
        return np.unique(self.names, return_inverse=True)[1].astype(np.int64)

    def without(self, names: frozenset[str]) -> "LabelledFaces":
        """Return the faces of everybody else."""
        kept = np.flatnonzero(~np.isin(self.names, list(names)))
        return LabelledFaces([self.photos[row] for row in kept], self.vectors[kept], self.names[kept], self.model)


def people_from_folders(opened: OpenCatalog) -> LabelledFaces:
    """Return the face each photo is about, named by the folder the photo is in.

    Of several faces in a photo that is the most prominent one, large and in the middle. A photo of which there are
    copies in several folders counts once.
    """
    faces = opened.faces()
    photo_ids = from_id_column(faces["photo_id"])
    view = open_view(opened.catalog.files, opened.generation)
    rows = rows_of(view, photo_ids)
    sides = np.column_stack([view[side].take(rows).to_numpy() for side in ("width", "height")])
    boxes = np.column_stack([faces[edge].to_numpy() for edge in ("x0", "y0", "x1", "y1")])
    order = np.argsort(rows, kind="stable")
    _, starts = np.unique(rows[order], return_index=True)
    chosen = np.array(
        [
            of_photo[by_prominence(boxes[of_photo], *map(int, sides[of_photo[0]]))[0]]
            for of_photo in np.split(order, starts[1:])
            if len(of_photo)
        ],
        np.int64,
    )
    photos = faces["photo"].take(chosen).to_pylist()
    by_path = sorted(range(len(photos)), key=photos.__getitem__)
    chosen, photos = chosen[by_path], [photos[row] for row in by_path]
    vectors = from_float16_column(faces["embedding"])[chosen]
    names = np.array([PurePath(photo).parent.name for photo in photos], np.str_)
    return LabelledFaces(photos, l2_normalize(vectors), names, opened.generation.model)
