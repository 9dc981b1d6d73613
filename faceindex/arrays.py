"""Array checks and vector arithmetic; knows numpy and nothing of faces."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from faceindex.errors import ShapeError

ID_BYTES = 16


def require(name: str, array: NDArray[Any], dtype: DTypeLike, shape: tuple[int | None, ...]) -> None:
    """Raise `ShapeError` unless `array` has this dtype and shape; None in `shape` matches any length."""
    wanted = np.dtype(dtype)
    fits = len(array.shape) == len(shape) and all(
        want is None or want == got for want, got in zip(shape, array.shape, strict=True)
    )
    if array.dtype != wanted or not fits:
        sizes = ", ".join("n" if want is None else str(want) for want in shape)
        raise ShapeError(f"{name} must be {wanted} ({sizes}), got {array.dtype} {array.shape}")


def l2_normalize(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return the rows scaled to unit length, float32 (n, d).

    Raises:
        ShapeError: a row has no direction (zero length, NaN or infinite).
    """
    vectors = np.asarray(vectors, dtype=np.float32)
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if not np.all(np.isfinite(norms)) or np.any(norms == 0):
        bad = int(np.flatnonzero(~np.isfinite(norms[..., 0]) | (norms[..., 0] == 0))[0])
        raise ShapeError(f"vectors must have a finite, non-zero length, row {bad} has {float(norms[bad, 0])}")
    return np.asarray(vectors / norms, dtype=np.float32)


def ids_array(ids: list[bytes]) -> NDArray[np.void]:
    """Return ids of 16 bytes each as a V16 (n,) array; view it as S16 to sort it (and as V16 to read bytes back)."""
    return np.frombuffer(b"".join(ids), dtype=f"V{ID_BYTES}")


def hex_id(value: Any) -> str:
    """Return a 16-byte id (bytes or a V16 scalar) as 32 hex digits."""
    return bytes(value).hex()
