"""Files of embeddings as streams: .npy, .npz and Parquet, never pickles; memory does not grow with the file."""

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from faceindex.errors import ConfigError, FaceIndexError

if TYPE_CHECKING:
    import pyarrow as pa

ZIP, PARQUET = b"PK\x03\x04", b"PAR1"
"""How .npz and Parquet files begin."""

VECTORS, MODEL = "vectors", "model"
NAMES = {
    VECTORS: (VECTORS, "vector", "embeddings", "embedding"),
    "ids": ("ids", "id", "face_id"),
    "people": ("people", "person"),
    "dates": ("dates", "date", "captured_at"),
    MODEL: (MODEL,),
}
"""What arrays and columns are called; those of a table often after what one row has."""

STREAMED: dict[str, Any] = {"buffer_size": 1 << 20, "pre_buffer": False}
"""How Parquet is opened: Arrow else reads a column of a row group whole, gigabytes for a million embeddings."""

Block = dict[str, NDArray[Any]]
"""Some rows of each array, by the first of its names."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file of embeddings whose header was read."""

    shape: tuple[int, ...]
    """Of the vectors."""
    dtype: np.dtype[Any]
    lengths: Mapping[str, tuple[int, ...]]
    """Shapes of the arrays beside the vectors."""
    model: str | None
    """Id of the model that made the vectors, if the file says so."""
    blocks: Callable[[int], Iterator[Block]]
    """Yields all rows in order, as many at a time as asked for."""


def open_source(path: str) -> Source:
    """Read the header of a file; raises `ConfigError` when it cannot be read or holds no vectors."""
    with readable(path):
        with Path(path).open("rb") as file:
            start = file.read(len(ZIP))
        if start == PARQUET:
            return _parquet_source(path)
        if start == ZIP:
            return _npz_source(path)
        array = np.asarray(np.lib.format.open_memmap(path, mode="r"))
        return Source(array.shape, array.dtype, {}, None, partial(_rows_of, array))


@contextmanager
def readable(path: str) -> Iterator[None]:
    """Turn what is raised for files that are not what they seem into a `ConfigError` of one line."""
    from pyarrow import ArrowException

    try:
        yield
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist; give a .npy, .npz or Parquet file") from error
    except FaceIndexError:
        raise
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error, ArrowException) as error:
        objects = any(word in str(error) for word in ("Python objects", "Object arrays"))
        kind = "Python objects, which are never loaded" if objects else "no array that can be read"
        raise ConfigError(f"{path} holds {kind}; save vectors as float32 by numpy.save") from error


def _rows_of(array: NDArray[Any], count: int) -> Iterator[Block]:
    rows = np.atleast_2d(array)
    for start in range(0, len(rows), count):
        yield {VECTORS: rows[start : start + count]}


def _chosen(path: str, found: Sequence[str], kind: str) -> dict[str, str]:
    """Return which of a file's arrays or columns is which, by the first of its names."""
    chosen = {first: name for first, names in NAMES.items() for name in reversed(names) if name in found}
    if VECTORS not in chosen and len(found) == 1:
        chosen = {VECTORS: found[0]}
    if VECTORS not in chosen:
        raise ConfigError(f"{path} holds {', '.join(found) or 'nothing'}; {kind} called `vectors` is wanted")
    return chosen


class _Array:
    """An array in NumPy's format, read row by row; one that stands column by column has to be read whole."""

    def __init__(self, stream: IO[bytes]) -> None:
        version = np.lib.format.read_magic(stream)
        old = version == (1, 0)
        read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
        self.shape, self._by_columns, self.dtype = read(stream)
        if self.dtype.hasobject:
            raise ValueError("Object arrays are pickled")
        self._stream = stream

    def blocks(self, count: int) -> Iterator[NDArray[Any]]:
        shape = self.shape if len(self.shape) != 1 else (*self.shape, 1)
        if self._by_columns and len(shape) > 1:
            whole = self._next(shape[::-1]).T
            yield from (whole[start : start + count] for start in range(0, len(whole), count))
            return
        for start in range(0, shape[0], count):
            yield self._next((min(count, shape[0] - start), *shape[1:]))

    def cell(self) -> Any:
        """Return the only element."""
        return self._next((1,))[0]

    def _next(self, shape: tuple[int, ...]) -> NDArray[Any]:
        size = int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        data = self._stream.read(size)
        if len(data) < size:
            raise EOFError(f"{size} bytes wanted, {len(data)} left")
        return np.frombuffer(data, self.dtype).reshape(shape)


