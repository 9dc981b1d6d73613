from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import BatchFiles, Generation
from faceindex.catalog.live import live_faces
from faceindex.config import Settings
from faceindex.gallery.opening import open_gallery
from faceindex.gallery.renew import with_gallery
from faceindex.tables import from_float16_column, from_id_column
from tests.support.catalogs import MODEL, make_generation, photo_results, write_batch
from tests.support.galleries import answers, naive_search

IVF = "IVF4,PQ4x4fs"
"""Wants 624 faces; a thousand photos of `photo_results` have some 800."""


class Nights:
    """A catalog that grows and shrinks; each night's generation follows the one before."""

    def __init__(self, root: Path, index: str) -> None:
        self.files = Catalog.create(str(root), Settings()).files
        self.index = index
        self.served: Generation | None = None

    def publish(self, batches: dict[str, BatchFiles]) -> Generation:
        draft = make_generation(self.files, batches, self.served)
        before = self.served or replace(draft, shards=())
        draft = replace(draft, shards=before.shards, recipe=before.recipe, quality=before.quality, tombstones=None)
        self.served = with_gallery(self.files, draft, self.index)
        return self.served

    def batch(self, number: int, photos: int) -> dict[str, BatchFiles]:
        name = f"{number:02x}" * 16
        return {name: write_batch(self.files, name, photo_results(10_000 * number, photos))}

    def check(self) -> None:
        """The gallery finds what sorting all live faces finds."""
        assert self.served is not None
        faces = live_faces(self.files, self.served)
        ids, vectors = from_id_column(faces["face_id"]), from_float16_column(faces["embedding"]).astype(np.float32)
        gallery = open_gallery(self.files, self.served)

        found = gallery.search(vectors[:50], MODEL, 3)

        assert gallery.size == self.served.face_count == len(ids)
        truth = naive_search(ids, vectors, vectors[:50], 3)[0]
        hits = [a == b for a, b in zip(answers(found)[0], truth, strict=True)]
        assert sum(hits) >= (1.0 if self.served.recipe.factory == "exact" else 0.9) * len(hits)
        rows = gallery.face_rows(ids)
        assert rows["photo_id"].to_pylist() == faces["photo_id"].to_pylist()


@pytest.fixture(params=["exact", IVF])
def nights(request: pytest.FixtureRequest, tmp_path: Path) -> Nights:
    return Nights(tmp_path / "catalog", request.param)


def test_every_live_face_is_found_whatever_came_and_went(nights: Nights):
    first, second, third = nights.batch(1, 1000), nights.batch(2, 100), nights.batch(3, 60)
    few = nights.batch(4, 2)

    for batches in (first, first | second, first | third, first | second | third, second, {}, few, first):
        nights.publish(batches)
        nights.check()


def test_a_night_adds_a_shard_filled_from_the_same_trained_index(tmp_path: Path):
    nights = Nights(tmp_path / "catalog", IVF)
    first, second = nights.batch(1, 1000), nights.batch(2, 100)
    before = nights.publish(first)

    after = nights.publish(first | second)

    assert before.recipe.factory == IVF
    assert after.shards[:1] == before.shards
    assert len(after.shards) == 2
    one, two = (shard.manifest.quantizer for shard in open_gallery(nights.files, after).shards)
    assert one == two
    assert after.quality is not None
    assert after.quality.recall_at_10 >= 0.95


def test_photos_that_are_gone_leave_tombstones_and_no_new_shard(tmp_path: Path):
    nights = Nights(tmp_path / "catalog", IVF)
    first, second = nights.batch(1, 1000), nights.batch(2, 100)
    before = nights.publish(first | second)

    after = nights.publish(first)

    assert after.shards == before.shards
    assert after.tombstones is not None
    assert after.face_count < before.face_count


def test_an_unchanged_archive_keeps_its_shards(nights: Nights):
    batches = nights.batch(1, 1000)
    before = nights.publish(batches)

    assert nights.publish(batches).shards == before.shards


def test_an_index_that_is_asked_for_waits_for_enough_faces(tmp_path: Path):
    nights = Nights(tmp_path / "catalog", IVF)
    few, many = nights.batch(1, 30), nights.batch(2, 1000)

    factories = [nights.publish(batches).recipe.factory for batches in (few, few | many, few)]

    assert factories == ["exact", IVF, "exact"]


def test_an_archive_without_a_face_has_an_empty_gallery(nights: Nights):
    generation = nights.publish({})

    assert generation.face_count == 0
    assert open_gallery(nights.files, generation).search(np.ones((1, 8), np.float32), MODEL, 3).counts.tolist() == [0]


def test_a_gallery_that_grew_fourfold_is_trained_anew(tmp_path: Path):
    nights = Nights(tmp_path / "catalog", IVF)
    first, second = nights.batch(1, 800), nights.batch(2, 2600)
    before = nights.publish(first)

    after = nights.publish(first | second)

    assert len(after.shards) == 1
    old, new = (open_gallery(nights.files, one).shards[0].manifest.quantizer for one in (before, after))
    assert old != new
