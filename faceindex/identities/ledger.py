"""The ledger: every event ever said, in one SQLite file that nothing but `faceindex erase` ever takes from.

It is the only thing in a catalog that photos cannot bring back, so: an event is on the disk before anybody is told that
it was taken (`synchronous=FULL`, the rollback journal, which works where a write-ahead log does not); rows carry a
chain of checksums, because SQLite itself does not notice a changed letter; triggers refuse updates and deletions; a
copy is made at each publish. Several processes may read and write at once: a writer decides and writes in one
transaction, so what it decided by still holds.
"""

import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from blake3 import blake3

from faceindex.catalog import layout
from faceindex.catalog.files import Files, LocalFiles, reading
from faceindex.catalog.upkeep import Problem
from faceindex.errors import CatalogError, ConfigError, DamagedError, LockedError
from faceindex.identities.events import Event
from faceindex.identities.state import State, continued, state_of

APPLICATION_ID = 0x46414349
"""Tells SQLite files of ours from others: "FACI"."""

BUSY_S = 20.0
"""How long a process waits for another's transaction; each takes milliseconds."""

REST_S = 2.0
"""How long after it was written a file may change again under the same time stamp."""

KEPT_BACKUPS = 10

TRIGGERS = """
    CREATE TRIGGER events_stay BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
    CREATE TRIGGER events_last BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END;
"""

MIGRATIONS = (
    """
    CREATE TABLE events (seq INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, event TEXT NOT NULL,
                         digest BLOB NOT NULL);
    """
    + TRIGGERS,
)
"""What brings a ledger from each schema version to the next; the version stands in `user_version`."""


