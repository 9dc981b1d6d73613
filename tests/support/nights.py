"""Real catalogs whose photos come and go night by night, published as runs publish them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from faceindex.catalog import generations
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import Generation
from faceindex.catalog.live import open_view, write_view
from faceindex.catalog.upkeep import collect
from faceindex.config import Settings
from faceindex.gallery.renew import with_gallery
from tests.support.catalogs import make_generation, photo_results, write_batch


def grown(root: Path, index: str, nights: Sequence[int]) -> Catalog:
    """Return a catalog after some nights, each with a batch of so many new photos.

    The last one forgets every eighth photo of the first.
    """
    catalog = Catalog.create(str(root), Settings(index=index))
    batches = {}
    for night, photos in enumerate(nights, start=1):
        name = f"{night:02x}" * 16
        batches[name] = write_batch(catalog.files, name, photo_results(10_000 * night, photos))
        served = catalog.current()
        draft = make_generation(catalog.files, dict(batches), served)
        before = served or replace(draft, shards=())
        draft = replace(draft, shards=before.shards, recipe=before.recipe, quality=before.quality, tombstones=None)
        if night == len(nights):
            draft = _forgetting(catalog, draft)
        generations.publish(catalog.files, with_gallery(catalog.files, draft, index))
    collect(catalog.files, keep=1, grace_s=0)
    return catalog


def _forgetting(catalog: Catalog, draft: Generation) -> Generation:
    view = open_view(catalog.files, draft)
    first = np.array([batch == "01" * 16 for batch in view["batch"].to_pylist()])
    gone = first & (np.cumsum(first) % 8 == 0)
    return replace(draft, view=write_view(catalog.files, draft.number, view.filter(~gone)))
