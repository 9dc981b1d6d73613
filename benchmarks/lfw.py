"""The labelled faces of an indexed copy of LFW: one face a photo, named by its folder."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import faceindex
from faceindex.arrays import l2_normalize
from faceindex.tables import from_float16_column
from faceindex.types import ModelId

SIDE_PX = 250


def main_faces(catalog: str) -> tuple[list[str], NDArray[np.float32], ModelId]:
    """Return photos (paths), the vectors float32 (n, d) of the face each is about, and the model.

    LFW's photos are about the face in the middle; of several faces the one is taken whose area less twice the
    squared distance of its centre from the middle of the photo is largest.
    """
    opened = faceindex.open(catalog)
    table = opened.faces()
    boxes = np.column_stack([table[edge].to_numpy() for edge in ("x0", "y0", "x1", "y1")])
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    off_centre = (boxes[:, :2] + boxes[:, 2:]) / 2 - SIDE_PX / 2
    photos = np.array(table["photo"].to_pylist())
    order = np.lexsort((-(area - 2 * (off_centre**2).sum(axis=1)), photos))
    _, first = np.unique(photos[order], return_index=True)
    chosen = order[first]
    vectors = l2_normalize(from_float16_column(table["embedding"])[chosen])
    return photos[chosen].tolist(), vectors, opened.generation.model


def people_of(photos: list[str]) -> NDArray[np.str_]:
    """Return the name of the folder each photo is in."""
    return np.array([Path(photo).parent.name for photo in photos])
