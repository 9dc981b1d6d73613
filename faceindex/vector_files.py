"""Embeddings in files of other programs: .npy and .npz, never pickles."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceindex.errors import ConfigError

BATCH_ROWS = 4096
"""Vectors read at a time."""

ZIP = b"PK\x03\x04"
"""How .npz files begin."""

UNIT_WITHIN = 1e-2
"""Lengths that differ less from 1 are taken as rounding, float16's and more."""


class VectorFile:
    """The vectors in a file, (n, d), memory-mapped where the format allows.

    Args:
        path: .npy, or .npz with an array called `vectors` or one array only.
        dimension: numbers in a vector.

    Raises:
        ConfigError: there is no such file, or it holds anything but floating-point vectors of that dimension.
    """

    def __init__(self, path: str, dimension: int) -> None:
        self.path = path
        array = _loaded(path)
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
        self.renormalised = False
        """Whether any vector read so far was not of unit length."""

    def __len__(self) -> int:
        return len(self._array)

    def batches(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield the number of the first row and some rows, float32 (m, d), of unit length.

        Raises:
            ConfigError: a row is zero or not finite.
        """
        for start in range(0, len(self._array), BATCH_ROWS):
            rows = np.array(self._array[start : start + BATCH_ROWS], np.float64)
            lengths = np.linalg.norm(rows, axis=1, keepdims=True)
            wrong = np.flatnonzero(~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)))
            if len(wrong):
                what = "is zero" if np.all(rows[wrong[0]] == 0) else "holds NaN or infinity"
                raise ConfigError(f"{self.path}: row {start + wrong[0]} {what}; leave it out")
            self.renormalised |= bool(np.abs(lengths - 1).max() > UNIT_WITHIN)
            yield start, (rows / lengths).astype(np.float32)


def _loaded(path: str) -> NDArray[Any]:
    try:
        with Path(path).open("rb") as file:
            start = file.read(len(ZIP))
            if start != ZIP:
                return np.asarray(np.lib.format.open_memmap(path, mode="r"))
            file.seek(0)
            arrays = np.load(file, allow_pickle=False)
            name = "vectors" if "vectors" in arrays.files or len(arrays.files) != 1 else arrays.files[0]
            array: NDArray[Any] | None = arrays[name] if name in arrays.files else None
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist; give a .npy or .npz file") from error
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        objects = any(word in str(error) for word in ("Python objects", "Object arrays"))
        kind = "Python objects, which are never loaded" if objects else "no numpy array"
        raise ConfigError(f"{path} holds {kind}; save vectors as float32 by numpy.save") from error
    if array is None:
        raise ConfigError(f"{path} holds {', '.join(arrays.files) or 'nothing'}; an array called `vectors` is wanted")
    return array
