"""The stored vectors of a shard: memory-mapped, and each page of the file compared with its checksum when first read.

So a gallery opens without reading its vectors, and a search reads those it compares, yet a flipped byte never goes into
an answer.
"""

from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from faceindex.errors import DamagedError
from faceindex.faces.compiled import compiled

PAGE_BYTES = 4096
"""What the operating system reads at least."""

Rows = slice | NDArray[np.int64] | NDArray[np.bool_]


class StoredVectors:
    """The file of a shard's vectors, float16 (n, d), unit length; read with [rows], as an array is.

    Args:
        path: .npy.
        sums: file of `page_sums`, whose own bytes the caller has checked; None when the caller has checked all vectors.

    Raises:
        DamagedError: it is no such file; on reading, a page differs from what was written.
    """

    def __init__(self, path: Path, sums: Path | None = None) -> None:
        self._path = path
        size = path.stat().st_size
        self._bytes = np.memmap(path, np.uint8, "r") if size else np.empty(0, np.uint8)
        self._sums = np.empty(0, np.uint64) if sums is None else np.frombuffer(sums.read_bytes(), "<u8")
        page_count = -(-size // PAGE_BYTES)
        if sums is not None and len(self._sums) != page_count:
            raise DamagedError(f"{path} has {page_count} pages, {len(self._sums)} recorded; run `faceindex check`")
        self._whole = np.full(page_count, sums is None)
        self._check(np.arange(min(1, page_count)))
        self._vectors = _map(path)
        # Checked once it is known where the header ends.
        self._first_byte = size - self._vectors.nbytes
        self._check(np.arange(-(-self._first_byte // PAGE_BYTES)))

    @property
    def shape(self) -> tuple[int, int]:
        return self._vectors.shape[0], self._vectors.shape[1]

    @property
    def dtype(self) -> np.dtype[np.float16]:
        return self._vectors.dtype

    def __len__(self) -> int:
        return len(self._vectors)

    def __getitem__(self, rows: Rows) -> NDArray[np.float16]:
        """Return some vectors, float16 (m, d): a view of the file for a slice, copies for row numbers or a mask."""
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(len(self))
            edges = self._first_byte + 2 * self.shape[1] * np.array([start, max(start, stop)])
            self._check(np.arange(edges[0] // PAGE_BYTES, -(-edges[1] // PAGE_BYTES)))
        else:
            self.with_rows(np.flatnonzero(rows) if rows.dtype == np.bool_ else np.asarray(rows, np.int64))
        return self._vectors[rows]

    def with_rows(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        """Return all vectors, of which the caller reads no others than these rows, int64 (m,); those below 0 are none.

        Raises:
            DamagedError: one of them is damaged.
        """
        self._check(np.unique(_unread(rows, self._first_byte, 2 * self.shape[1], self._whole)))
        return self._vectors

    def _check(self, pages: NDArray[np.int64]) -> None:
        for page in pages[~self._whole[pages]].tolist():
            data = self._bytes[page * PAGE_BYTES : (page + 1) * PAGE_BYTES].data
            if xxhash.xxh3_64_intdigest(data) != self._sums[page]:
                raise DamagedError(
                    f"{self._path} is damaged: page {page} is not what was written; run `faceindex check`"
                )
            self._whole[page] = True


def page_sums(data: memoryview) -> bytes:
    """Return the xxh3-64 of each page of a file, little-endian."""
    starts = range(0, len(data), PAGE_BYTES)
    return np.array([xxhash.xxh3_64_intdigest(data[start : start + PAGE_BYTES]) for start in starts], "<u8").tobytes()


def _map(path: Path) -> NDArray[np.float16]:
    try:
        vectors = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise DamagedError(f"{path} is not an array of vectors; run `faceindex check`") from error
    if vectors.dtype != np.dtype("<f2") or vectors.ndim != 2:
        kind = f"{vectors.dtype} of {vectors.ndim} dimensions"
        raise DamagedError(f"{path}: float16 of 2 dimensions recorded, {kind} found; run `faceindex check`")
    return vectors


@compiled
def _unread(rows: NDArray[np.int64], first_byte: int, row_bytes: int, whole: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the pages that hold these rows and are not known to be whole, int64 (p,), some of them several times."""
    pages = np.empty(0, np.int64)
    for _ in range(2):  # to count them, then to list them
        count = 0
        for row in rows:
            if row >= 0:
                start = first_byte + row * row_bytes
                for page in range(start // PAGE_BYTES, (start + row_bytes - 1) // PAGE_BYTES + 1):
                    if not whole[page]:
                        if count < len(pages):
                            pages[count] = page
                        count += 1
        if count <= len(pages):
            break
        pages = np.empty(count, np.int64)
    return pages[:count]
