"""Builds shards: trains the index they share, and makes the files of one.

Face ids are hashes, so the first faces of a gallery in order of their ids are a uniform sample of all of it.
"""

import io
import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from blake3 import blake3
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES, require
from faceindex.errors import ConfigError, ShapeError
from faceindex.gallery import faiss_io, training
from faceindex.gallery.exact import UNIT_TOLERANCE, widened
from faceindex.gallery.gpus import Gpus
from faceindex.gallery.recipe import EXACT, TRAINING_POINTS_PER_LIST
from faceindex.gallery.shard import FACES, INDEX, MANIFEST, PAGE_SUMS, VECTORS, Manifest, TrainedIndex
from faceindex.gallery.vectors import page_sums
from faceindex.tables import FACE_ROWS, from_id_column
from faceindex.types import IndexRecipe, ModelId

BLOCK_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class ShardFiles:
    """A shard before it is written."""

    shard_id: str
    """32 hex digits over the contents: an unchanged shard keeps its id, and another never takes it."""
    face_count: int
    recipe: IndexRecipe
    contents: dict[str, bytes | memoryview]
    """File name -> bytes."""


def train(
    recipe: IndexRecipe, vectors: NDArray[np.float16], threads: int = 1, gpus: Gpus | None = None
) -> TrainedIndex:
    """Return an empty trained index, the same for the same faces whatever the number of threads.

    All shards of a gallery are filled from it, so that their distances can be compared and the shards merged.

    Args:
        recipe: not exact.
        vectors: float16 (n, d), unit length, in order of face id; as many of the first are used as it takes.
        threads: for FAISS.
        gpus: for FAISS; None for the CPU alone.

    Raises:
        ConfigError: the faces are too few, or FAISS cannot train this index.
    """
    index = faiss_io.new_index(recipe.factory, vectors.shape[1])
    centroids = faiss_io.centroid_count(index)
    if len(vectors) < centroids:
        raise ConfigError(f"{recipe.factory} needs {centroids} faces to train, got {len(vectors)}; use fewer lists")
    if centroids:
        training.train(index, vectors[: training_count(recipe, vectors.shape[1])], recipe.seed, threads, gpus)
    data = faiss_io.to_bytes(index)
    return TrainedIndex(data, _digest(data))


def training_count(recipe: IndexRecipe, dimension: int) -> int:
    """Return how many faces an index is trained on; the first of a gallery in order of face id."""
    centroids = faiss_io.centroid_count(faiss_io.new_index(recipe.factory, dimension))
    return TRAINING_POINTS_PER_LIST * max(centroids, 256)


def build_shard(
    faces: pa.Table,
    vectors: NDArray[np.float16],
    model: ModelId,
    recipe: IndexRecipe,
    trained: TrainedIndex | None = None,
    threads: int = 1,
    gpus: Gpus | None = None,
) -> ShardFiles:
    """Return the files of a shard; the same faces give the same bytes.

    Args:
        faces: the columns of FACE_ROWS, in order of face id.
        vectors: float16 (n, d), unit length, row by row those faces.
        model: whose embeddings they are.
        recipe: exact, or what `trained` was trained by.
        trained: by `train`, or `trained_index` of another shard; None for an exact shard.
        threads: for FAISS.
        gpus: for FAISS; None for the CPU alone.

    Raises:
        ShapeError: faces and vectors do not belong together, are not in order, or a vector is not of unit length.
    """
    rows = faces.select(FACE_ROWS.names).cast(FACE_ROWS)
    halves = np.ascontiguousarray(vectors)
    require("vectors", halves, "<f2", (len(rows), None))
    _require_ascending(from_id_column(rows["face_id"]))
    _require_unit_length(halves)
    manifest = Manifest(
        model=model,
        dimension=int(halves.shape[1]),
        face_count=len(halves),
        recipe=recipe.untuned(),
        quantizer=trained.digest if trained else None,
    )
    stored = _npy(halves)
    contents: dict[str, bytes | memoryview] = {
        FACES: _arrow(rows),
        MANIFEST: json.dumps(manifest.to_json(), indent=1).encode(),
        PAGE_SUMS: page_sums(stored),
        VECTORS: stored,
    }
    if recipe.factory != EXACT:
        if trained is None:
            raise ConfigError(f"a shard of {recipe.factory} is filled from a trained index, got none; train one first")
        index = faiss_io.from_bytes(trained.data)
        training.fill(index, halves, threads, gpus)
        contents[INDEX] = faiss_io.to_bytes(index)
    shard_id = _digest(*(part for name in sorted(contents) for part in (name.encode(), contents[name])))
    return ShardFiles(shard_id, len(halves), recipe.untuned(), contents)


def _require_ascending(face_ids: NDArray[np.void]) -> None:
    ids = face_ids.view(f"S{ID_BYTES}")
    if not (ids[:-1] < ids[1:]).all():
        raise ShapeError("faces of a shard must be in ascending order of face id, each once; sort them by face_id")


def _require_unit_length(vectors: NDArray[np.float16]) -> None:
    """Search relies on it; also refuses NaN and infinity."""
    for start in range(0, len(vectors), BLOCK_ROWS):
        block = vectors[start : start + BLOCK_ROWS]
        wide = widened(block)
        wrong = ~(np.abs(np.sqrt(np.einsum("ij,ij->i", wide, wide)) - 1) <= UNIT_TOLERANCE)
        wrong |= ~np.isfinite(block).all(axis=1)
        if wrong.any():
            raise ShapeError(f"vectors must have unit length, row {start + int(np.argmax(wrong))} has not; scale them")


def _digest(*parts: bytes | memoryview) -> str:
    hasher = blake3()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little")).update(part)
    return hasher.hexdigest()[:32]


def _npy(array: NDArray[np.float16]) -> memoryview:
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=False)
    return sink.getbuffer()


def _arrow(table: pa.Table) -> memoryview:
    """Return an Arrow file of one record batch, so that its columns can be viewed as arrays."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return memoryview(sink.getvalue())
