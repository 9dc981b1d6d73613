"""Embeddings in files of other programs: .npy, .npz and Parquet, never pickles."""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from faceindex.errors import ConfigError, ModelMismatchError
from faceindex.types import ModelId

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 4096
"""Vectors read at a time."""

ZIP, PARQUET = b"PK\x03\x04", b"PAR1"
"""How .npz and Parquet files begin."""

VECTORS = "vectors"
SINGULAR = {"ids": "id", "people": "person", "dates": "date"}
"""Columns of a table are often called after what one row has."""

UNIT_WITHIN = 1e-2
"""Lengths that differ less from 1 are taken as rounding, float16's and more."""


class VectorFile:
    """The vectors in a file, (n, d), memory-mapped where the format allows.

    Args:
        path: .npy; .npz with an array called `vectors`, or one array only; Parquet with a column `vectors`, `vector` or
            `embedding`. The last two may have `ids`, `people` and `dates` beside it, and a `model`.
        dimension: numbers in a vector.

    Raises:
        ConfigError: there is no such file, or it holds anything but floating-point vectors of that dimension.
    """

    def __init__(self, path: str, dimension: int) -> None:
        self.path = path
        arrays = _loaded(path)
        array = arrays[VECTORS]
        if array.dtype.kind != "f":
            raise ConfigError(f"{path}: floating-point vectors wanted, got {array.dtype}; save them as float32")
        if array.ndim == 1:
            array = array[None]
        if array.ndim != 2 or array.shape[1] != dimension:
            raise ConfigError(
                f"{path}: an array of shape (n, {dimension}) wanted, got {array.shape}; its vectors must come from the "
                f"model the catalog was made with"
            )
        if not len(array):
            raise ConfigError(f"{path} holds no vectors; give a file with one a row")
        self._array = array
        texts = (_texts(path, arrays, name, len(array)) for name in ("ids", "people", "dates"))
        self.ids, self.people, self.dates = texts
        """What the file says of each row, None where it says nothing."""
        self.model = str(arrays["model"]) if "model" in arrays else None
        """Id of the model that made the vectors, if the file says so."""
        self.renormalised = False
        """Whether any vector read so far was not of unit length."""

    def __len__(self) -> int:
        return len(self._array)

    def require_model(self, wanted: ModelId, name: str) -> None:
        """Raise `ModelMismatchError` when the file says that its vectors are those of another model.

        Args:
            wanted: whose they have to be.
            name: of that model, without a digest; a file may say as much.
        """
        if self.model not in (None, wanted, name):
            raise ModelMismatchError(f"embeddings of {wanted} wanted, {self.path} holds those of {self.model}")

    def batches(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield the number of the first row and some rows, float32 (m, d), of unit length.

        Raises:
            ConfigError: a row is zero or not finite.
        """
        for start in range(0, len(self._array), BATCH_ROWS):
            rows = np.array(self._array[start : start + BATCH_ROWS], np.float64)
            # Divided by its largest number first, no vector has squares that overflow or vanish.
            largest = np.abs(rows).max(axis=1, keepdims=True, initial=0)
            wrong = np.flatnonzero(~(np.isfinite(largest[:, 0]) & (largest[:, 0] > 0)))
            if len(wrong):
                what = "is zero" if np.all(rows[wrong[0]] == 0) else "holds NaN or infinity"
                raise ConfigError(f"{self.path}: row {start + wrong[0]} {what}; leave it out")
            rows /= largest
            lengths = np.linalg.norm(rows, axis=1, keepdims=True)
            self.renormalised |= bool(np.abs(lengths * largest - 1).max() > UNIT_WITHIN)
            yield start, (rows / lengths).astype(np.float32)


def model_name(path: str) -> str | None:
    """Return the name of the model that made the vectors of a file, if it says so; raises what `VectorFile` raises."""
    arrays = _loaded(path)
    return str(arrays["model"]).partition("@")[0] if "model" in arrays else None


def _texts(path: str, arrays: Mapping[str, NDArray[Any]], name: str, count: int) -> list[str | None]:
    if name not in arrays:
        return [None] * count
    array = arrays[name]
    if array.shape != (count,):
        raise ConfigError(f"{path}: {count} {name} wanted, one for each vector, got an array of shape {array.shape}")
    if array.dtype.kind == "M":
        array = np.datetime_as_string(array, unit="s")
    decoded = (value.decode() if isinstance(value, bytes) else value for value in array.tolist())
    return [None if value is None or value == "" else str(value) for value in decoded]


def _loaded(path: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file by the names of `NAMES`."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(len(ZIP))
            if start == PARQUET:
                return _parquet(path)
            if start != ZIP:
                return {VECTORS: np.asarray(np.lib.format.open_memmap(path, mode="r"))}
            file.seek(0)
            arrays = np.load(file, allow_pickle=False)
            names = arrays.files if len(arrays.files) > 1 else [VECTORS]
            found = {name: arrays[name if len(arrays.files) > 1 else arrays.files[0]] for name in names}
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist; give a .npy, .npz or Parquet file") from error
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        if isinstance(error, ConfigError):
            raise
        objects = any(word in str(error) for word in ("Python objects", "Object arrays"))
        kind = "Python objects, which are never loaded" if objects else "no array that can be read"
        raise ConfigError(f"{path} holds {kind}; save vectors as float32 by numpy.save") from error
    if VECTORS not in found:
        raise ConfigError(f"{path} holds {', '.join(found) or 'nothing'}; an array called `vectors` is wanted")
    return found


def _parquet(path: str) -> dict[str, NDArray[Any]]:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    found: dict[str, NDArray[Any]] = {}
    for name in (VECTORS, "vector", "embedding"):
        if name in table.column_names and VECTORS not in found:
            found[VECTORS] = _column_of_vectors(path, name, table[name].combine_chunks())
            described = table.schema.field(name).metadata or {}
            if b"faceindex.model" in described:
                found["model"] = np.array(described[b"faceindex.model"].decode())
    if VECTORS not in found:
        raise ConfigError(f"{path} has the columns {', '.join(table.column_names)}; one called `vectors` is wanted")
    for name in ("ids", "people", "dates"):
        column = next((table[other] for other in (name, SINGULAR[name]) if other in table.column_names), None)
        if column is not None:
            found[name] = np.array([None if value is None else str(value) for value in column.to_pylist()], object)
    return found


def _column_of_vectors(path: str, name: str, column: "pa.Array") -> NDArray[Any]:
    """Return lists of numbers, or embeddings as faceindex itself stores them, as an array (n, d)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    stored, fixed = pa.types.is_fixed_size_binary(column.type), pa.types.is_fixed_size_list(column.type)
    if not (stored or fixed or pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        raise ConfigError(f"{path}: lists of floats wanted in column {name}, got {column.type}")
    # Lists of several lengths may have as many numbers in all as vectors of one length.
    if column.null_count or not (stored or fixed or len(pc.unique(pc.list_value_length(column))) <= 1):
        raise ConfigError(f"{path}: vectors of one length wanted in column {name}; leave out what has none")
    if stored:
        flat = np.frombuffer(b"".join(column.to_pylist()), "<f2")
    else:
        flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat.reshape(len(column), -1))
