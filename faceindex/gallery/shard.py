"""A shard: one immutable piece of the gallery, files that belong together. Rows stand in order of face id."""

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
from faceindex.gallery.coarse import CoarseRanking
from faceindex.gallery.exact import BLOCK_ROWS, Block
from faceindex.gallery.scores import best_rows, cosines
from faceindex.gallery.vectors import StoredVectors
from faceindex.tables import FACE_ROWS, from_id_column, map_arrow
from faceindex.types import IndexRecipe, ModelId

INDEX, VECTORS, FACES, MANIFEST = "index.faiss", "vectors.npy", "faces.arrow", "manifest.json"
PAGE_SUMS = "vectors.xxh3"
"""Checksums of the pages of VECTORS, which is therefore not read to the end when the shard is opened."""

SCHEMA = "faceindex.shard/1"

COPY = 0.99
"""Cosine similarity from which two faces are of copies of one picture; codes need not tell them apart."""


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
        files: file name -> local path; the caller has compared their hashes with what the generation recorded, but
            for VECTORS where there are PAGE_SUMS.
        tombstones: V16 (n,), ids of faces that are dead, in this shard or another.

    Raises:
        DamagedError: the files do not belong together.
    """

    def __init__(self, files: Mapping[str, Path], tombstones: NDArray[np.void]) -> None:
        self._files = files
        self.manifest = Manifest.read(files[MANIFEST])
        wanted = (self.manifest.face_count, self.manifest.dimension)
        self.vectors = StoredVectors(files[VECTORS], files.get(PAGE_SUMS))
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
    def name(self) -> str:
        """The shard's id."""
        return self._files[MANIFEST].parent.name

    @property
    def resident_bytes(self) -> int:
        """Memory of the opened shard: its index, and which of its faces are alive."""
        return self.alive.nbytes + (self._files[INDEX].stat().st_size if INDEX in self._files else 0)

    @property
    def mapped_bytes(self) -> int:
        """Files mapped into memory, read as they are needed."""
        return self._files[VECTORS].stat().st_size + self._files[FACES].stat().st_size

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

    @cached_property
    def coarse(self) -> CoarseRanking | None:
        """How the lists of the index are ranked, the same for all shards of a gallery; None when FAISS does it."""
        centroids = faiss_io.centroids_of(self.index)
        return None if centroids is None else CoarseRanking(centroids)

    def trained_index(self) -> TrainedIndex:
        """Return the empty index that this shard was filled from, to fill another shard from."""
        return TrainedIndex(faiss_io.emptied(self._files[INDEX]), str(self.manifest.quantizer))

    def rows_of(self, ids: NDArray[np.bytes_]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the row of each face, int64 (m,), and whether it is in this shard, bool (m,)."""
        rows = np.searchsorted(self.ids, ids)
        found = rows < len(self.ids)
        found[found] = self.ids[rows[found]] == ids[found]
        return rows, found

    def finds(self, rows: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether each row is among what was found for its vector, or another copy of its picture is.

        Args:
            rows: int64 (n,).
            places: int64 (n, k), rows that a search with their vectors returned; -1 for none.

        Returns:
            bool (n,).
        """
        probes = np.asarray(self.vectors[rows], np.float32)
        found, left = places.ravel(), np.repeat(np.arange(len(rows)), places.shape[1])
        similarities = cosines(probes, left, self.vectors.with_rows(found), found).reshape(places.shape)
        copies = similarities >= COPY
        same: NDArray[np.bool_] = (copies | (places == rows[:, np.newaxis])).any(axis=1)
        return same

    def blocks(self, chosen: NDArray[np.bool_] | None = None) -> Iterator[Block]:
        """Yield faces and their vectors, block by block; those of a mask, bool (n,), or all."""
        for start in range(0, len(self.ids), BLOCK_ROWS):
            part = slice(start, start + BLOCK_ROWS)
            if chosen is None or chosen[part].all():
                yield self.ids[part], self.vectors[part]
            elif chosen[part].any():
                yield self.ids[part][chosen[part]], self.vectors[part][chosen[part]]

    def ranked(
        self, probes: NDArray[np.float32], rows: NDArray[np.int64], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bytes_]]:
        """Return the k most similar of the faces that each probe is compared with.

        Args:
            probes: float32 (q, d).
            rows: int64 (q, n), which faces; -1 for none.
            k: how many, at most n are found.

        Returns:
            Similarities float32 (q, k), descending, and face ids S16 (q, k); -inf and zero where there is none.
        """
        count = rows.shape[1]
        places = rows.ravel()
        scores = cosines(probes, np.repeat(np.arange(len(probes)), count), self.vectors.with_rows(places), places)
        best, places = best_rows(scores.reshape(rows.shape), rows, k)
        similarities = np.full((len(probes), k), -np.inf, np.float32)
        face_ids = np.zeros((len(probes), k), f"S{ID_BYTES}")
        there = np.isfinite(best)
        similarities[:, : best.shape[1]] = best
        face_ids[:, : best.shape[1]][there] = self.ids[places[there]]
        return similarities, face_ids

    def living(self, allowed: NDArray[np.bool_] | None = None) -> NDArray[np.bool_] | None:
        """Return which faces a search may return, bool (n,): the live ones of those allowed; None for all."""
        if self.live_count == len(self.ids):
            return allowed
        return self.alive if allowed is None else self.alive & allowed


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
