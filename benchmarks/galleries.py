"""Galleries of synthetic faces, for benchmarks: built, written and opened by the product's own code, without photos."""

import ctypes
import gc
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
from blake3 import blake3
from numpy.typing import NDArray

from faceindex.catalog import layout
from faceindex.catalog.files import Files
from faceindex.catalog.generations import BatchFiles, Generation
from faceindex.catalog.live import write_view
from faceindex.catalog.parquet import read_table, write_table
from faceindex.gallery.build import ShardFiles, build_shard, train, training_count
from faceindex.gallery.faiss_io import new_index
from faceindex.gallery.recipe import EXACT
from faceindex.gallery.scores import cosines
from faceindex.gallery.search import Gallery
from faceindex.gallery.shard import Shard
from faceindex.tables import FACE_ROWS, PHOTOS_VIEW, faces_schema, photos_table, to_float16_column, to_id_column
from faceindex.types import ImageFacts, IndexRecipe, ModelId, PhotoRef, PhotoResult, PhotoState

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


def write_faces(files: Files, faces: Faces, part: slice) -> BatchFiles:
    """Write some faces as a batch of a catalog; all of them are of one photo, whose rows would only cost time."""
    photo = blake3(faces.ids[part].tobytes()).digest(16)
    rows, count = faces.table(part), len(faces.ids[part])
    rows = rows.set_column(1, "photo_id", to_id_column(np.frombuffer(photo * count, "V16")))
    landmarks = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(10 * count, np.float32)), 10)
    columns = [*rows.columns, landmarks, to_float16_column(faces.vectors[part])]
    table = pa.table(columns, schema=faces_schema(faces.vectors.shape[1], MODEL))
    facts = ImageFacts("JPEG", 640, 480, 1, None, None)
    seen = PhotoResult(PhotoRef(photo.hex().encode(), 1, 1), PhotoState.OK, "", photo, facts, count)
    batch = photo.hex()
    entry = write_table(files, layout.faces_path(batch), table)
    return BatchFiles(write_table(files, layout.photos_path(batch), photos_table([seen])), entry)


def draft_of(files: Files, batches: list[BatchFiles], dimension: int, previous: Generation | None) -> Generation:
    """Return the generation in which these batches are live, before it has a gallery."""
    named = {PurePosixPath(batch.photos.path).stem: batch for batch in batches}
    tables = [
        read_table(files, batch.photos).append_column(PHOTOS_VIEW.field("batch"), pa.array([name]))
        for name, batch in named.items()
    ]
    number = previous.number + 1 if previous else 1
    return Generation(
        number=number,
        created_at="2026-01-01T00:00:00+00:00",
        faceindex="0",
        model=MODEL,
        dimension=dimension,
        settings_digest="",
        photo_counts={"ok": len(batches)},
        face_count=0,
        batches=named,
        view=write_view(files, number, pa.concat_tables(tables)),
        recipe=previous.recipe if previous else IndexRecipe(EXACT),
        quality=previous.quality if previous else None,
        shards=previous.shards if previous else (),
        previous=previous.number if previous else None,
    )


def searching_bytes(gallery: Gallery, folder: Path, probes: NDArray[np.float32], threads: int) -> int:
    """Return the private memory that a gallery of one shard takes, opened and searched in a process of its own.

    A process that has freed much memory before gives it out again, and would seem to need less.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_searching_bytes, (paths_of(gallery, folder), gallery.recipe, probes, threads))


def _searching_bytes(paths: dict[str, Path], recipe: IndexRecipe, probes: NDArray[np.float32], threads: int) -> int:
    one = np.zeros(1, np.int64)
    cosines(probes[:1], one, probes[:1].astype(np.float16), one)  # compiled code counts for the process, not for faces
    new_index("HNSW4", probes.shape[1])
    before = held_bytes()
    gallery = Gallery([Shard(paths, NO_IDS)], MODEL, recipe)
    gallery.search(probes, MODEL, 10, threads)
    return held_bytes() - before


class PeakMemory:
    """The most private memory this process holds while it is entered, beyond what it held before; in bytes."""

    def __enter__(self) -> "PeakMemory":
        self._before = self._most = held_bytes()
        self._done = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watch.join()
        self.bytes = self._most - self._before

    def _look(self) -> None:
        while not self._done.wait(0.01):
            self._most = max(self._most, resident_bytes())


def temporary() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for shards."""
    return tempfile.TemporaryDirectory(prefix="gallery-")


def seconds_of(work: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def held_bytes() -> int:
    """Return this process's private memory once what was freed is given back; pages of mapped files are not counted."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pa.default_memory_pool().release_unused()
    return resident_bytes()


def resident_bytes() -> int:
    """Return this process's private memory; pages of mapped files are not counted."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("RssAnon:")))