class Ledger:
    """What people said of the faces of one catalog. Where nobody has said anything yet there is no file.

    Example:
        >>> ledger = Ledger(catalog.files)
        >>> ledger.write(lambda state: [Event(Kind.NAME, "me", faces=faces, person="Anna")])
        >>> ledger.state().names
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._read: tuple[int, list[Event], bytes] = (0, [], b"")
        """Number of events read so far, the events, and the checksum of the last."""
        self._state = State()
        self._seen: tuple[int, int, int] | None = None
        """What the file looked like when all of it had been read, if it had rested since."""
        self._turn = threading.RLock()
        """Held by the thread that reads or writes: a service has several."""

    @property
    def path(self) -> Path | None:
        """Where the ledger is; None where there cannot be one, in an object store."""
        return Path(self._files.root) / layout.LEDGER if isinstance(self._files, LocalFiles) else None

    def state(self) -> State:
        """Return what holds now; events that are known already are not read again.

        Raises:
            DamagedError: the ledger is missing though there are copies of it, or differs from what was written.
        """
        with self._turn:
            if self.path is None or not self._there():
                return self._state
            look = _look(self.path)
            if look is None or look != self._seen:
                with self._connected() as connection:
                    self._caught_up(connection)
                self._seen = look
            return self._state

    @property
    def read(self) -> list[Event]:
        """Every event that was ever said up to the state that was asked for last, in order."""
        return self._read[1]

    def events(self) -> list[Event]:
        """Return every event ever said, in order."""
        self.state()
        return self.read

    def write(self, decide: Callable[[State], Sequence[Event]]) -> list[Event]:
        """Append events; they are on the disk when this returns, all or none.

        Args:
            decide: is given what holds now and returns what is said. No other process writes meanwhile.

        Returns:
            The events written.
        """
        if self.path is None:
            raise CatalogError(
                f"{self._files.root} is in an object store, and names are kept in local catalogs only; copy it first"
            )
        with self._turn:
            return self._write(self.path, decide)

    def _write(self, path: Path, decide: Callable[[State], Sequence[Event]]) -> list[Event]:
        if not self._there():
            self._make(path)
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            said = list(decide(self._caught_up(connection)))
            self._append(connection, said)
            connection.execute("COMMIT")
            self._caught_up(connection)
        return said

    def take_in(self, events: Iterable[Event]) -> int:
        """Append events from elsewhere that are not known yet, in their order; return how many those are."""
        listed = list({event.event_id: event for event in events}.values())

        def unknown(_: State) -> list[Event]:
            known = {event.event_id for event in self._read[1]}
            return [event for event in listed if event.event_id not in known]

        return len(self.write(unknown))

    def rewrite(self, change: Callable[[list[Event]], list[Event]]) -> int:
        """Put other events in place of those that were said, and leave no byte of those; for `faceindex erase` alone.

        The file stays the same one: a process that waits for its turn writes after what is here then.

        Returns:
            How many events are others now.
        """
        if self.path is None or not self._there():
            return 0
        with self._turn, self._connected() as connection:
            connection.execute("PRAGMA secure_delete=ON")
            connection.execute("BEGIN EXCLUSIVE")
            self._caught_up(connection)
            before = self._read[1]
            after = change(list(before))
            count = sum(one != other for one, other in zip(before, after, strict=True))
            if count:
                for name in ("events_stay", "events_last"):
                    connection.execute(f"DROP TRIGGER {name}")
                connection.execute("DELETE FROM events")
                self._read = (0, [], b"")
                self._append(connection, after)
                for statement in _statements(TRIGGERS):
                    connection.execute(statement)
            connection.execute("COMMIT")
            connection.execute("VACUUM")
            self._caught_up(connection)
        return count

    def require_whole(self) -> None:
        """Check every page and every event.

        Raises:
            DamagedError: something differs from what was written.
        """
        if self.path is not None and self._there():
            self._read = (0, [], b"")
            with self._connected() as connection:
                _require_whole(connection)
                self._caught_up(connection)

    def backup(self, generation: int) -> Path | None:
        """Copy the ledger, once it is known to be whole; None when there is none. The oldest copies go.

        Args:
            generation: the copy is named by.
        """
        if self.path is None or not self._there():
            return None
        folder = self.path.parent / layout.LEDGER_BACKUPS
        target = folder / f"{generation:06d}.sqlite"
        with self._connected() as source:
            self._caught_up(source)
            with _one_line(target, self._advice()):
                folder.mkdir(0o700, exist_ok=True)
                _put(target, source.backup)
        for old in self.backups()[:-KEPT_BACKUPS]:
            old.unlink(missing_ok=True)
        return target

    def backups(self) -> list[Path]:
        """Return the copies of the ledger, oldest first."""
        if self.path is None:
            return []
        folder = self.path.parent / layout.LEDGER_BACKUPS
        with reading(folder):
            return sorted(folder.glob("[0-9]*.sqlite"))

    def _there(self) -> bool:
        assert self.path is not None
        if self.path.exists():
            return True
        if self.backups():
            raise DamagedError(f"{self.path} is missing; {self._advice()}")
        return False

    @contextmanager
    def _connected(self) -> Generator[sqlite3.Connection]:
        assert self.path is not None
        with _one_line(self.path, self._advice()), closing(_connect(self.path)) as connection:
            _migrate(connection, self.path)
            yield connection

    def _caught_up(self, connection: sqlite3.Connection) -> State:
        """Read the events that were written since the last time."""
        assert self.path is not None
        count, events, digest = self._read
        newest = connection.execute("SELECT seq, digest FROM events ORDER BY seq DESC LIMIT 1").fetchone() or (0, b"")
        if newest == (count, digest):
            return self._state
        known = connection.execute("SELECT digest FROM events WHERE seq = ?", (count,)).fetchone()
        if count and known != (digest,):  # a copy was put in its place
            count, events, digest = 0, [], b""
        try:
            fresh, digest = _checked(connection, self.path, count, digest)
        except DamagedError as error:
            raise DamagedError(f"{error}; {self._advice()}") from error
        events = [*events, *fresh]
        self._read = (len(events), events, digest)
        further = continued(self._state, fresh) if count else None
        self._state = state_of(events) if further is None else further
        return self._state

    def _append(self, connection: sqlite3.Connection, events: Sequence[Event]) -> None:
        count, _, digest = self._read
        for seq, event in enumerate(events, start=count + 1):
            line = event.to_line()
            digest = _chained(digest, line)
            row = (seq, event.event_id, line, digest)
            connection.execute("INSERT INTO events (seq, event_id, event, digest) VALUES (?, ?, ?, ?)", row)

    def _make(self, path: Path) -> None:
        """Put an empty ledger in its place; one that another process made in the meantime stays."""
        with _one_line(path, ""):
            handle, name = tempfile.mkstemp(prefix=layout.TEMPORARY_PREFIX, dir=path.parent)
            os.close(handle)
            temporary = Path(name)
            try:
                with closing(_connect(temporary)) as connection:
                    _migrate(connection, temporary)
                try:
                    path.hardlink_to(temporary)
                except FileExistsError:
                    return
                except OSError:  # a file system without hard links
                    if not path.exists():
                        temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            _sync_folder(path.parent)

    def _advice(self) -> str:
        """Return what to do about a damaged ledger."""
        copies = self.backups()
        if copies:
            return f"put its newest copy in its place: cp {copies[-1]} {self.path}"
        return "restore it from a backup, or move it away and `faceindex people import` an export"


def ledger_problems(files: Files) -> Iterator[Problem]:
    """Check the ledger of a catalog and its copies whole, and yield what is wrong with them."""
    ledger = Ledger(files)
    if ledger.path is None:
        return
    try:
        ledger.require_whole()
    except CatalogError as error:
        yield Problem(layout.LEDGER, str(error), damaged=True)
    for copy in ledger.backups():
        try:
            with _one_line(copy, ""), closing(_connect(copy)) as connection:
                _require_whole(connection)
                _checked(connection, copy, 0, b"")
        except CatalogError as error:
            advice = "; delete it" if isinstance(error, DamagedError) else ""
            yield Problem(f"{layout.LEDGER_BACKUPS}/{copy.name}", f"{error}{advice}", damaged=True)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_S, isolation_level=None)
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring a ledger to the schema of this version; several processes may try at once."""
    newest = len(MIGRATIONS)
    if (version := _version(connection)) == newest:
        return
    if version > newest:
        raise CatalogError(f"{path} has schema version {version}, this faceindex knows {newest}; update it")
    if version == 0 and not path.name.startswith(layout.TEMPORARY_PREFIX):
        raise sqlite3.DatabaseError("it is empty or another program's")
    connection.execute("BEGIN IMMEDIATE")
    for script in MIGRATIONS[_version(connection) :]:
        for statement in _statements(script):
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={newest}")
    connection.execute("COMMIT")


