"""Holds a gallery against the data files it was made from: the thorough part of `faceindex check --deep`."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES
from faceindex.catalog.files import Files
from faceindex.catalog.generations import Generation
from faceindex.catalog.live import open_view, read_tombstones
from faceindex.catalog.parquet import read_table
from faceindex.catalog.upkeep import Problem
from faceindex.gallery import faiss_io
from faceindex.gallery.opening import open_gallery
from faceindex.gallery.shard import FACES, INDEX, VECTORS, Shard
from faceindex.tables import FACE_ROWS, from_float16_column, from_id_column
from faceindex.types import IndexRecipe, PhotoState

REMEDY = "run `faceindex compact --rebuild`"

SAMPLE = 512
"""Faces of each shard that are looked for by their own vectors."""

LEAST_FOUND = 0.9
"""Share of them that a sound index finds, however coarse its codes are; with mixed-up numbers it finds next to none."""


def audit(files: Files, generation: Generation) -> Iterator[Problem]:
    """Read every face of a generation's data files and of its shards, and yield where they disagree.

    Each live face must be in exactly one shard, every other face of a shard be among the tombstones, and what a shard
    keeps of a face, its vector too, be what its data file holds. Each index must number the faces of its shard, each
    once, and find them by their own vectors. Memory grows with the number of faces, not with their vectors.

    Raises:
        DamagedError: a file is missing or differs from what the generation recorded.
        ModelMismatchError: a shard holds another model's embeddings.
    """
    shards = open_gallery(files, generation).shards
    seen = [np.zeros(len(shard.ids), bool) for shard in shards]
    view = open_view(files, generation)
    live_photos = np.unique(_ids(view.filter(pc.equal(view["state"], PhotoState.OK.value))["photo_id"]))
    for _, batch in sorted(generation.batches.items()):
        faces = read_table(files, batch.faces, [*FACE_ROWS.names, "embedding"]).combine_chunks()
        live = np.isin(_ids(faces["photo_id"]), live_photos)
        yield from _problems_of(batch.faces.path, faces, live, shards, seen)
    yield from _problems_of_shards(shards, seen)
    tombstones = read_tombstones(files, generation).view(f"S{ID_BYTES}")
    stray = ~np.isin(tombstones, np.concatenate([np.empty(0, f"S{ID_BYTES}"), *(shard.ids for shard in shards)]))
    if generation.tombstones and stray.any():
        detail = f"{stray.sum():,} faces marked as dead that no shard holds"
        yield Problem(generation.tombstones.path, detail, damaged=False)
    for shard in shards:
        yield from _problems_of_index(shard, generation.recipe)


def _problems_of(
    path: str, faces: pa.Table, live: NDArray[np.bool_], shards: Sequence[Shard], seen: Sequence[NDArray[np.bool_]]
) -> Iterator[Problem]:
    """Yield where the faces of one data file and the shards disagree; mark the rows that were compared in `seen`."""
    ids, vectors, rows = _ids(faces["face_id"]), from_float16_column(faces["embedding"]), faces.select(FACE_ROWS.names)
    served = np.zeros(len(ids), np.int64)
    for shard, compared in zip(shards, seen, strict=True):
        places, found = shard.rows_of(ids)
        places = places[found]
        compared[places] = True
        served[found] += shard.alive[places]
        changed = (shard.vectors[places].view(np.uint16) != vectors[found].view(np.uint16)).any(axis=1)
        if changed.any():
            yield _damage(shard, VECTORS, f"{changed.sum():,} vectors differ from {path}")
        if not _same(shard.faces.take(places), rows.filter(pa.array(found))):
            yield _damage(shard, FACES, f"rows differ from {path}")
    for wrong, what in (
        (live & (served == 0), "faces of photos that are there are in no shard, or marked as dead"),
        (live & (served > 1), "faces are in more than one shard"),
        (~live & (served > 0), "faces of photos that are gone are in a shard and not marked as dead"),
    ):
        if wrong.any():
            yield Problem(path, f"{wrong.sum():,} {what}; {REMEDY}", damaged=True)


def _problems_of_shards(shards: Sequence[Shard], seen: Sequence[NDArray[np.bool_]]) -> Iterator[Problem]:
    for shard, compared in zip(shards, seen, strict=True):
        if not (shard.ids[:-1] < shard.ids[1:]).all():
            yield _damage(shard, FACES, "its face ids are not in order")
        strange = shard.alive & ~compared
        if strange.any():
            yield _damage(shard, FACES, f"{strange.sum():,} faces are in no data file")


def _problems_of_index(shard: Shard, recipe: IndexRecipe) -> Iterator[Problem]:
    if shard.manifest.quantizer is None or not len(shard.ids):
        return
    if fault := faiss_io.fault_of(shard.index):
        yield _damage(shard, INDEX, f"the index {fault}")
        return
    numbers = faiss_io.numbers(shard.index)
    if numbers is not None and not np.array_equal(np.sort(numbers), np.arange(len(shard.ids))):
        yield _damage(shard, INDEX, "its lists do not hold each face once")
        return
    rows = np.unique(np.linspace(0, len(shard.ids) - 1, SAMPLE).astype(np.int64))
    probes = np.asarray(shard.vectors[rows], np.float32)
    _, found = faiss_io.nearest(shard.index, probes, max(20, recipe.rerank), max(1, recipe.nprobe), None)
    share = shard.finds(rows, found).mean()
    if share < LEAST_FOUND:
        yield _damage(shard, INDEX, f"finds {share:.0%} of its faces by their own vectors, {LEAST_FOUND:.0%} wanted")


def _same(a: pa.Table, b: pa.Table) -> bool:
    """Tell whether two tables of FACE_ROWS hold the same bytes."""
    return all(
        np.array_equal(_bytes_of(a[field.name], field.type), _bytes_of(b[field.name], field.type))
        for field in FACE_ROWS
    )


def _bytes_of(column: pa.ChunkedArray, kind: pa.DataType) -> NDArray[np.generic]:
    return _ids(column) if pa.types.is_fixed_size_binary(kind) else column.to_numpy().view(np.uint32)


def _damage(shard: Shard, name: str, detail: str) -> Problem:
    return Problem(f"shards/{shard.name}/{name}", f"{detail}; {REMEDY}", damaged=True)


def _ids(column: pa.ChunkedArray) -> NDArray[np.bytes_]:
    ids: NDArray[np.bytes_] = from_id_column(column).view(f"S{ID_BYTES}")
    return ids
