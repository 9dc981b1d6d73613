"""Damaged files of a catalog: is every damage found, and is an answer ever wrong?"""

import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import faceindex
from faceindex.catalog import layout
from faceindex.catalog.files import open_files
from faceindex.catalog.upkeep import check
from faceindex.errors import DamagedError, FaceIndexError
from faceindex.identities.ledger import ledger_problems
from faceindex.vector_files import VectorFile

BLOCK = 4096
"""Bytes of a page of a disk, which is what turns to zeros."""


@dataclass(slots=True)
class Damages:
    """What was seen; the last four must stay empty. Each damage is named by `check`, or idle."""

    count: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    """By what was done and to which kind of file."""
    refused: int = 0
    """Damages with which opening or searching ended with an error that names the file."""
    right: int = 0
    """Damages on which no answer depends: answers stayed as they were."""
    idle: int = 0
    """Bits of an SQLite file in which nothing is stored: SQLite has no checksums, but every row is as it was."""
    unnoticed: list[str] = field(default_factory=list)
    """Damages that `check` does not name."""
    wrong: list[str] = field(default_factory=list)
    """Damages with which an answer differs."""
    failed: list[str] = field(default_factory=list)
    """Damages with which another error came than one that names a file of the catalog."""
    unadvised: list[str] = field(default_factory=list)
    """Damages for which `check` does not say what to do."""


def answers(root: Path, probes: Path) -> str:
    """Return all that a catalog says of its faces, as text: searches, all faces with their photos, and who is who."""
    opened = faceindex.open(str(root))
    found = [answer.faces for answer in opened.search_vectors(VectorFile(str(probes), None), 10, threshold=0.9)]
    state = opened.people.now().state
    return repr([found, opened.faces().to_pylist(), sorted(state.names.items()), opened.generation.number])


def trial(root: Path, probes: Path, *, count: int, seed: int) -> Damages:
    """Damage a catalog so often, each time as it was before, and look at what is said.

    Args:
        root: a local catalog, which is left as it was.
        probes: .npy of embeddings to search with.
        count: damages.
        seed: of where and how.
    """
    dice = random.Random(seed)
    expected = answers(root, probes)
    before = {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != layout.LOCK and not layout.is_temporary(path.name)
    }
    groups: dict[str, list[str]] = {}
    for path in before:
        groups.setdefault(_kind(path), []).append(path)
    seen = Damages()
    while seen.count < count:
        group = dice.choice(sorted(groups))  # each kind of file as often as any other
        path = dice.choice(groups[group])
        name = dice.choice(sorted(DAMAGES))
        changed = DAMAGES[name](dice, path, before, groups[group])
        if all(before[one] == data for one, data in changed.items()):
            continue  # zeros that were zeros already, or nothing to swap with
        seen.count += 1
        seen.kinds[f"{name} {group}"] += 1
        rows = _rows(root / path) if path.startswith(layout.LEDGER) else []
        try:
            for one, data in changed.items():
                (root / one).write_bytes(data)
            _look(root, probes, f"{name} {', '.join(changed)}", changed, rows, expected, seen)
        finally:
            for one in changed:
                (root / one).write_bytes(before[one])
    assert answers(root, probes) == expected
    return seen


def _look(
    root: Path,
    probes: Path,
    what: str,
    changed: Mapping[str, bytes],
    rows: list[str],
    expected: str,
    seen: Damages,
) -> None:
    files = open_files(str(root))
    problems = [problem for problem in (*check(files), *ledger_problems(files)) if problem.damaged]
    if not set(changed) <= {problem.path for problem in problems}:
        [path] = changed
        if path.startswith(layout.LEDGER) and _rows(root / path) == rows:
            seen.idle += 1
        else:
            seen.unnoticed.append(what)
    seen.unadvised += [
        f"{what}: {problem.detail}" for problem in problems if "; " not in problem.detail or "\n" in problem.detail
    ]
    try:
        found = answers(root, probes)
    except DamagedError as error:
        seen.refused += 1
        if not any(path in str(error) for path in changed):
            seen.failed.append(f"{what}: {error}")
    except FaceIndexError as error:
        seen.failed.append(f"{what}: {type(error).__name__}: {error}")
    except Exception as error:  # noqa: BLE001 - whatever damaged bytes lead to is the result of this trial
        seen.failed.append(f"{what}: {type(error).__name__}: {error}")
    else:
        seen.right += found == expected
        if found != expected:
            seen.wrong.append(what)


def _rows(path: Path) -> list[str]:
    """Return all that an SQLite file holds, as statements; nothing when it cannot be read."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            return list(connection.iterdump())
    except sqlite3.Error:
        return []


def _kind(path: str) -> str:
    """Return what kind of file a path is, with those that may be swapped with it."""
    folder = path.partition("/")[0]
    name = PurePosixPath(path).name
    if folder in (layout.PHOTOS, layout.FACES, layout.CROPS, layout.LEDGER_BACKUPS):
        return folder
    if folder == layout.GENERATIONS:
        return name.partition(".")[2].replace("json", "manifest") if name.count(".") == 1 else name.partition(".")[2]
    return name


Damage = Callable[[random.Random, str, Mapping[str, bytes], list[str]], dict[str, bytes]]


def _flip(dice: random.Random, path: str, before: Mapping[str, bytes], _: list[str]) -> dict[str, bytes]:
    data = bytearray(before[path])
    if data:
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return {path: bytes(data)}


def _zero(dice: random.Random, path: str, before: Mapping[str, bytes], _: list[str]) -> dict[str, bytes]:
    data = before[path]
    start = dice.randrange(len(data) // BLOCK + 1) * BLOCK
    return {path: data[:start] + bytes(len(data[start : start + BLOCK])) + data[start + BLOCK :]}


def _truncate(dice: random.Random, path: str, before: Mapping[str, bytes], _: list[str]) -> dict[str, bytes]:
    data = before[path]
    return {path: data[: dice.randrange(len(data) + 1)]}


def _swap(dice: random.Random, path: str, before: Mapping[str, bytes], group: list[str]) -> dict[str, bytes]:
    other = dice.choice(group)
    return {path: before[other], other: before[path]}


DAMAGES: dict[str, Damage] = {"flip": _flip, "zero": _zero, "truncate": _truncate, "swap": _swap}
