"""Who searched for what and when: rows that are only ever added, beside the ledger that tells who said what.

A row holds a digest of the picture, how many faces it had and how many were found; never the picture or an embedding.
"""

import os
import sqlite3
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from faceindex.catalog import layout
from faceindex.catalog.files import Files, LocalFiles
from faceindex.errors import CatalogError

BUSY_S = 20.0
READ_AT_ONCE = 500

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS searches (seq INTEGER PRIMARY KEY, at TEXT NOT NULL, who TEXT NOT NULL,
       act TEXT NOT NULL, query TEXT NOT NULL, faces INTEGER NOT NULL, hits INTEGER NOT NULL)""",
    """CREATE TRIGGER IF NOT EXISTS searches_stay BEFORE UPDATE ON searches
       BEGIN SELECT RAISE(ABORT, 'rows are never changed'); END""",
    """CREATE TRIGGER IF NOT EXISTS searches_last BEFORE DELETE ON searches
       BEGIN SELECT RAISE(ABORT, 'rows are never deleted'); END""",
)


@dataclass(frozen=True, slots=True)
class Searched:
    """One search or comparison."""

    at: str
    """UTC, ISO 8601."""
    who: str
    act: str
    """search or verify."""
    query: str
    """BLAKE3 of the picture's bytes, 16 bytes in hex, as photo ids are; of both pictures of a comparison."""
    faces: int
    """In the picture."""
    hits: int
    """Those that were identified; 1 for a comparison that says same."""


class Audit:
    """The searches of one catalog. In an object store nothing can be added to a file, so none are kept there."""

    def __init__(self, files: Files) -> None:
        self._path = Path(files.root) / layout.AUDIT if isinstance(files, LocalFiles) else None
        self._turn = threading.Lock()

    def add(self, who: str, act: str, query: str, faces: int, hits: int) -> None:
        """Add a row; it is on the disk when this returns.

        Raises:
            CatalogError: it cannot be written, so the search must not be answered.
        """
        if self._path is None:
            return
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._turn, self._connected(self._path) as connection:
            connection.execute(
                "INSERT INTO searches (at, who, act, query, faces, hits) VALUES (?, ?, ?, ?, ?, ?)",
                (at, who, act, query, faces, hits),
            )

    def count(self) -> int:
        """Return how many rows there are."""
        if self._path is None or not self._path.exists():
            return 0
        with self._connected(self._path) as connection:
            return int(connection.execute("SELECT count(*) FROM searches").fetchone()[0])

    def latest(self) -> Iterator[Searched]:
        """Yield the rows, the latest first."""
        before = 2**62
        while self._path is not None and self._path.exists():
            with self._connected(self._path) as connection:
                rows = connection.execute(
                    "SELECT seq, at, who, act, query, faces, hits FROM searches WHERE seq < ? "
                    "ORDER BY seq DESC LIMIT ?",
                    (before, READ_AT_ONCE),
                ).fetchall()
            if not rows:
                return
            before = rows[-1][0]
            yield from (Searched(*row[1:]) for row in rows)

    @contextmanager
    def _connected(self, path: Path) -> Generator[sqlite3.Connection]:
        try:
            if not path.exists():  # made before SQLite does, to be private to its owner
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            with closing(sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous=FULL")
                if not connection.execute("PRAGMA user_version").fetchone()[0]:
                    for statement in SCHEMA:
                        connection.execute(statement)
                    connection.execute("PRAGMA user_version=1")
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise CatalogError(f"cannot keep in {path} who searches: {error}; nothing was answered") from error
