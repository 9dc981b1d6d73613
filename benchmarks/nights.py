"""Four weeks of an archive that people work on: each morning the catalog is what a fresh index of the folders is.

    python -m benchmarks.nights lfw-dev photos

Every night photos are added, copied, moved, touched, deleted, cut short and mended; now and then a disk is away, a run
is killed and begun again, people are named, renamed and merged, and the catalog is compacted.
"""

import argparse
import json
import random
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.changing_archive import (
    add,
    corrupt,
    delete,
    faces_of,
    identity,
    move,
    photos_of,
    searchable,
    served_of,
    touch,
)
from benchmarks.faults.runs import GOOD_ENDS, command, kill, ran, started
from benchmarks.report import machine, publish
from faceindex.arrays import ids_array
from faceindex.catalog.parquet import read_table
from faceindex.catalog.upkeep import check
from faceindex.identities.labelling import Labelling
from faceindex.identities.people import PeopleOf
from faceindex.identities.selection import Selection

KILLED = 0.3
"""Share of the nights in which a run is killed."""
AWAY = 0.2
"""Share of the nights on which the disk is unmounted, when it is there."""
LABELLED = 0.6
COMPACTED_EVERY = 7


@dataclass(slots=True)
class Seen:
    """What happened; `wrong` must stay empty."""

    changes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    embedded: int = 0
    """Photos with faces whose faces were written to data files."""
    new: int = 0
    """Photos with faces whose bytes were never seen before."""
    wrong: list[str] = field(default_factory=list)
    nights: list[dict[str, Any]] = field(default_factory=list)


