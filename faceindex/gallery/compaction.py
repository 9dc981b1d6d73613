"""Merges shards: the live faces of several, and new ones, in one new shard filled from the same trained index."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from faceindex.gallery.build import ShardFiles, build_shard
from faceindex.gallery.gpus import Gpus
from faceindex.gallery.shard import Shard
from faceindex.tables import FACE_ROWS, from_id_column


def compact_shards(
    shards: Sequence[Shard],
    fresh: tuple[pa.Table, NDArray[np.float16]] | None = None,
    threads: int = 1,
    gpus: Gpus | None = None,
) -> ShardFiles:
    """Return one shard of the live faces of several; its bytes are those of a shard built from these faces afresh.

    Args:
        shards: of one gallery, at least one; their tombstones are dropped.
        fresh: faces to add, the columns of FACE_ROWS, and their vectors, float16 (n, d).
        threads: for FAISS.
        gpus: for FAISS; None for the CPU alone.
    """
    tables = [shard.faces.filter(pa.array(shard.alive)) for shard in shards]
    parts = [shard.vectors[shard.alive] for shard in shards]
    if fresh is not None:
        tables.append(fresh[0].select(FACE_ROWS.names).cast(FACE_ROWS))
        parts.append(fresh[1])
    faces, vectors = pa.concat_tables(tables).combine_chunks(), np.concatenate(parts)
    order = np.argsort(from_id_column(faces["face_id"]).view("S16"))
    first = shards[0]
    trained = first.trained_index() if first.manifest.quantizer else None
    return build_shard(faces.take(order), vectors[order], first.model, first.recipe, trained, threads, gpus)
