"""Builds shards: the files of one immutable piece of the gallery.

Rows stand in order of face id. Ids are hashes, so the first rows of a gallery are a uniform sample of all of it.
FAISS serialises into memory and the caller writes: FAISS itself reports success on a full disk.
"""

import io
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from blake3 import blake3
from numpy.typing import NDArray

from faceindex.gallery.recipe import EXACT, TRAINING_POINTS_PER_LIST
from faceindex.tables import FACE_ROWS, from_id_column
from faceindex.types import IndexRecipe, ModelId

INDEX, VECTORS, FACES, MANIFEST = "index.faiss", "vectors.npy", "faces.arrow", "manifest.json"


@dataclass(frozen=True, slots=True)
class ShardFiles:
    """A shard before it is written."""

    shard_id: str
    """32 hex digits over model, recipe, faces and vectors: an unchanged shard keeps its id."""
    face_count: int
    recipe: IndexRecipe
    contents: dict[str, bytes]
    """File name -> bytes."""


def train(recipe: IndexRecipe, vectors: NDArray[np.float16], threads: int) -> Any:
    """Return an empty FAISS index trained on a sample of `vectors`, float16 (n, d) in order of face id.

    All shards of a gallery share its quantiser and codebooks, so that they can be merged.
    """
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.index_factory(vectors.shape[1], recipe.factory, faiss.METRIC_INNER_PRODUCT)
    inverted = faiss.extract_index_ivf(index)
    inverted.cp.seed = recipe.seed
    sample = vectors[: max(10_000, TRAINING_POINTS_PER_LIST * inverted.nlist)]
    index.train(np.ascontiguousarray(sample, dtype=np.float32))
    return index


def build_shard(
    faces: pa.Table,
    vectors: NDArray[np.float16],
    model: ModelId,
    recipe: IndexRecipe,
    trained: Any = None,
    threads: int = 1,
) -> ShardFiles:
    """Return the files of a shard.

    Args:
        faces: the columns of FACE_ROWS, in order of face id.
        vectors: float16 (n, d), row by row those faces.
        model: whose embeddings they are.
        recipe: exact, or what `trained` was trained by.
        trained: an index of `train`, or one of another shard; emptied and filled. None for an exact shard.
        threads: for FAISS.
    """
    rows = faces.select(FACE_ROWS.names).cast(FACE_ROWS).combine_chunks()
    halves = np.ascontiguousarray(vectors, dtype="<f2")
    ids = from_id_column(rows["face_id"])
    hasher = blake3(json.dumps([model, asdict(recipe), halves.shape]).encode())
    hasher.update(ids.tobytes()).update(halves.data.cast("B") if len(halves) else b"")
    shard_id = hasher.hexdigest()[:32]
    manifest = {
        "schema": "faceindex.shard/1",
        "shard_id": shard_id,
        "model": model,
        "dimension": int(halves.shape[1]),
        "faces": len(halves),
        "recipe": asdict(recipe),
    }
    contents = {VECTORS: _npy(halves), FACES: _arrow(rows), MANIFEST: json.dumps(manifest, indent=1).encode()}
    if recipe.factory != EXACT:
        contents[INDEX] = _filled(trained, halves, threads)
    return ShardFiles(shard_id, len(halves), recipe, contents)


def _filled(trained: Any, vectors: NDArray[np.float16], threads: int) -> bytes:
    import faiss

    faiss.omp_set_num_threads(threads)
    trained.reset()
    block = 65_536
    for start in range(0, len(vectors), block):
        trained.add(np.ascontiguousarray(vectors[start : start + block], dtype=np.float32))
    return bytes(faiss.serialize_index(trained).data)


def _npy(array: NDArray[np.float16]) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=False)
    return sink.getvalue()


def _arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
