"""Which face of a catalog is whom: the labelled faces that error rates are measured on."""

from collections.abc import Callable
from dataclasses import dataclass
from os import fsdecode
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceindex.arrays import l2_normalize
from faceindex.catalog.live import open_view, rows_of
from faceindex.faces.prominence import by_prominence
from faceindex.query import OpenCatalog
from faceindex.tables import IMPORTED, from_float16_column, from_id_column
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
    unusable: int = 0
    """Faces left out because their embeddings are not numbers, or zero."""

    @property
    def subjects(self) -> NDArray[np.int64]:
        """A number for each name, int64 (n,)."""
        return np.unique(self.names, return_inverse=True)[1].astype(np.int64)

    def without(self, names: frozenset[str]) -> "LabelledFaces":
        """Return the faces of everybody else."""
        kept = np.flatnonzero(~np.isin(self.names, list(names)))
        photos = [self.photos[row] for row in kept]
        return LabelledFaces(photos, self.vectors[kept], self.names[kept], self.model, self.unusable)


def people_from_folders(opened: OpenCatalog) -> LabelledFaces:
    """Return the face each photo is about, named by the folder the photo is in.

    Of several faces in a photo that is the most prominent one, large and in the middle. A photo of which there are
    copies in several folders counts once.
    """
    return _labelled(
        opened, lambda path, _: None if path.startswith(IMPORTED) else PurePath(fsdecode(path)).parent.name
    )


def people_by_name(opened: OpenCatalog) -> LabelledFaces:
    """Return the face of each photo that is known to show somebody, such as those imported with a name."""
    return _labelled(opened, lambda _, person: person)


def _labelled(opened: OpenCatalog, name_of: Callable[[bytes, str | None], str | None]) -> LabelledFaces:
    """Return the main faces of the photos that have a name by their path and the person they show."""
    faces = opened.faces()
    view = open_view(opened.catalog.files, opened.generation)
    rows = rows_of(view, from_id_column(faces["photo_id"]))
    seen = view.select(["path", "person"]).take(rows).to_pylist()
    names = np.array([name_of(photo["path"], photo["person"]) for photo in seen], np.object_)
    vectors = from_float16_column(faces["embedding"]).astype(np.float32)
    norms = np.linalg.norm(vectors, axis=1)
    named, usable = names != None, np.isfinite(norms) & (norms > 0)  # noqa: E711 - of each element
    candidates = np.flatnonzero(named & usable)
    sides = np.column_stack([view[side].take(rows).to_numpy(zero_copy_only=False) for side in ("width", "height")])
    boxes = np.column_stack([faces[edge].to_numpy() for edge in ("x0", "y0", "x1", "y1")])
    chosen = np.array([_main_face(of_photo, boxes, sides) for of_photo in _groups(candidates, rows)], np.int64)
    photos = faces["photo"].take(chosen).to_pylist()
    by_path = sorted(range(len(photos)), key=photos.__getitem__)
    chosen, photos = chosen[by_path], [photos[row] for row in by_path]
    return LabelledFaces(
        photos,
        l2_normalize(vectors[chosen]),
        names[chosen].astype(np.str_),
        opened.generation.model,
        unusable=int((named & ~usable).sum()),
    )


def _groups(faces: NDArray[np.int64], rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return faces by the photo's row they are in."""
    faces = faces[np.argsort(rows[faces], kind="stable")]
    _, starts = np.unique(rows[faces], return_index=True)
    return np.split(faces, starts[1:]) if len(faces) else []


def _main_face(faces: NDArray[np.int64], boxes: NDArray[np.float32], sides: NDArray[Any]) -> int:
    if len(faces) == 1:  # also an imported one, which has no photo
        return int(faces[0])
    width, height = map(int, sides[faces[0]])
    return int(faces[by_prominence(boxes[faces], width, height)[0]])
