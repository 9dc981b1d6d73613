"""The faces of a generation as rows that can be looked up by id: what its shards keep, without their embeddings."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES
from faceindex.catalog import layout
from faceindex.catalog.files import Files
from faceindex.catalog.generations import Generation
from faceindex.catalog.live import read_tombstones
from faceindex.catalog.parquet import open_arrow
from faceindex.tables import FACE_ROWS, from_id_column


class LiveRows:
    """The faces of a generation without their embeddings, memory-mapped; each has a place, shard after shard."""

    def __init__(self, parts: Sequence[pa.Table], dead: NDArray[np.void]) -> None:
        """Take the rows of each shard, tables.FACE_ROWS by face id, and V16 ids of faces that live no more."""
        self.table: pa.Table = pa.concat_tables([FACE_ROWS.empty_table(), *(part.cast(FACE_ROWS) for part in parts)])
        self._ids = [_sortable(from_id_column(part["face_id"])) for part in parts]
        self._starts = np.cumsum([0, *(len(ids) for ids in self._ids)])
        self._alive = np.ones(len(self.table), bool)
        for start, ids in zip(self._starts.tolist(), self._ids, strict=False):
            places = positions(ids, _sortable(dead))
            self._alive[start + places[places >= 0]] = False

    @classmethod
    def open(cls, files: Files, generation: Generation) -> "LiveRows":
        """Open the rows of a generation.

        Raises:
            DamagedError: a file is missing or differs from what the generation recorded.
        """
        wanted = {layout.shard_path(shard.shard_id, "faces.arrow") for shard in generation.shards}
        entries = [entry for shard in generation.shards for entry in shard.files if entry.path in wanted]
        return cls([open_arrow(files, entry) for entry in entries], read_tombstones(files, generation))

    @property
    def places(self) -> NDArray[np.int64]:
        """Places of all live faces, int64 (n,)."""
        return np.flatnonzero(self._alive)

    def find(self, face_ids: NDArray[np.void]) -> NDArray[np.int64]:
        """Return the place of each face, V16 (n,); -1 where none that lives has the id."""
        found = np.full(len(face_ids), -1, np.int64)
        wanted = _sortable(face_ids)
        for start, ids in zip(self._starts.tolist(), self._ids, strict=False):
            places = positions(ids, wanted)
            there = np.flatnonzero(places >= 0)
            there = there[self._alive[start + places[there]]]
            found[there] = start + places[there]
        return found

    def with_prefix(self, digits: str) -> NDArray[np.int64]:
        """Return the places of the faces whose ids begin with some hex digits."""
        width = 2 * ID_BYTES
        ends = np.frombuffer(bytes.fromhex(digits.ljust(width, "0") + digits.ljust(width, "f")), f"S{ID_BYTES}")
        found = [np.empty(0, np.int64)]
        for start, ids in zip(self._starts.tolist(), self._ids, strict=False):
            first, last = np.searchsorted(ids, ends[:1])[0], np.searchsorted(ids, ends[1:], "right")[0]
            found.append(np.arange(start + first, start + last))
        places = np.concatenate(found)
        return places[self._alive[places]]

    def take(self, places: NDArray[np.int64]) -> pa.Table:
        """Return the rows at some places, in their order."""
        # Taken from all shards at once, Arrow would first join the columns of all of them.
        shard = np.searchsorted(self._starts, places, "right") - 1
        parts = [self.table.slice(0, 0)]
        for number in np.unique(shard).tolist():
            start, end = self._starts[number : number + 2].tolist()
            parts.append(self.table.slice(start, end - start).take(pa.array(places[shard == number] - start)))
        found = pa.concat_tables(parts).combine_chunks()
        return found.take(pa.array(np.argsort(np.argsort(shard, kind="stable"), kind="stable")))

    def ids(self, places: NDArray[np.int64]) -> NDArray[np.void]:
        """Return the face ids at some places, V16 (n,)."""
        return from_id_column(self.take(places)["face_id"])

    def in_photos(self, photo_ids: pa.Array) -> NDArray[np.int64]:
        """Return the places of all live faces in some photos."""
        if not len(photo_ids):
            return np.empty(0, np.int64)
        inside = pc.is_in(self.table["photo_id"], value_set=photo_ids).to_numpy(zero_copy_only=False)
        return np.flatnonzero(inside & self._alive)


def positions(ascending: NDArray[np.bytes_], wanted: NDArray[np.bytes_]) -> NDArray[np.int64]:
    """Return where each wanted id stands among ascending ones, int64 (n,); -1 where it does not."""
    if not len(ascending):
        return np.full(len(wanted), -1, np.int64)
    places = np.searchsorted(ascending, wanted).clip(max=len(ascending) - 1)
    return np.where(ascending[places] == wanted, places, -1).astype(np.int64)


def _sortable(ids: NDArray[np.void]) -> NDArray[np.bytes_]:
    """Return ids as fixed-width byte strings; as such they compare byte by byte."""
    return ids.view(f"S{ID_BYTES}")
