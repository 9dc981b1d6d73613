"""Disks that fail while a run writes its batches and publishes: any one call, every write, the power at any time."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.faults.runs import content, difference, unopenable
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.files import open_files
from faceindex.catalog.layout import CURRENT
from faceindex.config import Settings
from faceindex.errors import CatalogError
from faceindex.identities.ledger import Ledger, ledger_problems
from faceindex.pipeline.run import IndexOptions, index_photos
from tests.support.disk import PowerCut, opened, target, watched
from tests.support.speech import said

CODES = (errno.ENOSPC, errno.EIO, errno.EACCES)

Work = Callable[[Path], None]
"""Does something to a catalog."""


@dataclass(slots=True)
class Failures:
    """What was seen of one piece of work; the lists must stay empty."""

    calls: int = 0
    """System calls that were made to fail, one at a time, or moments at which the power failed."""
    outcomes: int = 0
    """Catalogs that were looked at."""
    wrong_success: list[str] = field(default_factory=list)
    """Failures nobody was told of."""
    unclear: list[str] = field(default_factory=list)
    """Messages of more than a line, or that name no file of the catalog."""
    neither: list[str] = field(default_factory=list)
    """Catalogs in another state than before or after the work."""
    different: list[str] = field(default_factory=list)
    """Catalogs that, the work done again, are not those of undisturbed work."""

    def wrong(self) -> dict[str, Any]:
        """Return what must not be."""
        names = ("wrong_success", "unclear", "neither", "different")
        return {name: getattr(self, name) for name in names if getattr(self, name)}


def index(photos: Path, root: Path) -> None:
    """Bring a catalog up to date in this process."""
    index_photos(str(root), [str(photos)], IndexOptions(workers=0))


def unpublished(photos: Path, root: Path, first: int, *, batches: bool) -> Path:
    """Make a catalog that serves a generation of the first photos, and has the plan of a run that would add the others.

    Somebody gave a name in it, and something is left that nobody needs any more.

    Args:
        photos: a folder.
        root: of the catalog.
        first: how many photos are published.
        batches: of the others, are done; the networks are not needed to publish them.
    """
    catalog = Catalog.create(str(root), replace(Settings(), batch_photos=4))
    chosen = sorted(photos.iterdir())
    index_photos(str(root), [str(path) for path in chosen[:first]], IndexOptions(workers=0))
    Ledger(catalog.files).write(lambda _: [said("name", 1, person="Anna")])
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    index(photos, root)
    for path in root.rglob("*"):
        folder = path.relative_to(root).parts[0]
        kept = path.name == "plan.parquet" or (batches and folder in ("photos", "faces", "crops"))
        if path.is_file() and path not in before and not kept:
            path.unlink()
    (root / CURRENT).write_bytes(before[root / CURRENT])
    for path in (root / "generations" / "000000.photos.arrow", root / "faces" / ".tmp-of a killed run"):
        path.write_bytes(b"half")
        os.utime(path, (0, 0))
    return root


def failing_calls(base: Path, folder: Path, work: Work, code: int, step: int = 1, *, reading: bool = False) -> Failures:
    """Do a piece of work again and again, each time with another system call failing, until none is left to fail.

    Args:
        base: a catalog, not to be changed; the work brings it from one generation to the next.
        folder: scratch, best in memory.
        work: is expected to say in a `CatalogError` what could not be written.
        code: of the error.
        step: 1 for every call.
        reading: let it be a file opened or a folder listed, instead of a change.
    """
    watching = opened if reading else watched
    root = folder / "tried"
    undisturbed = folder / "undisturbed"
    shutil.copytree(base, undisturbed)
    work(undisturbed)
    expected, number = content(undisturbed), served_number(undisturbed)
    seen = Failures()
    while True:
        shutil.copytree(base, root)
        failure = FailedCall(1 + step * seen.calls, code)
        try:
            with watching(root, failure.before):
                work(root)
        except CatalogError as error:
            seen.unclear += unclear(error, root)
        else:
            if failure.left <= 0 and difference(root, expected):
                seen.wrong_success.append(failure.what)
        seen.outcomes += 1
        seen.neither += damage(root)
        if served_number(root) not in (number - 1, number):
            seen.neither.append(f"{failure.what}: generation {served_number(root)}")
        work(root)
        seen.different += difference(root, expected)
        shutil.rmtree(root)
        if failure.left > 0:
            shutil.rmtree(undisturbed)
            return seen
        seen.calls += 1


class FailedCall:
    """Refuses the n-th system call, counted from 1."""

    def __init__(self, number: int, code: int) -> None:
        self.left = number
        self.what = ""
        self._code = code

    def before(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Fail, if it is this one's turn; for `watched`."""
        self.left -= 1
        if self.left == 0:
            self.what = f"{name} {target(arguments[0])}"
            raise OSError(self._code, os.strerror(self._code))


