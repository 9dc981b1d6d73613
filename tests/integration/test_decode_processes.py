"""Photos decoded by other processes, as a GPU has it, make the same data files as those this process decodes."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from faceindex.catalog.catalog import Catalog
from faceindex.config import Settings
from faceindex.images.crawl import crawl
from faceindex.images.decode import decode
from faceindex.pipeline.batches import Batch
from faceindex.pipeline.decoders import Decoders
from faceindex.pipeline.worker import BatchWorker, Job, Receipt
from tests.support.archives import data_files, make_archive

SIDE = 200
"""So small that the archive's photos are decoded at a lower scale, and in full again for their faces."""


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    photos = sorted(crawl(str(make_archive(tmp_path_factory.mktemp("archive") / "photos"))))
    return Batch("0" * 32, (*photos, photos[0]))  # the last is a copy of the first


def receipt(catalog: Path, run: Callable[[BatchWorker], Receipt]) -> Receipt:
    Catalog.create(str(catalog), Settings(detect_side_px=SIDE))
    return run(BatchWorker(Job(str(catalog), "cpu")))


def test_both_ways_of_decoding_make_the_same_files(batch: Batch, tmp_path: Path) -> None:
    decoding = partial(decode, max_megapixels=Settings().max_megapixels, side=SIDE)

    with Decoders(decoding, processes=2, limit_s=60, memory_bytes=1 << 20) as decoders:
        there = receipt(tmp_path / "there", lambda worker: worker.run(batch, {}, decoders.decode(batch.photos)))
    here = receipt(tmp_path / "here", lambda worker: worker.run(batch, {}))

    assert there.files == here.files
    assert there.states == here.states
    assert there.face_count == here.face_count > 10
    assert data_files(tmp_path / "there") == data_files(tmp_path / "here")
