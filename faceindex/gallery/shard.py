"""A shard: one immutable piece of the gallery, four files that belong together. Rows stand in order of face id."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES
from faceindex.errors import DamagedError
from faceindex.gallery import faiss_io
from faceindex.gallery.exact import BLOCK_ROWS, Block
from faceindex.tables import FACE_ROWS, from_id_column, map_arrow
from faceindex.types import IndexRecipe, ModelId

INDEX, VECTORS, FACES, MANIFEST = "index.faiss", "vectors.npy", "faces.arrow", "manifest.json"
SCHEMA = "faceindex.shard/1"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a shard says of itself."""

    model: ModelId
    dimension: int
    face_count: int
    recipe: IndexRecipe
    quantizer: str | None
    """Digest of the trained index it was filled from; None for an exact shard."""

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Read a manifest.

        Raises:
            DamagedError: it is not one.
        """
        try:
            document = json.loads(path.read_bytes())
            if document["schema"] != SCHEMA:
                raise ValueError(document["schema"])
            return cls(
                ModelId(document["model"]),
                document["dimension"],
                document["face_count"],
                IndexRecipe(**document["recipe"]),
                document["quantizer"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedError(f"{path} is not the manifest of a shard; run `faceindex check`") from error


@dataclass(frozen=True, slots=True)
class TrainedIndex:
    """An empty index, trained; all shards of a gallery are filled from it."""

    data: bytes
    digest: str
    """32 hex digits; names it in the manifests of shards."""


class Shard:
    """An opened shard, its vectors and faces memory-mapped; never changed.

    Args:
        files: file name -> local path; the caller has compared their hashes with what the generation recorded.
        tombstones: V16 (n,), ids of faces that are dead, in this shard or another.

    Raises:
        DamagedError: the files do not belong together.
    """

    def __init__(self, files: Mapping[str, Path], tombstones: NDArray[np.void]) -> None:
        self._files = files
        self.manifest = Manifest.read(files[MANIFEST])
        wanted = (self.manifest.face_count, self.manifest.dimension)
        self.vectors = _map_vectors(files[VECTORS])
        """float16 (n, d), unit length."""
        _require_same(files[VECTORS], wanted, self.vectors.shape)
        self.faces = _map_faces(files[FACES])
        """tables.FACE_ROWS."""
        _require_same(files[FACES], wanted[0], len(self.faces))
        self.ids: NDArray[np.bytes_] = from_id_column(self.faces["face_id"]).view(f"S{ID_BYTES}")
        """S16 (n,), ascending."""
        self.alive = np.ones(len(self.ids), bool)
        """bool (n,)."""
        rows, found = self.rows_of(tombstones.view(f"S{ID_BYTES}"))
        self.alive[rows[found]] = False

    @property
    def model(self) -> ModelId:
        return self.manifest.model

    @property
    def recipe(self) -> IndexRecipe:
        return self.manifest.recipe

    @cached_property
    def live_count(self) -> int:
        return int(self.alive.sum())

    @cached_property
    def index(self) -> Any:
        """The FAISS index of a shard that is not exact, loaded when it is first needed."""
        path = self._files[INDEX]
        index = faiss_io.open_index(path)
        _require_same(path, self.vectors.shape, (index.ntotal, index.d))
        return index

    def trained_index(self) -> TrainedIndex:
        """Return the empty index that this shard was filled from, to fill another shard from."""
        return TrainedIndex(faiss_io.emptied(self._files[INDEX]), str(self.manifest.quantizer))

    def rows_of(self, ids: NDArray[np.bytes_]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the row of each face, int64 (m,), and whether it is in this shard, bool (m,)."""
        rows = np.searchsorted(self.ids, ids)
        found = rows < len(self.ids)
        found[found] = self.ids[rows[found]] == ids[found]
        return rows, found

    def blocks(self) -> Iterator[Block]:
        """Yield the live faces and their vectors, block by block."""
        for start in range(0, len(self.ids), BLOCK_ROWS):
            part = slice(start, start + BLOCK_ROWS)
            alive = self.alive[part]
            if alive.all():
                yield self.ids[part], self.vectors[part]
            elif alive.any():
                yield self.ids[part][alive], self.vectors[part][alive]

    def nearest(self, probes: NDArray[np.float32], depth: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return distances and rows of the live faces nearest by the index; see `faiss_io.nearest`."""
        alive = None if self.live_count == len(self.ids) else self.alive
        return faiss_io.nearest(self.index, probes, depth, self.recipe.nprobe, alive)


def _map_vectors(path: Path) -> NDArray[np.float16]:
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DamagedError(f"{path} is not an array of vectors; run `faceindex check`") from error
    _require_same(path, np.dtype("<f2"), vectors.dtype)
    return np.asarray(vectors)


def _map_faces(path: Path) -> pa.Table:
    try:
        faces = map_arrow(path)
    except (pa.ArrowInvalid, ValueError) as error:
        raise DamagedError(f"{path} is not an Arrow file; run `faceindex check`") from error
    _require_same(path, FACE_ROWS.names, faces.column_names)
    return faces


def _require_same(path: Path, recorded: object, found: object) -> None:
    if recorded != found:
        raise DamagedError(f"{path}: {recorded} recorded, {found} found; run `faceindex check`")
