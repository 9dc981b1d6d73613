"""Opens the gallery of a generation, every file of it checked first."""

from pathlib import PurePosixPath

from faceindex.catalog.checksums import verified_path
from faceindex.catalog.files import Files
from faceindex.catalog.generations import Generation
from faceindex.catalog.live import read_tombstones
from faceindex.gallery.search import Gallery
from faceindex.gallery.shard import Shard


def open_gallery(files: Files, generation: Generation) -> Gallery:
    """Return the searchable gallery of a generation.

    Raises:
        DamagedError: a file is missing or differs from what the generation recorded.
        ModelMismatchError: a shard holds another model's embeddings.
    """
    tombstones = read_tombstones(files, generation)
    shards = []
    for recorded in generation.shards:
        paths = {PurePosixPath(entry.path).name: verified_path(files, entry) for entry in recorded.files}
        shards.append(Shard(paths, tombstones))
    return Gallery(shards, generation.model)