@contextmanager
def short_writes() -> Iterator[None]:
    """Let every write take no more than half of what it is given, as a system may."""

    def short(handle: int, data: Any, write: Callable[[int, Any], int] = os.write) -> int:
        return write(handle, memoryview(data)[: (len(data) + 1) // 2])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", short)
        yield


def power_cuts(base: Path, folder: Path, work: Work) -> Failures:
    """Record a piece of work, and look at everything the disk may hold had the power failed at any moment of it.

    Args:
        base: a catalog, not to be changed; the work brings it from one generation to the next.
        folder: scratch, best in memory.
        work: the work.
    """
    live = folder / "live"
    shutil.copytree(base, live)
    before = served_number(base)
    cut = PowerCut(live)
    with watched(live, cut.record):
        work(live)
    whole = {path.relative_to(live): path.read_bytes() for path in live.rglob("*") if path.is_file()}
    whole |= {path.relative_to(base): path.read_bytes() for path in base.rglob("*") if path.is_file()}
    seen = Failures(calls=len(cut.events))
    for count in cut.outcomes(base, folder / "after"):
        seen.outcomes += 1
        root = folder / "after"
        found = damage(root)
        number = served_number(root)
        if number not in ((before + 1,) if count == len(cut.events) else (before, before + 1)):
            found.append(f"generation {number}")
        seen.neither += [f"after {count} of {len(cut.events)} calls: {one}" for one in found]
    shutil.rmtree(live)
    return seen


def full_disks(base: Path, disk: Path, work: Work, step_bytes: int) -> Failures:
    """Do a piece of work on a really full disk, each time with more room, until there is enough.

    Args:
        base: a catalog, not to be changed; the work brings it from one generation to the next.
        disk: where a small file system is mounted.
        work: as in `failing_calls`.
        step_bytes: how much more room there is each time.
    """
    seen = Failures()
    filler, root = disk / "filler", disk / "catalog"
    before = served_number(base)
    while True:
        shutil.copytree(base, root)
        fill(filler, seen.calls * step_bytes)
        seen.outcomes += 1
        try:
            work(root)
        except CatalogError as error:
            seen.unclear += unclear(error, root)
            if "no space left" not in str(error) and "disk full" not in str(error):
                seen.unclear.append(str(error))
        failed = served_number(root) == before
        seen.neither += damage(root)
        filler.unlink()
        work(root)
        seen.different += [] if served_number(root) == before + 1 else ["nothing was published"]
        seen.neither += damage(root)
        shutil.rmtree(root)
        if not failed:
            return seen
        seen.calls += 1


def label_on_full_disk(base: Path, disk: Path) -> Failures:
    """Say something about faces on a full disk: what was said before stays, and what was not stored is not told."""
    seen = Failures(calls=1, outcomes=1)
    filler, root = disk / "filler", disk / "catalog"
    shutil.copytree(base, root)
    ledger = Ledger(open_files(str(root)))
    before = ledger.events()
    fill(filler, 0)
    try:
        ledger.write(lambda _: [said("name", face, person="Bea " * 200) for face in range(30)])
    except CatalogError as error:
        seen.unclear += unclear(error, root)
    else:
        seen.wrong_success.append("names were said to be stored")
    if Ledger(open_files(str(root))).events() != before:
        seen.neither.append("events that were not acknowledged")
    seen.neither += damage(root)
    filler.unlink()
    ledger.write(lambda _: [said("name", 2, person="Bea")])
    if len(ledger.events()) != len(before) + 1:
        seen.different.append("the name that was said again")
    shutil.rmtree(root)
    return seen


def fill(filler: Path, left_bytes: int) -> None:
    """Fill a disk with a file until so much room is left."""
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    os.truncate(filler, max(0, filler.stat().st_size - left_bytes))


def unclear(error: CatalogError, root: Path) -> list[str]:
    """Return a message that is no single line, or names nothing of the catalog."""
    message = str(error)
    return [message] if str(root) not in message or "\n" in message else []


def damage(root: Path) -> list[str]:
    """Return what is wrong with a catalog and its ledger."""
    files = open_files(str(root))
    return unopenable(root) + [problem.detail for problem in ledger_problems(files) if problem.damaged]


def served_number(root: Path) -> int:
    """Return the number of the generation that a catalog serves."""
    served = Catalog.open(str(root)).current()
    return served.number if served else 0
