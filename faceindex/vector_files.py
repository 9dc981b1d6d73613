"""Embeddings in files of other programs: what makes them usable, read in batches of unit length."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceindex.errors import ConfigError, ModelMismatchError
from faceindex.types import ModelId
from faceindex.vector_sources import VECTORS, Block, open_source, readable

BATCH_ROWS = 4096
"""Vectors read at a time."""

UNIT_WITHIN = 1e-2
"""Lengths that differ less from 1 are taken as rounding, float16's and more."""


@dataclass(frozen=True, slots=True, eq=False)
class VectorRows:
    """Some rows of a file."""

    start: int
    """Number of the first."""
    vectors: NDArray[np.float32]
    """float32 (n, d), unit length."""
    ids: list[str | None]
    """What the file says of each row, None where it says nothing; people and dates likewise."""
    people: list[str | None]
    dates: list[str | None]


class VectorFile:
    """The vectors in a file, (n, d), read in batches: memory does not grow with the file.

    Args:
        path: .npy; .npz with an array called `vectors`, or one array only; Parquet with a column `vectors`, `vector` or
            `embedding`. The last two may have `ids`, `people` and `dates` beside it, and a `model`.
        dimension: numbers in a vector; None for what the file has.

    Raises:
        ConfigError: there is no such file, or it holds anything but floating-point vectors of that dimension.
    """

    def __init__(self, path: str, dimension: int | None) -> None:
        self.path = path
        self._source = source = open_source(path)
        if source.dtype.kind != "f":
            raise ConfigError(f"{path}: floating-point vectors wanted, got {source.dtype}; save them as float32")
        shape = source.shape if len(source.shape) != 1 else (1, *source.shape)
        if len(shape) != 2 or (dimension is not None and shape[0] and shape[1] != dimension):
            raise ConfigError(
                f"{path}: an array of shape (n, {dimension or 'd'}) wanted, got {source.shape}; its vectors must come "
                f"from the model the catalog was made with"
            )
        if not shape[0] or not shape[1]:
            raise ConfigError(f"{path} holds no vectors; give a file with one a row")
        for name, length in source.lengths.items():
            if length != (shape[0],):
                raise ConfigError(
                    f"{path}: {shape[0]} {name} wanted, one for each vector, got an array of shape {length}"
                )
        self._count, self.dimension = shape
        self.model = source.model
        """Id of the model that made the vectors, if the file says so."""
        self.renormalised = False
        """Whether any vector read so far was not of unit length."""

    def __len__(self) -> int:
        return self._count

    def require_model(self, wanted: ModelId, name: str) -> None:
        """Raise `ModelMismatchError` when the file says that its vectors are those of another model.

        Args:
            wanted: whose they have to be.
            name: of that model, without a digest; a file may say as much.
        """
        if self.model not in (None, wanted, name):
            raise ModelMismatchError(f"embeddings of {wanted} wanted, {self.path} holds those of {self.model}")

    def batches(self) -> Iterator[VectorRows]:
        """Yield all rows, some at a time.

        Raises:
            ConfigError: a row is zero or not finite, or the file is damaged.
        """
        start = 0
        with readable(self.path):
            for block in self._source.blocks(BATCH_ROWS):
                vectors = self._unit(start, block[VECTORS])
                ids, people, dates = (_texts(block, name, len(vectors)) for name in ("ids", "people", "dates"))
                yield VectorRows(start, vectors, ids, people, dates)
                start += len(vectors)

    def _unit(self, start: int, vectors: NDArray[Any]) -> NDArray[np.float32]:
        rows = np.array(vectors, np.float64)
        # Divided by its largest number first, no vector has squares that overflow or vanish.
        largest = np.abs(rows).max(axis=1, keepdims=True, initial=0)
        wrong = np.flatnonzero(~(np.isfinite(largest[:, 0]) & (largest[:, 0] > 0)))
        if len(wrong):
            what = "is zero" if np.all(rows[wrong[0]] == 0) else "holds NaN or infinity"
            raise ConfigError(f"{self.path}: row {start + wrong[0]} {what}; leave it out")
        rows /= largest
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        self.renormalised |= bool(np.abs(lengths * largest - 1).max() > UNIT_WITHIN)
        rows /= lengths
        return rows.astype(np.float32)


def stated_model(path: str) -> str | None:
    """Return the model that made the vectors of a file, if it says so; raises what `VectorFile` raises."""
    return open_source(path).model


def _texts(block: Block, name: str, count: int) -> list[str | None]:
    if name not in block:
        return [None] * count
    array = block[name]
    if array.dtype.kind == "M":
        array = np.datetime_as_string(array, unit="s")
    decoded = (value.decode() if isinstance(value, bytes) else value for value in array.tolist())
    return [None if value in (None, "", "NaT") else str(value) for value in decoded]
