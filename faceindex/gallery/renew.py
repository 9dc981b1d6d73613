"""Brings a generation's shards in line with its live faces: keep, merge, build, mark dead, measure, admit or refuse."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES
from faceindex.catalog import layout
from faceindex.catalog.checksums import write_entry
from faceindex.catalog.files import Files
from faceindex.catalog.generations import Generation
from faceindex.catalog.generations import Shard as RecordedShard
from faceindex.catalog.live import BATCH, live_faces, write_tombstones
from faceindex.gallery.build import ShardFiles, build_shard, train, training_count
from faceindex.gallery.compaction import compact_shards
from faceindex.gallery.drift import drifted
from faceindex.gallery.gate import admit, opened_in
from faceindex.gallery.gpus import Gpus
from faceindex.gallery.opening import open_gallery
from faceindex.gallery.planning import ShardPlan, plan_shards
from faceindex.gallery.recipe import EXACT, Wish, choose_recipe, faces_needed, other_kind
from faceindex.gallery.search import Gallery
from faceindex.gallery.shard import TrainedIndex
from faceindex.machine import core_count
from faceindex.tables import FACE_ROWS, from_float16_column, from_id_column
from faceindex.types import IndexRecipe

BUILD_BYTES = 2 << 30

COPIES = 4
"""Times the bytes of a shard's vectors and faces that building it takes at its height: measured, 1.25 GB for a million
faces of 128 numbers."""

FACE_ROW_BYTES = 64


@dataclass(frozen=True, slots=True)
class _Renewal:
    """One renewal: what is there and what is wanted."""

    files: Files
    draft: Generation
    before: Gallery
    live: NDArray[np.void]
    batches: NDArray[np.int32]
    """In which batch each of them is."""
    recipe: IndexRecipe
    rebuild: bool
    most_faces: int
    threads: int
    gpus: Gpus


def with_gallery(
    files: Files,
    draft: Generation,
    index: str,
    *,
    build_bytes: int = BUILD_BYTES,
    compact: bool = False,
    device: str = "auto",
) -> Generation:
    """Return a generation with shards, tombstones and measured quality for the live faces of its view.

    Args:
        files: of the catalog, whose writer lock is held.
        draft: the generation without them; its shards, recipe and quality are those of the generation before.
        index: "auto", "exact" or a FAISS factory string, perhaps with more of `recipe.GRAMMAR`.
        build_bytes: memory that building may take; it bounds how large shards are built and merged, and the sample
            an index is trained on. Ids of all faces, and the index that is searched, come on top.
        compact: merge what can be merged, and drop all dead faces.
        device: cpu for building without GPUs.

    Raises:
        RefusedError: the index loses too much to be published; nothing the served generation needs was changed.
    """
    wish = Wish.parse(index)
    faces = live_faces(files, draft, ["face_id", BATCH])
    live = from_id_column(faces["face_id"])
    wanted = choose_recipe(len(live), draft.dimension, index)
    rebuild = (
        not draft.shards
        or other_kind(draft.recipe, wanted, index)
        or (draft.quality is not None and drifted(draft.quality, draft.quality.trained_count, len(live)) is not None)
    )
    renewal = _Renewal(
        files,
        draft,
        # The draft's own tombstones are not made yet: the shards' faces are held against those alive now.
        open_gallery(files, replace(draft, tombstones=None), alive=live),
        live,
        faces[BATCH].to_numpy(),
        wanted if rebuild else wish.applied(draft.recipe),
        rebuild,
        max(1, build_bytes // (COPIES * (2 * draft.dimension + FACE_ROW_BYTES))),
        core_count(),
        Gpus(device),
    )
    shards, dead = _shards(renewal, compact=compact)
    renewed = replace(
        draft,
        shards=shards,
        recipe=renewal.recipe,
        tombstones=write_tombstones(files, draft.number, dead) if len(dead) else None,
        face_count=len(live),
        quality=None,
    )
    if renewal.recipe.factory == EXACT or not len(live):
        return renewed
    start = time.perf_counter()
    opened = open_gallery(files, renewed)
    admitted = admit(
        opened,
        len(live),
        wish,
        tuned=not rebuild and draft.quality is not None and renewal.recipe.recall == draft.recipe.recall,
        open_ms=opened_in(start),
        threads=renewal.threads,
    )
    quality = admitted.quality
    if rebuild or draft.quality is None:
        trained = (len(live), quality.imbalance, quality.quantisation_error)
    else:
        trained = (draft.quality.trained_count, draft.quality.trained_imbalance, draft.quality.trained_error)
    quality = replace(quality, trained_count=trained[0], trained_imbalance=trained[1], trained_error=trained[2])
    return replace(renewed, recipe=admitted.gallery.recipe, quality=quality)


def _shards(renewal: _Renewal, *, compact: bool) -> tuple[tuple[RecordedShard, ...], NDArray[np.void]]:
    """Return the shards of the renewed generation, new ones written, and the ids of the dead faces they hold, V16."""
    recorded = renewal.draft.shards
    opened = {one.shard_id: shard for one, shard in zip(recorded, renewal.before.shards, strict=True)}
    plan = plan_shards(
        renewal.live,
        {shard_id: shard.ids.view(f"V{ID_BYTES}") for shard_id, shard in opened.items()},
        rebuild=renewal.rebuild,
        exact=renewal.recipe.factory == EXACT,
        most_faces=renewal.most_faces,
        compact=compact,
    )
    kept = [one for one in recorded if one.shard_id in plan.keep]
    # One shard at a time is in memory: a name for it would keep it while the next is built.
    made = map(partial(_write, renewal.files), _new_shards(renewal, plan))
    return (*kept, *made), plan.dead


def _new_shards(renewal: _Renewal, plan: ShardPlan) -> Iterator[ShardFiles]:
    """Yield the shards that the plan asks for, each built when it is asked for."""
    opened = {one.shard_id: shard for one, shard in zip(renewal.draft.shards, renewal.before.shards, strict=True)}
    if plan.merge:
        fresh = _load(renewal, plan.fresh) if len(plan.fresh) else None
        yield compact_shards([opened[shard] for shard in plan.merge], fresh, renewal.threads, renewal.gpus)
        return
    if not len(plan.fresh) and plan.keep:
        return
    trained: TrainedIndex | None = None
    if renewal.recipe.factory != EXACT:
        if plan.keep:
            trained = opened[plan.keep[0]].trained_index()
        else:
            least = faces_needed(renewal.recipe.factory, renewal.draft.dimension)
            affordable = max(least, renewal.most_faces)
            sample = plan.fresh[: min(affordable, training_count(renewal.recipe, renewal.draft.dimension))]
            trained = train(renewal.recipe, _load(renewal, sample)[1], renewal.threads, renewal.gpus)
    size = len(plan.fresh) if renewal.recipe.factory == EXACT else renewal.most_faces
    for start in range(0, max(1, len(plan.fresh)), max(1, size)):
        yield _built(renewal, plan.fresh[start : start + size], trained)


def _built(renewal: _Renewal, wanted: NDArray[np.void], trained: TrainedIndex | None) -> ShardFiles:
    faces, vectors = _load(renewal, wanted)
    model, recipe = renewal.draft.model, renewal.recipe
    return build_shard(faces, vectors, model, recipe, trained, renewal.threads, renewal.gpus)


def _load(renewal: _Renewal, wanted: NDArray[np.void]) -> tuple[pa.Table, NDArray[np.float16]]:
    """Return some live faces, in order of face id, and their vectors."""
    there = np.searchsorted(renewal.live.view(f"S{ID_BYTES}"), wanted.view(f"S{ID_BYTES}"))
    batches = np.unique(renewal.batches[there])
    columns = [*FACE_ROWS.names, "embedding"]
    faces = live_faces(renewal.files, renewal.draft, columns, wanted, batches).combine_chunks()
    return faces.select(FACE_ROWS.names), from_float16_column(faces["embedding"])


def _write(files: Files, made: ShardFiles) -> RecordedShard:
    entries = [
        write_entry(files, layout.shard_path(made.shard_id, name), data) for name, data in sorted(made.contents.items())
    ]
    return RecordedShard(made.shard_id, tuple(entries), made.face_count, made.recipe)
