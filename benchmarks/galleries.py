"""Galleries of synthetic faces, for benchmarks: built, written and opened by the product's own code, without photos."""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from faceindex.gallery.build import ShardFiles, build_shard, train, training_count
from faceindex.gallery.search import Gallery
from faceindex.gallery.shard import Shard
from faceindex.tables import FACE_ROWS, to_id_column
from faceindex.types import IndexRecipe, ModelId

MODEL = ModelId("synthetic@000000000000")
NO_IDS = np.empty(0, "V16")


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """Synthetic faces in order of face id, and probes of enrolled people and of strangers."""

    ids: NDArray[np.void]
    vectors: NDArray[np.float16]
    people: NDArray[np.int64]
    probes: NDArray[np.float32]
    probe_people: NDArray[np.int64]
    """-1 for a stranger."""

    @classmethod
    def load(cls, path: Path, seed: int = 0) -> "Faces":
        """Read what synthetic_faces.py wrote; face ids are random, as hashes are."""
        data = np.load(path)
        generator = np.random.default_rng(seed)
        count = len(data["vectors"])
        ids = np.sort(np.frombuffer(generator.bytes(16 * count), "S16")).view("V16")
        order = generator.permutation(count)
        vectors = data["vectors"][order].astype(np.float16)
        return cls(ids, vectors, data["person"][order], data["probes"], data["probe_person"])

    def table(self, part: slice = slice(None)) -> pa.Table:
        """Return the rows of FACE_ROWS of some faces."""
        ids = self.ids[part]
        zeros = pa.array(np.zeros(len(ids), np.float32))
        return pa.table([to_id_column(ids), to_id_column(ids), *[zeros] * 6], schema=FACE_ROWS)


def write(made: ShardFiles, folder: Path) -> dict[str, Path]:
    """Write a shard's files, flushed to the disk, and return them by name."""
    target = folder / made.shard_id
    target.mkdir(parents=True, exist_ok=True)
    for name, data in made.contents.items():
        with (target / name).open("wb") as file:
            file.write(data)
            os.fsync(file.fileno())
    return {name: target / name for name in made.contents}


def paths_of(gallery: Gallery, folder: Path) -> dict[str, Path]:
    """Return the files of a gallery's only shard, by name."""
    return {path.name: path for path in (folder / gallery.shards[0].name).iterdir()}


def build(faces: Faces, recipe: IndexRecipe, folder: Path, threads: int, shards: int = 1) -> tuple[Gallery, float]:
    """Return a gallery opened from its files, and the seconds it took to train and build it."""
    start = time.perf_counter()
    wanted = training_count(recipe, faces.vectors.shape[1])
    trained = train(recipe, faces.vectors[:wanted], threads)
    parts = [slice(number, None, shards) for number in range(shards)]
    made = [build_shard(faces.table(part), faces.vectors[part], MODEL, recipe, trained, threads) for part in parts]
    seconds = time.perf_counter() - start
    opened = [Shard(write(one, folder), NO_IDS) for one in made]
    return Gallery(opened, MODEL, recipe), seconds


def temporary() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for shards."""
    return tempfile.TemporaryDirectory(prefix="gallery-")


def seconds_of(work: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def resident_bytes() -> int:
    """Return this process's private memory; pages of mapped files are not counted."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("RssAnon:")))
