"""The ledger on the disk: what was acknowledged stays, damage is named, old schemas are migrated."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from faceindex.catalog.files import LocalFiles, open_files
from faceindex.errors import CatalogError, ConfigError, DamagedError, LockedError
from faceindex.identities import ledger as ledger_module
from faceindex.identities.events import MAX_NAME, Event, require_name
from faceindex.identities.ledger import KEPT_BACKUPS, MIGRATIONS, Ledger, ledger_problems
from faceindex.identities.state import State
from tests.support.speech import face, said

WRITER = """
import sys
from pathlib import Path
from faceindex.catalog.files import LocalFiles
from faceindex.identities.ledger import Ledger
from tests.support.speech import said

ledger = Ledger(LocalFiles(Path(sys.argv[1])))
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    ledger.write(lambda _: [said("name", number, person=f"Anna {number}")])
    print(number, flush=True)
"""


def writer(root: Path, first: int, last: int) -> subprocess.Popen[str]:
    """Start a process that names faces one after another and prints the number of each once it is written."""
    command = [sys.executable, "-c", WRITER, str(root), str(first), str(last)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def ledger_at(root: Path) -> Ledger:
    return Ledger(LocalFiles(root))


def test_a_ledger_that_nobody_wrote_in_is_no_file(tmp_path: Path) -> None:
    assert ledger_at(tmp_path).state() == State()
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_is_private_and_read_by_others(tmp_path: Path) -> None:
    ledger_at(tmp_path).write(lambda _: [said("name", 1, person="Zoë 李")])

    assert ledger_at(tmp_path).state().names == {face(1): "Zoë 李"}
    assert (tmp_path / "ledger.sqlite").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.sqlite"]


def test_nothing_is_written_when_what_is_said_makes_no_sense(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    ledger.write(lambda _: [said("name", 1, person="Anna")])

    def refuse(_: State) -> list[Event]:
        raise ConfigError("no")

    with pytest.raises(ConfigError, match="no"):
        ledger.write(refuse)

    assert len(ledger.events()) == 1
    assert ledger.write(lambda _: [said("name", 2, person="Bea")])


def test_a_killed_writer_loses_nothing_it_had_acknowledged(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    for number in range(3):
        process = writer(tmp_path, 1000 * number, 1000 * number + 999)
        assert process.stdout is not None
        for line in process.stdout:
            acknowledged.append(int(line))
            if len(acknowledged) >= 20 * (number + 1):
                os.kill(process.pid, signal.SIGKILL)
                break
        acknowledged += [int(line) for line in process.stdout if line.endswith("\n")]
        process.wait()
        process.stdout.close()

    ledger = ledger_at(tmp_path)

    assert {face(number) for number in acknowledged} <= set(ledger.state().names)
    assert list(ledger_problems(LocalFiles(tmp_path))) == []


def test_two_processes_write_at_once_and_every_word_is_kept(tmp_path: Path) -> None:
    processes = [writer(tmp_path, first, first + 25) for first in (0, 100)]

    for process in processes:
        process.communicate()

    assert [process.returncode for process in processes] == [0, 0]
    assert set(ledger_at(tmp_path).state().names) == {face(n) for first in (0, 100) for n in range(first, first + 25)}


def test_a_writer_that_does_not_end_is_told_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = ledger_at(tmp_path)
    ledger.write(lambda _: [said("name", 1, person="Anna")])
    monkeypatch.setattr(ledger_module, "BUSY_S", 0.05)

    with closing(sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LockedError, match="another process"):
            ledger.write(lambda _: [said("name", 2, person="Bea")])


def test_events_cannot_be_changed_or_deleted(tmp_path: Path) -> None:
    ledger_at(tmp_path).write(lambda _: [said("name", 1, person="Anna")])

    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
        for statement in ("UPDATE events SET event = ''", "DELETE FROM events"):
            with pytest.raises(sqlite3.IntegrityError, match="never"):
                connection.execute(statement)


def test_a_changed_byte_anywhere_is_never_taken_for_what_was_said(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    ledger.write(lambda _: [said("name", number, person="Anna") for number in range(40)])
    ledger.backup(1)
    truth = ledger.state()
    path = tmp_path / "ledger.sqlite"
    whole = path.read_bytes()
    unnoticed = 0
    for place in range(0, len(whole), 211):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x20]) + whole[place + 1 :])
        with suppress(CatalogError):
            assert ledger_at(tmp_path).state() == truth
            unnoticed += 1

    assert unnoticed < len(whole) // 211 - 20
    path.write_bytes(whole.replace(b"Anna", b"Bert", 1))
    with pytest.raises(DamagedError, match=r"differs from what was written at event \d+; .* cp .*000001.sqlite"):
        ledger_at(tmp_path).state()
    [problem] = ledger_problems(LocalFiles(tmp_path))
    assert (problem.path, problem.damaged) == ("ledger.sqlite", True)


@pytest.mark.parametrize("content", [None, b"", b"not a database at all, but long enough to look at" * 30])
def test_a_lost_ledger_is_not_taken_for_an_empty_one(tmp_path: Path, content: bytes | None) -> None:
    ledger = ledger_at(tmp_path)
    ledger.write(lambda _: [said("name", 1, person="Anna")])
    copy = ledger.backup(7)
    path = tmp_path / "ledger.sqlite"
    path.unlink() if content is None else path.write_bytes(content)

    for call in (ledger_at(tmp_path).state, lambda: ledger_at(tmp_path).write(lambda _: [said("ignore", 1)])):
        with pytest.raises(DamagedError, match=f"cp {copy}"):
            call()

    assert copy is not None
    path.write_bytes(copy.read_bytes())
    assert ledger_at(tmp_path).state().names == {face(1): "Anna"}


def test_a_copy_put_in_place_while_others_read_is_read_anew(tmp_path: Path) -> None:
    ledger, other = ledger_at(tmp_path), ledger_at(tmp_path)
    ledger.write(lambda _: [said("name", 1, person="Anna")])
    copy = ledger.backup(1)
    ledger.write(lambda _: [said("name", 2, person="Bea")])
    assert len(other.state().names) == 2
    assert copy is not None
    copy.replace(tmp_path / "ledger.sqlite")

    assert other.state().names == {face(1): "Anna"}


def test_the_newest_copies_stay(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path)
    assert ledger.backup(1) is None
    ledger.write(lambda _: [said("name", 1, person="Anna")])

    for generation in range(2, 20):
        ledger.backup(generation)

    assert [int(path.stem) for path in ledger.backups()] == list(range(20 - KEPT_BACKUPS, 20))


def test_events_of_another_ledger_are_taken_in_once(tmp_path: Path) -> None:
    events = [said("name", 1, person="Anna"), said("ignore", 2)]
    ledger = ledger_at(tmp_path)

    assert [ledger.take_in(events), ledger.take_in([*events, *events, said("ignore", 3)])] == [2, 1]

    assert ledger.state().ignored == {face(2), face(3)}


def test_an_older_schema_is_migrated_and_a_newer_one_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger_at(tmp_path).write(lambda _: [said("name", 1, person="Anna")])
    more = (*MIGRATIONS, "ALTER TABLE events ADD COLUMN seen INTEGER; CREATE INDEX by_seen ON events (seen);")

    with monkeypatch.context() as patched:
        patched.setattr(ledger_module, "MIGRATIONS", more)
        assert ledger_at(tmp_path).state().names == {face(1): "Anna"}
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
            assert connection.execute("SELECT seen FROM events").fetchall() == [(None,)]

    with pytest.raises(CatalogError, match="schema version 2, this faceindex knows 1; update it"):
        ledger_at(tmp_path).state()


def test_an_object_store_holds_no_ledger_and_says_so() -> None:
    ledger = Ledger(open_files("memory://ledgerless"))

    assert ledger.state() == State()
    with pytest.raises(CatalogError, match="names are kept in local catalogs only"):
        ledger.write(lambda _: [said("ignore", 1)])


@pytest.mark.parametrize(
    ("typed", "stored"),
    [("  Anna\tSmith ", "Anna Smith"), ("Zoe\u0308", "Zoë"), ("\u0645\u06cc\u200c\u062a", "\u0645\u06cc\u200c\u062a")],
)
def test_names_are_stored_in_one_form(typed: str, stored: str) -> None:
    assert require_name(typed) == stored


@pytest.mark.parametrize("name", ["", " \n ", "a\x00b", "Anna\u202egpj", "x" * (MAX_NAME + 1), "\ud800"])
def test_names_that_would_change_what_stands_around_them_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="a name"):
        require_name(name)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "{}",
        '{"schema": "faceindex.event/9"}',
        said("ignore", 1).to_line().replace("ignore", "explode"),
        said("ignore", 1).to_line().replace('"face_id": "00', '"face_id": "'),
        said("name", 1, person="Anna").to_line().replace('"Anna"', "7"),
        said("name", 1, person="Anna").to_line().replace('"Anna"', '""'),
    ],
)
def test_lines_that_are_no_events_are_refused(line: str) -> None:
    with pytest.raises(ConfigError, match="event"):
        Event.from_line(line)