class Nights:
    """An archive on two disks, and its catalog.

    Args:
        folder: everything is in it.
        originals: photos of which some are there at first, and some come later.
        others: photos on the disk that is away now and then.
        seed: of all that happens.
    """

    def __init__(self, folder: Path, originals: Sequence[Path], others: Sequence[Path], seed: int) -> None:
        self.generator = random.Random(seed)
        self.originals = list(originals)
        self.archive, self.disk, self.away = folder / "archive", folder / "disk", folder / "away"
        self.catalog, self.fresh = folder / "catalog", folder / "fresh"
        for root in (self.archive, self.disk):
            root.mkdir()
        for number, photo in enumerate(self.originals[: len(self.originals) * 3 // 5]):
            shutil.copy(photo, self.archive / f"{number:04}.jpg")
        for number, photo in enumerate(others):
            shutil.copy(photo, self.disk / f"{number:04} {photo.name}")
        self.seen = Seen()
        self.known: set[bytes] = set()
        """Photos whose faces are in data files."""
        self.torn: dict[Path, bytes] = {}
        self.said: dict[bytes, str] = {}
        """Who faces are, as people said."""
        self.people = 0

    def first(self) -> None:
        """Index what is there at first."""
        self._run()
        self.known = {photo for photo, _ in faces_of(self.catalog).values()}

    def night(self, number: int) -> None:
        """Change the archive, run, and look."""
        before, batches = photos_of(self.catalog), set(served_of(self.catalog)[1].batches)
        told = self._change()
        is_away = self._mount()
        begun = time.perf_counter()
        if self.generator.random() < KILLED:
            self._kill()
            told["killed"] += 1
        code = self._run(*(["--allow-removals"] if is_away == "forgotten" else []))
        seconds = time.perf_counter() - begun
        self.seen.seconds.append(seconds)
        if is_away:
            told[f"disk {is_away}"] += 1
        if is_away == "missed":
            if code != 1:
                self._wrong(number, f"exit code {code} where a disk is away")
            if photos_of(self.catalog) != before:
                self._wrong(number, "something was forgotten where a disk is away")
        else:
            if code not in GOOD_ENDS:
                self._wrong(number, f"exit code {code}")
            self._count(batches)
            self._compare(number)
            if self.generator.random() < LABELLED:
                told[self._speak()] += 1
            if number % COMPACTED_EVERY == 0:
                ran("compact", "-c", str(self.catalog))
                told["compacted"] += 1
                self._compare(number)
        self.seen.changes.update(told)
        self.seen.nights.append({"night": number, "seconds": round(seconds, 2), **told})

    def _change(self) -> Counter[str]:
        chance, told = self.generator, Counter[str]()
        for name, change, most in (("moved", move, 6), ("touched", touch, 5), ("deleted", delete, 5)):
            there = {path: path.stat() for path in self.archive.rglob("*.jpg")}
            count = chance.randint(0, most)
            change(chance, self.archive, count)
            told[name] += min(count, len(there))
        told["added"] = chance.randint(1, 8)
        add(chance, self.archive, self.originals, told["added"])
        for photo in chance.sample(sorted(self.archive.rglob("*.jpg")), 2):
            shutil.copy(photo, photo.with_name(f"copy-{chance.randrange(10**9)}.jpg"))
            told["copied"] += 1
        whole = {photo: photo.read_bytes() for photo in self.archive.glob("*.jpg")}
        count = chance.randint(0, 2)
        corrupt(chance, self.archive, count)
        self.torn |= {path: data for path, data in whole.items() if path.stat().st_size != len(data)}
        told["cut short"] += count
        if self.torn and chance.random() < 0.5:
            path, data = self.torn.popitem()
            if path.exists():
                path.write_bytes(data)
                told["mended"] += 1
        return told

    def _mount(self) -> str:
        """Unmount the disk or bring it back; return what the night's run finds: nothing special, or how it is away."""
        if self.away.exists():
            if self.generator.random() < 0.6:
                self.disk.rmdir()
                self.away.rename(self.disk)
                self.seen.changes["disk brought back"] += 1
                return ""
            return "forgotten"
        if self.generator.random() < AWAY:
            self.disk.rename(self.away)
            self.disk.mkdir()
            return "missed"
        return ""

    def _command(self, *more: str) -> list[str]:
        return command(self.archive, self.catalog, 0, str(self.disk), *more)

    def _run(self, *more: str) -> int:
        process = started([*self._command(*more), "--json"])
        printed, errors = process.communicate()
        if process.returncode in GOOD_ENDS:
            json.loads(printed)
        elif "is it mounted?" not in errors:
            self.seen.wrong.append(errors.strip()[-300:])
        return process.returncode

    def _kill(self) -> None:
        process = started(self._command())
        try:
            process.wait(self.generator.uniform(0.5, 1.0) * median(self.seen.seconds or [4.0]))
        except subprocess.TimeoutExpired:
            kill(process.pid)
        process.communicate()
        served_of(self.catalog)  # it opens

    def _count(self, before: set[str]) -> None:
        opened, served = served_of(self.catalog)
        faces = [read_table(opened.files, served.batches[name].faces) for name in served.batches.keys() - before]
        done = [photo for table in faces for photo in set(table["photo_id"].to_pylist())]
        self.seen.embedded += len(done)
        self.seen.new += len(set(done) - self.known)
        self.known |= set(done)

    def _compare(self, number: int) -> None:
        """Hold the catalog against a fresh index of the folders, and names against what was said."""
        fresh = started([*command(self.archive, self.fresh, 0, str(self.disk)), "--json"])
        fresh.communicate()
        found, wanted = photos_of(self.catalog), photos_of(self.fresh)
        faces = faces_of(self.catalog)
        there = {str(photo): identity(photo) for root in (self.archive, self.disk) for photo in root.rglob("*.*")}
        for what, same in (
            ("paths, ids or states", found == wanted),
            ("embeddings", faces == faces_of(self.fresh)),
            ("ids of the bytes that are there", {path: photo for path, (photo, _) in found.items()} == there),
            ("faces that are searched", searchable(self.catalog) == faces.keys()),
            ("names", self._names(list(faces)) == {face: self.said[face] for face in faces if face in self.said}),
            ("checksums", not [problem for problem in check(served_of(self.catalog)[0].files) if problem.damaged]),
        ):
            if not same:
                self._wrong(number, f"{what} differ")
        shutil.rmtree(self.fresh)

    def _names(self, faces: list[bytes]) -> dict[bytes, str]:
        opened, served = served_of(self.catalog)
        names = PeopleOf(opened, served).now().name_of(ids_array(faces))
        return {face: name for face, name in zip(faces, names, strict=True) if name}

    def _speak(self) -> str:
        """Name somebody, or rename or merge people; return which."""
        opened, served = served_of(self.catalog)
        people = PeopleOf(opened, served)
        acts, now = Labelling(people, "nights"), people.now()
        there = sorted(set(self.said.values()))
        chosen = self.generator.random()
        if len(there) > 2 and chosen < 0.25:
            first, second = self.generator.sample(there, 2)
            acts.merge(Selection("person", first, ()), Selection("person", second, ()))
            self.said = {face: second if name == first else name for face, name in self.said.items()}
            return "people merged"
        if there and chosen < 0.4:
            name, to = self.generator.choice(there), f"Person {self.people} renamed"
            self.people += 1
            acts.rename(name, to)
            self.said = {face: to if one == name else one for face, one in self.said.items()}
            return "people renamed"
        faces = {photo: face for face, (photo, _) in sorted(faces_of(self.catalog).items()) if face not in self.said}
        named = self.generator.sample(sorted(faces.values()), 4)
        self.people += 1
        places = now.rows.find(ids_array(named)).tolist()
        acts.name(Selection("face", "", tuple(places)), f"Person {self.people}")
        self.said |= dict.fromkeys(named, f"Person {self.people}")
        return "people named"

    def _wrong(self, number: int, what: str) -> None:
        self.seen.wrong.append(f"night {number}: {what}")


def main() -> None:
    """Live through the nights, print what was seen and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("others", type=Path)
    parser.add_argument("--nights", type=int, default=28)
    parser.add_argument("--count", type=int, default=400, help="photos of the first folder")
    parser.add_argument("--others-count", type=int, default=60, help="photos of the second folder")
    parser.add_argument("--seed", type=int, default=6)
    options = parser.parse_args()
    about = machine()
    generator = random.Random(options.seed)
    originals = generator.sample(sorted(options.photos.rglob("*.jpg")), options.count)
    # One of each content.
    distinct = {identity(photo): photo for photo in sorted(options.others.rglob("*.jpg"))}
    others = generator.sample(list(distinct.values()), min(options.others_count, len(distinct)))
    with tempfile.TemporaryDirectory() as folder:
        nights = Nights(Path(folder), originals, others, options.seed)
        nights.first()
        for number in range(1, options.nights + 1):
            nights.night(number)
            print(nights.seen.nights[-1], *nights.seen.wrong, flush=True)
    seen = nights.seen
    row = {
        "nights": options.nights,
        "photos at first": options.count * 3 // 5 + len(others),
        "photos with faces embedded": seen.embedded,
        "of them new": seen.new,
        "seconds a night, median": round(median(seen.seconds), 1),
        "seconds a night, most": round(max(seen.seconds), 1),
        "violations": len(seen.wrong),
    }
    publish(
        "nights",
        "Four weeks of a changing archive",
        f"{options.count} photos of LFW of which three fifths are there at first, and {len(others)} larger ones on a "
        f"disk that is away now and then; seed {options.seed}. What happened: "
        + ", ".join(f"{name} {count}" for name, count in sorted(seen.changes.items()))
        + ". After each night paths, states, ids, embeddings byte for byte, faces that are searched, names and "
        "checksums are held against a fresh index of the folders, and against what people said. A night is one "
        "`faceindex index` with `--workers 0`, its start included, or two where the first was killed.",
        [row],
        about,
    )
    if seen.wrong:
        raise SystemExit("\n".join(seen.wrong))


if __name__ == "__main__":
    main()
