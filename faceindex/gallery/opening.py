"""Opens the gallery of a generation, every file of it checked first."""

from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from faceindex.catalog.checksums import verified_path
from faceindex.catalog.files import Files
from faceindex.catalog.generations import Generation
from faceindex.catalog.live import read_tombstones
from faceindex.gallery.search import Gallery
from faceindex.gallery.shard import Shard


def open_gallery(files: Files, generation: Generation, alive: NDArray[np.void] | None = None) -> Gallery:
    """Return the searchable gallery of a generation.

    Args:
        files: of the catalog.
        generation: served or not.
        alive: V16 (n,), ascending: the faces that are alive, instead of all but the generation's tombstones.

    Raises:
        DamagedError: a file is missing or differs from what the generation recorded.
        ModelMismatchError: a shard holds another model's embeddings.
    """
    tombstones = read_tombstones(files, generation)
    shards = []
    for recorded in generation.shards:
        paths = {PurePosixPath(entry.path).name: verified_path(files, entry) for entry in recorded.files}
        shard = Shard(paths, tombstones)
        if alive is not None:
            shard.alive &= np.isin(shard.ids, alive.view(shard.ids.dtype))
        shards.append(shard)
    return Gallery(shards, generation.model, generation.recipe)
