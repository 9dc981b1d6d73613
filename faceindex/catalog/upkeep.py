"""Upkeep of a catalog: check every byte of it, and remove what no generation needs any more."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from faceindex.catalog import layout
from faceindex.catalog.catalog import read_settings
from faceindex.catalog.checksums import verify
from faceindex.catalog.files import Files
from faceindex.catalog.generations import Generation, current, load, numbers
from faceindex.errors import CatalogError, ConfigError, DamagedError
from faceindex.types import FileEntry

GRACE_S = 24 * 3600.0
"""How long readers may go on using a generation after it was superseded."""


LOST = "restore it from a backup, or index the photos into a new catalog"
REDONE = "run `faceindex check --repair`, then the same `faceindex index` again: it embeds photos of damaged files only"
REMADE = "run `faceindex check --repair`"
SUPERSEDED = "no answer needs it: run `faceindex check --repair`"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something `check` found."""

    path: str
    """Relative to the catalog."""
    detail: str
    damaged: bool
    """False for a note: a file that answers do not depend on."""


def check(files: Files) -> Iterator[Problem]:
    """Read every byte of a catalog and yield all that is wrong with it, damage before notes.

    Covers the settings, `CURRENT`, every manifest and every file a manifest names. The ledger checks itself.
    """
    try:
        read_settings(files)
    except (CatalogError, ConfigError) as error:
        yield _damage(layout.SETTINGS, error, LOST)
    manifests: dict[int, Generation] = {}
    yield from _check_manifests(files, manifests)
    named: set[FileEntry] = set()
    newest = True
    for number, generation in manifests.items():
        for entry in generation.entries():
            if entry not in named:
                named.add(entry)
                yield from _check_entry(files, entry, number, _advice(entry.path) if newest else SUPERSEDED)
        newest = False
    yield from _notes(files, {entry.path for entry in named})


def _check_manifests(files: Files, whole: dict[int, Generation]) -> Iterator[Problem]:
    """Yield what is wrong with the manifests and `CURRENT`; put the whole manifests, newest first, into `whole`."""
    reported = set()
    newest = True
    for number in reversed(numbers(files)):
        try:
            whole[number] = load(files, number)
            newest = False
        except CatalogError as error:
            if files.exists(layout.generation_path(number)):
                reported.add(str(error))
                yield _damage(layout.generation_path(number), error, LOST if newest else SUPERSEDED)
                newest = False
    try:
        current(files)
    except CatalogError as error:
        if str(error) not in reported:
            yield _damage(layout.CURRENT, error)


def _check_entry(files: Files, entry: FileEntry, number: int, advice: str) -> Iterator[Problem]:
    try:
        verify(files, entry)
    except CatalogError as error:
        # Another process may have retired the generation meanwhile.
        if files.exists(layout.generation_path(number)):
            yield _damage(entry.path, error, advice)


def _damage(path: str, error: Exception, advice: str = "") -> Problem:
    detail = str(error).removesuffix("; run `faceindex check`")
    return Problem(path, f"{detail}; {advice}" if advice and "; run `" not in detail else detail, damaged=True)


def _advice(path: str) -> str:
    """Return what to do about a damaged file that the newest generation names."""
    if path.endswith((".clusters.arrow", ".links.arrow")):
        return f"{REMADE}, then `faceindex cluster`"
    data = (f"{layout.PHOTOS}/", f"{layout.FACES}/", f"{layout.CROPS}/")
    return REDONE if path.startswith(data) or path.endswith(".photos.arrow") else REMADE


def drop_damaged(files: Files) -> list[int]:
    """Forget superseded generations of which anything is damaged; return their numbers. For the writer lock's holder.

    Nothing that is served needs them, and as long as they are there nothing can be collected.
    """
    served = current(files)
    dropped = []
    for number in numbers(files):
        if served is None or number >= served.number:
            continue
        try:
            for entry in load(files, number).entries():
                verify(files, entry)
        except DamagedError:
            files.delete(layout.generation_path(number))
            dropped.append(number)
    return dropped


def _notes(files: Files, named: set[str]) -> Iterator[Problem]:
    own = {layout.SETTINGS, layout.CURRENT, layout.LOCK, layout.ERASED, *map(layout.generation_path, numbers(files))}
    for path in sorted(set(files.paths()) - named - own):
        if path.startswith((layout.LEDGER, layout.AUDIT, f"{layout.TOKENS}/")):
            continue
        if layout.is_temporary(path):
            detail = "left half-written by a run that is going on or was killed"
        elif path == layout.ERASING:
            detail = "left by an erasure that was stopped; run the same `faceindex erase` again"
        elif path.startswith(f"{layout.RUNS}/"):
            detail = "belongs to a run that has not published; the next run finishes it"
        else:
            detail = "no generation names it; a run may be going on"
        yield Problem(path, detail, damaged=False)


def collect(files: Files, keep: int = 2, grace_s: float = GRACE_S) -> list[str]:
    """Remove superseded generations and all files that no generation left names; return their paths.

    For the holder of the writer lock. Nothing is removed that one of the `keep` newest generations names, that one
    superseded less than `grace_s` ago names, or that was written less than `grace_s` ago. While an interrupted run
    waits to be finished, data files stay: they may be its work.

    Raises:
        DamagedError: a manifest cannot be read, so what it needs is not known; nothing was removed.
    """
    if keep < 1:
        raise ConfigError(f"at least 1 generation must be kept, got keep={keep}")
    served = current(files)
    if served is None:
        return sweep_temporaries(files, grace_s)
    limit = time.time() - grace_s
    present = numbers(files)
    # A generation was superseded when the next one was written.
    superseded = [
        number
        for number, following in pairwise(present)
        if number <= served.number - keep and files.modified(layout.generation_path(following)) < limit
    ]
    kept = [load(files, number) for number in present if number not in superseded]
    needed = {entry.path for generation in kept for entry in generation.entries()}
    needed |= {layout.generation_path(generation.number) for generation in kept}
    removable = [layout.GENERATIONS, layout.SHARDS]
    if not _unfinished_runs(files, served):
        removable += [layout.PHOTOS, layout.FACES, layout.CROPS]

    unneeded = {path for folder in removable for path in files.paths(folder)} - needed
    unneeded = {path for path in unneeded if files.modified(path) < limit}
    # Manifests go first: killed half-way, this leaves files nobody names, never names without files.
    manifests = {layout.generation_path(number) for number in superseded}
    doomed = sorted(unneeded, key=lambda path: (path not in manifests, path))
    for path in doomed:
        files.delete(path)
    return doomed + sweep_temporaries(files, grace_s)


def sweep_temporaries(files: Files, older_than_s: float) -> list[str]:
    """Remove the half-written files that killed processes left; return their paths."""
    limit = time.time() - older_than_s
    stray = sorted(path for path in files.paths() if layout.is_temporary(path) and files.modified(path) < limit)
    for path in stray:
        files.delete(path)
    return stray


def _unfinished_runs(files: Files, served: Generation) -> bool:
    named = {entry.path for entries in served.runs.values() for entry in entries}
    return any(path.endswith("/plan.parquet") and path not in named for path in files.paths(layout.RUNS))