@contextmanager
def _npz(path: str) -> Iterator[dict[str, _Array]]:
    with ExitStack() as stack:
        archive = stack.enter_context(zipfile.ZipFile(path))
        members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        chosen = _chosen(path, list(members), "an array")
        yield {first: _Array(stack.enter_context(archive.open(members[name]))) for first, name in chosen.items()}


def _npz_source(path: str) -> Source:
    with _npz(path) as arrays:
        model = str(arrays.pop(MODEL).cell()) if MODEL in arrays else None
        vectors = arrays.pop(VECTORS)
        lengths = {name: array.shape for name, array in arrays.items()}
        return Source(vectors.shape, vectors.dtype, lengths, model, partial(_npz_blocks, path))


def _npz_blocks(path: str, count: int) -> Iterator[Block]:
    with _npz(path) as arrays:
        arrays.pop(MODEL, None)
        single = len(arrays[VECTORS].shape) == 1
        streams = {name: array.blocks(arrays[VECTORS].shape[0] if single else count) for name, array in arrays.items()}
        for parts in zip(*streams.values(), strict=True):
            block = dict(zip(streams, parts, strict=True))
            texts = {name: array.reshape(-1) for name, array in block.items() if name != VECTORS}
            yield {VECTORS: block[VECTORS].reshape(1, -1) if single else block[VECTORS], **texts}


def _parquet_source(path: str) -> Source:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, **STREAMED) as file:
        schema, count = file.schema_arrow, file.metadata.num_rows
        chosen = _chosen(path, schema.names, "a column")
        field = schema.field(chosen[VECTORS])
        first = next(file.iter_batches(1, columns=[field.name], use_threads=False), None)
    chosen.pop(MODEL, None)
    vectors = _vectors(path, field.name, first.column(0)) if first is not None else np.empty((0, 0), np.float32)
    about = {**(schema.metadata or {}), **(field.metadata or {})}
    model = about[b"faceindex.model"].decode() if b"faceindex.model" in about else None
    lengths = {name: (count,) for name in chosen if name != VECTORS}
    blocks = partial(_parquet_blocks, path, chosen)
    return Source((count, vectors.shape[1]), vectors.dtype, lengths, model, blocks)


def _parquet_blocks(path: str, chosen: dict[str, str], count: int) -> Iterator[Block]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, **STREAMED) as file:
        dimension: int | None = None
        for batch in file.iter_batches(count, columns=list(chosen.values()), use_threads=False):
            vectors = _vectors(path, chosen[VECTORS], batch.column(chosen[VECTORS]), dimension)
            dimension = vectors.shape[1]
            texts = {
                first: np.array([_text(cell) for cell in batch.column(name).to_pylist()], object)
                for first, name in chosen.items()
                if first != VECTORS
            }
            yield {VECTORS: vectors, **texts}


def _text(cell: Any) -> str | None:
    if isinstance(cell, bytes):  # ids as faceindex stores them
        return cell.hex()
    if isinstance(cell, datetime):
        return cell.replace(tzinfo=None).isoformat(timespec="seconds")
    return None if cell is None else str(cell)


def _vectors(path: str, name: str, column: "pa.Array", dimension: int | None = None) -> NDArray[Any]:
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
    if len(column) and dimension not in (None, len(flat) // len(column)):
        raise ConfigError(f"{path}: vectors of one length wanted in column {name}; leave out what has none")
    return np.asarray(flat.reshape(len(column), -1) if len(column) else flat.reshape(0, 0))
