"""Looks for bytes that must be nowhere: the proof that somebody's data are gone."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from faceindex.catalog.files import Files

HEAD = 8
"""Bytes by which what is looked for is told from all else; shorter ones would be found in anything."""


@dataclass(slots=True)
class Search:
    """What was read, and where something was found."""

    files: int = 0
    size_bytes: int = 0
    hits: list[str] = field(default_factory=list)
    """Paths of files that hold any of it."""


def search_traces(files: Files, paths: Iterable[str], traces: Sequence[bytes]) -> Search:
    """Read files to their end and note those in which any of some byte strings stands.

    Args:
        files: of a catalog.
        paths: of the files.
        traces: 8 bytes or more each.
    """
    by_head: dict[bytes, list[bytes]] = {}
    for trace in traces:
        if len(trace) < HEAD:
            raise ValueError(f"at least {HEAD} bytes are looked for, got {len(trace)}")
        by_head.setdefault(trace[:HEAD], []).append(trace)
    starts = np.zeros(1 << 16, bool)
    starts[[int.from_bytes(head[:2], "little") for head in by_head]] = True
    overlap = max(map(len, traces), default=1) - 1
    found = Search()
    for path in paths:
        found.files += 1
        rest = b""
        hit = False
        for block in files.blocks(path):
            found.size_bytes += len(block)
            data = rest + block
            hit = hit or any(_stands(data, place, by_head) for place in _likely(data, starts))
            rest = data[-overlap:] if overlap else b""
        if hit:
            found.hits.append(path)
    return found


def _likely(data: bytes, starts: NDArray[np.bool_]) -> Iterator[int]:
    """Yield the places whose first two bytes begin anything that is looked for."""
    values = np.frombuffer(data, np.uint8).astype(np.uint16)
    if len(values) > 1:
        yield from np.flatnonzero(starts[values[:-1] | values[1:] << 8]).tolist()


def _stands(data: bytes, place: int, by_head: dict[bytes, list[bytes]]) -> bool:
    return any(data.startswith(trace, place) for trace in by_head.get(data[place : place + HEAD], ()))
