"""Files of one shard under the name of another's are noticed by their hashes, before they are read."""

import shutil
from pathlib import Path

import pytest

import faceindex
from faceindex.errors import DamagedError
from faceindex.pipeline.run import IndexOptions, index_photos
from tests.support.archives import make_archive


@pytest.mark.parametrize("name", ["vectors.npy", "faces.arrow", "manifest.json"])
def test_a_swapped_shard_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    catalogs = []
    for number, count in enumerate((4, 6)):
        photos = make_archive(tmp_path / f"photos{number}", count)
        catalogs.append(tmp_path / f"catalog{number}")
        index_photos(str(catalogs[-1]), [str(photos)], IndexOptions(workers=0))
    [mine], [other] = (list(catalog.glob(f"shards/*/{name}")) for catalog in catalogs)
    shutil.copy(other, mine)

    opened = faceindex.open(str(catalogs[0]))
    with pytest.raises(DamagedError, match=name):
        _ = opened.gallery