def _look(path: Path) -> tuple[int, int, int] | None:
    """Return what tells one content of a file from another; None while a clock is too coarse to tell."""
    try:
        seen = path.stat()
    except OSError:
        return None
    rested = time.time() - seen.st_mtime > REST_S
    return (seen.st_ino, seen.st_size, seen.st_mtime_ns) if rested else None


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of a script; `executescript` would commit the transaction."""
    part = ""
    for piece in script.split(";"):
        part += piece + ";"
        if sqlite3.complete_statement(part) and part.strip(" \n;"):
            yield part
            part = ""


def _checked(connection: sqlite3.Connection, path: Path, after: int, digest: bytes) -> tuple[list[Event], bytes]:
    """Return the events after a number, each as it was written, and the checksum of the last."""
    events = []
    rows = connection.execute("SELECT seq, event, digest FROM events WHERE seq > ? ORDER BY seq", (after,))
    for number, (seq, line, recorded) in enumerate(rows, start=after + 1):
        digest = _chained(digest, str(line))
        if seq != number or digest != recorded:
            raise DamagedError(f"{path} differs from what was written at event {number}")
        try:
            events.append(Event.from_line(line))
        except ConfigError as error:  # a kind of event that a later version knows
            raise CatalogError(f"{path}, event {number}: {error}; update faceindex") from error
    return events, digest


def _chained(digest: bytes, line: str) -> bytes:
    return blake3(digest + line.encode()).digest(16)


def _require_whole(connection: sqlite3.Connection) -> None:
    found = [row[0] for row in connection.execute("PRAGMA integrity_check")]
    if found != ["ok"]:
        raise sqlite3.DatabaseError(" ".join(str(found[0]).split()))  # it takes several lines


def _put(target: Path, copy: Callable[[sqlite3.Connection], None]) -> None:
    """Put a copy of a ledger in its place, whole and durable."""
    handle, name = tempfile.mkstemp(prefix=layout.TEMPORARY_PREFIX, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        with closing(_connect(temporary)) as connection:
            copy(connection)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _one_line(path: Path, advice: str) -> Generator[None]:
    """Turn SQLite's errors into ours: one line that names the file and says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise LockedError(f"{path} has been written by another process for {BUSY_S:g} s; try again") from error
        if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
            raise CatalogError(f"cannot write {path}: {error}; is its disk full?") from error
        if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
            raise CatalogError(f"cannot open {path}: {error}; is it yours, and its folder writable?") from error
        raise DamagedError(f"{path} is damaged: {error}" + (f"; {advice}" if advice else "")) from error
    except OSError as error:
        raise CatalogError(f"cannot write {path}: {error.strerror or error}") from error
