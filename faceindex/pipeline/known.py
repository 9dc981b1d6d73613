"""Photos that earlier runs already did, found by what is in them; a moved, touched or copied file is one of these."""

from functools import lru_cache, partial

import numpy as np
import pyarrow.compute as pc

from faceindex.arrays import ID_BYTES
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.live import open_view, rows_of
from faceindex.catalog.parquet import read_table
from faceindex.tables import photo_results
from faceindex.types import DONE_STATES, PhotoResult


class KnownPhotos:
    """Looks up photo ids in the generation that was served when a run began."""

    def __init__(self, catalog: Catalog) -> None:
        self._files = catalog.files
        self._generation = catalog.current()
        self._view = open_view(self._files, self._generation) if self._generation else None
        # Photos that were moved together stand in few files.
        self._photos = lru_cache(maxsize=16)(partial(read_table, self._files))

    def result_of(self, photo_id: bytes) -> PhotoResult | None:
        """Return what became of the same bytes before, without the faces; None if they are new or failed."""
        if self._view is None or self._generation is None:
            return None
        row = int(rows_of(self._view, np.frombuffer(photo_id, f"V{ID_BYTES}"))[0])
        if row < 0 or self._view["state"][row].as_py() not in DONE_STATES:
            return None
        batch = self._generation.batches[self._view["batch"][row].as_py()]
        photos = self._photos(batch.photos)
        [result] = photo_results(photos.filter(pc.equal(photos["photo_id"], photo_id)).slice(0, 1))
        return result
