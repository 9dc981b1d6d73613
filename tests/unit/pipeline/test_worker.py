from pathlib import Path

import pytest

from faceindex.catalog.catalog import Catalog
from faceindex.config import Settings
from faceindex.pipeline.batches import make_batches
from faceindex.pipeline.worker import BatchWorker, Job, _turns
from tests.support.archives import data_files, portrait
from tests.support.decoding import ref_of


def test_one_of_several_processes_writes_the_bytes_of_one_alone_and_takes_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "new" / "cache"
    monkeypatch.setenv("FACEINDEX_CACHE", str(cache))
    portrait("hopper").resize((1500, 1800)).save(tmp_path / "large.png", compress_level=1)
    [batch] = make_batches([ref_of(tmp_path / "large.png")], Settings(), "digest")
    catalogs = [Catalog.create(str(tmp_path / name), Settings()).root for name in ("alone", "one of four")]

    for catalog, processes in zip(catalogs, (1, 4), strict=True):
        assert not (cache / "large-photo.lock").exists()
        receipt = BatchWorker(Job(catalog, "cpu", memory_bytes=64 << 20, processes=processes)).run(batch, {})
        assert receipt.states == {"ok": 1}

    assert data_files(Path(catalogs[0])) == data_files(Path(catalogs[1]))
    assert (cache / "large-photo.lock").exists()


def test_without_a_cache_there_are_no_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FACEINDEX_CACHE", str(tmp_path / "file" / "cache"))

    assert _turns() is None
