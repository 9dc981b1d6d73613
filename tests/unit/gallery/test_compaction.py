from pathlib import Path

import numpy as np
import pytest

from faceindex.gallery.build import train
from faceindex.gallery.compaction import compact_shards
from faceindex.types import IndexRecipe
from tests.support.galleries import face_table, make_gallery, random_ids, shard_files
from tests.support.people import synthetic_people


@pytest.mark.parametrize("factory", ["exact", "IVF8,PQ12x4fs", "HNSW8"])
@pytest.mark.parametrize("fresh", [0, 100])
def test_merged_shards_are_byte_for_byte_a_shard_built_afresh(factory: str, fresh: int, tmp_path: Path):
    vectors, _ = synthetic_people([3] * 400, seed=1)
    recipe = IndexRecipe(factory, nprobe=4, rerank=10)
    trained = None if factory == "exact" else train(recipe, vectors.astype(np.float16))
    ids, new_ids = random_ids(900, 1), random_ids(fresh, 2)
    gallery = make_gallery(tmp_path, ids, vectors[:900], recipe, trained, shards=3, tombstones=ids[::7])
    table, new = face_table(new_ids), vectors[900 : 900 + fresh].astype(np.float16)

    merged = compact_shards(gallery.shards, (table, new) if fresh else None)

    alive = np.ones(900, bool)
    alive[::7] = False
    together = np.concatenate([ids[alive], new_ids])
    afresh = shard_files(together, np.concatenate([vectors[:900][alive], vectors[900 : 900 + fresh]]), recipe, trained)
    assert merged.face_count == len(together)
    assert merged.contents["vectors.npy"] == afresh.contents["vectors.npy"]
    assert merged.contents.get("index.faiss") == afresh.contents.get("index.faiss")
