import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from faceindex.catalog import layout
from faceindex.catalog.lease import leased
from faceindex.catalog.objects import UrlFiles
from faceindex.errors import CatalogError, LockedError

OWNER = {"pid": 7, "host": "here", "since": "2026-01-01", "command": "index"}
OTHER = {**OWNER, "command": "compact"}
SHORT_S = 0.5
LONG_S = 5.0
"""More than a busy machine lets a process wait."""

HOLDER = f"""
import sys
from faceindex.catalog.lease import leased
from faceindex.catalog.objects import UrlFiles

files = UrlFiles(sys.argv[1])
with leased(files, {OWNER}, float(sys.argv[2])):
    for line in sys.stdin:
        print("held", flush=True)
        files.write("CURRENT", line.encode())
"""


@pytest.fixture
def root(tmp_path: Path) -> str:
    return f"local://{tmp_path}/catalog"


@pytest.fixture
def holder(root: str, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lease, and writes what it is told to."""
    command = [sys.executable, "-c", HOLDER, root, str(getattr(request, "param", SHORT_S))]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        tell(process, "first")
        yield process
        process.kill()


def tell(process: subprocess.Popen[str], what: str) -> None:
    assert process.stdin
    assert process.stdout
    print(what, file=process.stdin, flush=True)
    assert process.stdout.readline() == "held\n"


def test_a_killed_holder_is_followed_once_its_lease_is_over(root: str, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()

    with leased(UrlFiles(root), OTHER, LONG_S):  # it is the holder's own time that counts
        pass


@pytest.mark.parametrize("holder", [LONG_S], indirect=True)
def test_a_holder_that_lives_is_never_followed_however_long_it_takes(root: str, holder: subprocess.Popen[str]) -> None:
    for _ in range(3):
        with pytest.raises(LockedError, match=r"`index` \(process 7 on here"), leased(UrlFiles(root), OTHER, SHORT_S):
            pass
    tell(holder, "still there")


def test_a_holder_that_was_paused_past_its_lease_changes_nothing_more(root: str, holder: subprocess.Popen[str]) -> None:
    os.kill(holder.pid, signal.SIGSTOP)
    files = UrlFiles(root)
    with leased(files, OTHER, SHORT_S):
        files.write(layout.CURRENT, b"the second\n")
    holder.send_signal(signal.SIGCONT)
    tell(holder, "the first")

    assert holder.stderr
    lines = holder.stderr.read().strip().splitlines()
    assert f"{root} was taken over by `compact`" in lines[-1]
    assert files.read(layout.CURRENT) == b"the second\n"


def test_a_lock_that_was_given_back_is_taken_at_once(root: str) -> None:
    with leased(UrlFiles(root), OWNER, 60):
        pass
    with leased(UrlFiles(root), OTHER, 60):
        pass


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"{}", b"null", b'{"lease_s": "x"}'])
def test_a_lock_without_a_readable_owner_is_followed_after_the_others_own_lease(root: str, content: bytes) -> None:
    files = UrlFiles(root)
    files.write(layout.LOCK, content)

    with leased(files, OWNER, 0.1):
        assert files.read(layout.LOCK) != content


def test_a_file_that_changed_since_the_lease_was_looked_at_is_not_written_over(root: str) -> None:
    """A pause between looking at the lease and putting, longer than the lease."""
    first, second = UrlFiles(root), UrlFiles(root)
    first.write(layout.CURRENT, b"1\n")
    with leased(first, OWNER, LONG_S):
        looked = first.fence
        assert looked is not None
        paused = []

        def pause() -> None:
            looked()
            if not paused:
                paused.append(True)
                second.write("generations/000002.json", b"the second")

        first.fence = pause
        first.write("generations/000002.json", b"the first")
        # It looked again after it had seen the file, and the lease was its own: what it found was left by a dead run.
        assert first.read("generations/000002.json") == b"the first"

        version = first.version(layout.CURRENT)
        second.write(layout.CURRENT, b"2\n")
        assert first.put_if(layout.CURRENT, b"3\n", version) is None
        assert first.put_if("lock", b"", None) is None
        first.fence = looked
    assert first.read(layout.CURRENT) == b"2\n"


def test_a_store_that_puts_whatever_is_there_is_refused(root: str) -> None:
    files = UrlFiles(root)

    class Careless(UrlFiles):
        def put_if(self, path: str, data: bytes, version: str | None) -> str | None:
            return super().put_if(path, data, self.version(path))

    with pytest.raises(CatalogError, match="two runs could write at once"), leased(Careless(root), OWNER, LONG_S):
        pass
    assert files.exists(layout.LOCK)
