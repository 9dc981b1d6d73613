"""Brings a generation's shards in line with its live faces: keep, build, mark dead, measure."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from faceindex.catalog import layout
from faceindex.catalog.checksums import write_entry
from faceindex.catalog.files import Files
from faceindex.catalog.generations import Generation
from faceindex.catalog.generations import Shard as RecordedShard
from faceindex.catalog.live import live_faces, write_tombstones
from faceindex.gallery.build import ShardFiles, build_shard, train
from faceindex.gallery.opening import open_gallery
from faceindex.gallery.planning import plan_shards
from faceindex.gallery.recall import measure_recall
from faceindex.gallery.recipe import EXACT, RETRAIN_GROWTH, choose_recipe, outdated
from faceindex.gallery.search import Gallery
from faceindex.machine import core_count
from faceindex.tables import FACE_ROWS, from_float16_column, from_id_column
from faceindex.types import IndexRecipe


def with_gallery(files: Files, draft: Generation, index: str) -> Generation:
    """Return a generation with shards, tombstones and measured recall for the live faces of its view.

    Args:
        files: of the catalog, whose writer lock is held.
        draft: the generation without them; its shards are those of the generation before.
        index: "auto", "exact" or a FAISS factory string.
    """
    threads = core_count()
    live = from_id_column(live_faces(files, draft, ["face_id"])["face_id"])
    # The draft's own tombstones are not made yet: what the shards hold is asked of them, dead or alive.
    before = open_gallery(files, replace(draft, tombstones=None))
    held = {
        recorded.shard_id: shard.ids.view("V16") for recorded, shard in zip(draft.shards, before.shards, strict=True)
    }
    rebuild = _rebuild(draft, before, len(live), index)
    recipe = (
        draft.shards[0].recipe if draft.shards and not rebuild else choose_recipe(len(live), draft.dimension, index)
    )
    plan = plan_shards(live, held, rebuild=rebuild, exact=recipe.factory == EXACT)
    shards = [recorded for recorded in draft.shards if recorded.shard_id in plan.keep]
    if len(plan.fresh) or not shards:
        made = _build(files, draft, before if shards else None, plan.fresh, recipe, threads)
        shards.append(_write(files, made))
    dead = write_tombstones(files, draft.number, plan.dead) if len(plan.dead) else None
    renewed = replace(
        draft,
        shards=tuple(shards),
        recipe=recipe,
        tombstones=dead,
        face_count=len(live),
        recall_at_10=None,
        first_agreement=None,
    )
    if recipe.factory == EXACT or not len(live):
        return renewed
    recall, agreement = measure_recall(open_gallery(files, renewed), threads)
    return replace(renewed, recall_at_10=recall, first_agreement=agreement)


def _rebuild(draft: Generation, before: Gallery, live_count: int, index: str) -> bool:
    """Return whether the shards there are cannot be built upon."""
    if not draft.shards:
        return True
    recipe = draft.shards[0].recipe
    trained_on = len(before.shards[0].ids)
    return outdated(recipe, live_count, draft.dimension, index) or (
        recipe.factory != EXACT and live_count > RETRAIN_GROWTH * trained_on
    )


def _build(
    files: Files,
    draft: Generation,
    before: Gallery | None,
    fresh: NDArray[np.void],
    recipe: IndexRecipe,
    threads: int,
) -> ShardFiles:
    """Return a shard of the fresh faces; its quantiser is that of the kept shards, or trained on these faces."""
    faces = live_faces(files, draft, [*FACE_ROWS.names, "embedding"])
    wanted = pa.Array.from_buffers(faces["face_id"].type, len(fresh), [None, pa.py_buffer(np.ascontiguousarray(fresh))])
    faces = faces.filter(pc.is_in(faces["face_id"], value_set=wanted)).combine_chunks()
    vectors = from_float16_column(faces["embedding"])
    trained = None
    if recipe.factory != EXACT:
        trained = before.shards[0].trained_index() if before else train(recipe, vectors, threads)
    return build_shard(faces, vectors, draft.model, recipe, trained, threads)


def _write(files: Files, made: ShardFiles) -> RecordedShard:
    entries = [
        write_entry(files, layout.shard_path(made.shard_id, name), data) for name, data in sorted(made.contents.items())
    ]
    return RecordedShard(made.shard_id, tuple(entries), made.face_count, made.recipe)
