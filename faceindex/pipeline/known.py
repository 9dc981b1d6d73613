"""Photos that earlier runs already did, found by what is in them; a moved, touched or copied file is one of these."""

from functools import lru_cache, partial

import numpy as np
import pyarrow.compute as pc

from faceindex.arrays import ID_BYTES
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.live import open_view, rows_of
from faceindex.catalog.missing import open_missing
from faceindex.catalog.parquet import read_table
from faceindex.tables import photo_results
from faceindex.types import DONE_STATES, PhotoResult


class KnownPhotos:
    """Looks up photo ids in the generation that was served when a run began."""

    def __init__(self, catalog: Catalog) -> None:
        self._files = catalog.files
        self._generation = catalog.current()
        # What is gone may come back; a photo that is there stands first.
        self._views = (
            (open_view(self._files, self._generation), open_missing(self._files, self._generation))
            if self._generation
            else ()
        )
        # Photos that were moved together stand in few files.
        self._photos = lru_cache(maxsize=16)(partial(read_table, self._files))

    def result_of(self, photo_id: bytes) -> PhotoResult | None:
        """Return what became of the same bytes before, without the faces; None if they are new or failed."""
        for view in self._views:
            row = int(rows_of(view, np.frombuffer(photo_id, f"V{ID_BYTES}"))[0])
            if row >= 0 and view["state"][row].as_py() in DONE_STATES:
                assert self._generation is not None
                photos = self._photos(self._generation.batches[view["batch"][row].as_py()].photos)
                [result] = photo_results(photos.filter(pc.equal(photos["photo_id"], photo_id)).slice(0, 1))
                return result
        return None
