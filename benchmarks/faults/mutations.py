"""Images with random damage, through whole runs: does a decoder ever take the run down, and is each photo told of?"""

import os
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.faults.runs import command, finished
from faceindex.types import PhotoState

CHUNK = 5000
"""Images in a run."""
LONGEST = 40
"""Bytes that one damage inserts or replaces, at most."""


@dataclass(slots=True)
class Mutations:
    """What was seen."""

    images: int = 0
    states: Counter[str] = field(default_factory=Counter)
    """Images by the state they ended in."""
    faces: int = 0
    runs: int = 0
    """Runs, all of which came to their end."""
    seconds: float = 0.0


def mutated(payload: bytes, generator: np.random.Generator) -> bytes:
    """Return a file with one to four damages: bytes set, inserted or taken out, or its end cut off."""
    data = bytearray(payload)
    for _ in range(generator.integers(1, 5)):
        start = int(generator.integers(0, max(1, len(data))))
        length = int(generator.integers(1, LONGEST))
        match generator.integers(0, 10):
            case 0:
                del data[start:]
            case 1 | 2:
                del data[start : start + length]
            case 3 | 4:
                data[start:start] = generator.bytes(length)
            case 5 | 6:
                data[start : start + length] = generator.bytes(length)
            case _:
                data[start : start + 1] = generator.bytes(1)
    return bytes(data)


def write(seeds: list[tuple[str, bytes]], folder: Path, count: int, generator: np.random.Generator) -> Path:
    """Write mutated images into a new folder.

    Args:
        seeds: whole files, each with the ending of its name.
        folder: new.
        count: images.
        generator: of the damages.
    """
    folder.mkdir(parents=True)
    for number in range(count):
        ending, payload = seeds[number % len(seeds)]
        path = folder / f"{number:06d}{ending}"
        path.write_bytes(mutated(payload, generator))
        os.utime(path, ns=(10**18, 10**18))
    return folder


def trial(seeds: list[tuple[str, bytes]], folder: Path, *, count: int, workers: int, seed: int) -> Mutations:
    """Index mutated images, some thousands at a time, each time into a new catalog.

    Raises:
        SystemExit: a run failed.
        ValueError: a run did not tell one state of each image.
    """
    generator = np.random.default_rng(seed)
    seen = Mutations()
    while seen.images < count:
        photos = write(seeds, folder / "photos", min(CHUNK, count - seen.images), generator)
        images = len(list(photos.iterdir()))
        report = finished(command(photos, folder / "catalog", workers))
        states = Counter(report["photos"])
        if sum(states.values()) != images or not states.keys() <= {str(state) for state in PhotoState}:
            raise ValueError(f"one state of each of {images} images wanted, got {dict(states)}")
        quarantined = len({row["photo"] for row in report["quarantined"]})
        if quarantined != images - states["ok"] - states["no_face"]:
            raise ValueError(f"{quarantined} images quarantined, but states are {dict(states)}")
        seen.images += images
        seen.states += states
        seen.faces += report["faces"]
        seen.runs += 1
        seen.seconds += report["seconds"]
        shutil.rmtree(photos)
        shutil.rmtree(folder / "catalog")
    return seen
