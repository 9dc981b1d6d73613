"""Galleries of synthetic faces, made as a run makes them: shards built, written, opened from their files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from faceindex.gallery.build import ShardFiles, build_shard
from faceindex.gallery.search import Gallery
from faceindex.gallery.shard import Shard, TrainedIndex
from faceindex.tables import FACE_ROWS, to_id_column
from faceindex.types import CandidateLists, IndexRecipe, ModelId

MODEL = ModelId("demo@0123456789ab")
NO_IDS = np.empty(0, "V16")


def random_ids(count: int, seed: int) -> NDArray[np.void]:
    """Return V16 (count,) ids, ascending."""
    ids = np.frombuffer(np.random.default_rng(seed).bytes(16 * count), "S16")
    return np.sort(ids).view("V16")


def face_table(ids: NDArray[np.void]) -> pa.Table:
    """Return FACE_ROWS of these faces; a face's box tells its place in `ids`."""
    count = len(ids)
    numbers = pa.array(np.arange(count, dtype=np.float32))
    columns = [to_id_column(ids), to_id_column(random_ids(count, 99)), *[numbers] * 6]
    return pa.table(columns, schema=FACE_ROWS)


def shard_files(
    ids: NDArray[np.void], vectors: NDArray[np.float32], recipe: IndexRecipe, trained: TrainedIndex | None = None
) -> ShardFiles:
    """Return a shard of faces in any order."""
    order = np.argsort(ids.view("S16"))
    return build_shard(face_table(ids[order]), vectors[order].astype(np.float16), MODEL, recipe.untuned(), trained)


def write_shard(made: ShardFiles, folder: Path) -> dict[str, Path]:
    """Write a shard's files and return them by name."""
    folder.mkdir(parents=True)
    for name, data in made.contents.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in made.contents}


def make_gallery(
    folder: Path,
    ids: NDArray[np.void],
    vectors: NDArray[np.float32],
    recipe: IndexRecipe,
    trained: TrainedIndex | None = None,
    *,
    shards: int = 1,
    tombstones: NDArray[np.void] = NO_IDS,
) -> Gallery:
    """Return a gallery whose faces are dealt to its shards in turn."""
    parts = [slice(first, None, shards) for first in range(shards)]
    made = [shard_files(ids[part], vectors[part], recipe, trained) for part in parts]
    opened = [Shard(write_shard(one, folder / f"{n}-{one.shard_id}"), tombstones) for n, one in enumerate(made)]
    return Gallery(opened, MODEL, recipe)


def naive_search(
    ids: NDArray[np.void], vectors: NDArray[np.float32], probes: NDArray[np.float32], k: int
) -> tuple[list[list[bytes]], list[list[np.float32]]]:
    """Return ids and cosines of the k best of each probe, of unit length, by sorting everything: the oracle."""
    stored = vectors.astype(np.float16).astype(np.float64)
    names = [bytes(one) for one in ids]
    all_ids, all_scores = [], []
    for probe in probes.astype(np.float64):
        lengths = np.sqrt((stored**2).sum(axis=1) * (probe**2).sum())
        cosines = ((stored * probe).sum(axis=1) / lengths).astype(np.float32)
        ranked = sorted(range(len(names)), key=lambda row: (-cosines[row], names[row]))[:k]
        all_ids.append([names[row] for row in ranked])
        all_scores.append([cosines[row] for row in ranked])
    return all_ids, all_scores


def answers(found: CandidateLists) -> tuple[list[list[bytes]], list[Sequence[np.float32]]]:
    """Return the candidates of each probe, as `naive_search` does."""
    counts = found.counts
    ids = [[bytes(one) for one in row[:count]] for row, count in zip(found.face_ids, counts, strict=True)]
    return ids, [list(row[:count]) for row, count in zip(found.similarities, counts, strict=True)]
