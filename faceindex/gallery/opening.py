"""Opens the gallery of a generation: every file checked first, but the pages of vectors as they are read."""

from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from faceindex.catalog.checksums import sized_path, verified_path
from faceindex.catalog.files import Files, reading
from faceindex.catalog.generations import Generation
from faceindex.catalog.generations import Shard as RecordedShard
from faceindex.catalog.live import read_tombstones
from faceindex.gallery.ids import places_among
from faceindex.gallery.search import Gallery
from faceindex.gallery.shard import MANIFEST, PAGE_SUMS, VECTORS, Shard


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
        paths = _paths(files, recorded)
        with reading(paths[MANIFEST].parent):
            shard = Shard(paths, tombstones)
        if alive is not None:
            shard.alive &= places_among(shard.ids, alive.view(shard.ids.dtype)) >= 0
        shards.append(shard)
    return Gallery(shards, generation.model, generation.recipe)


def _paths(files: Files, recorded: RecordedShard) -> dict[str, Path]:
    """Return the files of a shard by name."""
    entries = {PurePosixPath(entry.path).name: entry for entry in recorded.files}
    later = {VECTORS} if PAGE_SUMS in entries else set()
    return {name: (sized_path if name in later else verified_path)(files, entry) for name, entry in entries.items()}
