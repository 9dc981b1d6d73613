import errno
import fcntl
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from faceindex.errors import ItemError
from faceindex.pipeline.memory import MEBIBYTE, Memory
from tests.support.archives import ROOT

PATIENCE_S = 60


@contextmanager
def started(call: Callable[[], object]) -> Generator[threading.Thread]:
    """Run a call in a thread, which must have ended with the block."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    yield thread
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def wait_until(memory: Memory, condition: Callable[[], bool]) -> None:
    with memory.changed:
        assert memory.changed.wait_for(condition, PATIENCE_S)


def is_taken(turns: Path) -> bool:
    """Tell whether anybody has the turn; another opening of the file is as good as another process."""
    descriptor = os.open(turns, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_what_fits_the_share_is_held_at_once() -> None:
    memory = Memory(1000)

    memory.hold(300)
    memory.hold(200)

    assert memory.held_bytes == 500
    assert not memory.waiting
    memory.release(500)
    assert memory.held_bytes == 0


@pytest.mark.parametrize("processes", [1, 4])
def test_the_next_photo_waits_until_there_is_room_in_the_share(processes: int) -> None:
    memory = Memory(1000 * processes, processes)
    memory.hold(400)
    memory.hold(60)

    with started(lambda: memory.hold(100)):
        wait_until(memory, lambda: memory.waiting)
        assert memory.held_bytes == 460
        memory.release(59)
        wait_until(memory, lambda: memory.waiting)
        assert memory.held_bytes == 401
        memory.release(1)

    assert memory.held_bytes == 500
    assert not memory.waiting


def test_a_photo_larger_than_the_share_waits_until_nothing_else_is_held() -> None:
    memory = Memory(1000, processes=5)
    memory.hold(30)

    with started(lambda: memory.hold(480)):
        wait_until(memory, lambda: memory.waiting)
        assert memory.held_bytes == 30
        memory.release(30)

    assert memory.held_bytes == 480


def test_a_photo_does_not_wait_for_itself() -> None:
    memory = Memory(1000, processes=5)
    memory.hold(90)

    memory.hold(400, own_bytes=90)

    assert memory.held_bytes == 490


@pytest.mark.parametrize(("own_mib", "more_mib"), [(0, 1025), (25, 1000), (1024, 1)])
@pytest.mark.parametrize("processes", [1, 8])
def test_a_photo_that_could_never_be_held_is_too_large(own_mib: int, more_mib: int, processes: int) -> None:
    memory = Memory(2048 * MEBIBYTE, processes)
    advice = "needs 1,025 MiB of memory to decode, more than half of --memory 2048 MiB; give more and --retry-failed"

    with pytest.raises(ItemError, match=re.escape(advice)) as error:
        memory.hold(more_mib * MEBIBYTE, own_mib * MEBIBYTE)

    assert error.value.state == "too_large"
    assert memory.held_bytes == 0


def test_exactly_half_is_not_too_large() -> None:
    memory = Memory(2048 * MEBIBYTE, processes=8)

    memory.hold(1024 * MEBIBYTE)

    assert memory.held_bytes == 1024 * MEBIBYTE


def test_a_photo_in_full_is_held_for_the_block_without_waiting_for_the_others() -> None:
    memory = Memory(1000)
    memory.hold(450)

    with memory.briefly(400):
        assert memory.held_bytes == 850

    assert memory.held_bytes == 450
    with pytest.raises(KeyError), memory.briefly(400):
        raise KeyError
    assert memory.held_bytes == 450


def test_only_a_large_photo_takes_the_turn_and_gives_it_back(tmp_path: Path) -> None:
    turns = tmp_path / "turns"
    memory = Memory(1000, processes=5, turns=turns)

    memory.hold(100)
    assert not is_taken(turns)
    memory.release(100)
    memory.hold(50)
    memory.hold(51, own_bytes=50)
    assert is_taken(turns)
    memory.hold(100, own_bytes=101)
    memory.release(100)
    assert is_taken(turns)
    memory.release(1)  # back within the share
    assert not is_taken(turns)
    with memory.briefly(1):
        assert is_taken(turns)
        with memory.briefly(1):
            assert is_taken(turns)
        assert is_taken(turns)
    assert not is_taken(turns)
    assert memory.held_bytes == 100


def test_the_file_of_turns_is_private(tmp_path: Path) -> None:
    memory = Memory(1000, processes=5, turns=tmp_path / "turns")

    memory.hold(300)

    assert (tmp_path / "turns").stat().st_mode & 0o077 == 0


OTHER = """
import sys
from pathlib import Path
from faceindex.pipeline.memory import Memory
memory = Memory(1000, 2, Path(sys.argv[1]))
memory.hold(400)
print("held", flush=True)
sys.stdin.readline()
with open(sys.argv[2], "a") as log:
    log.write("other released\\n")
memory.release(400)
sys.stdin.readline()
"""


@contextmanager
def another_process(turns: Path, log: Path) -> Generator["subprocess.Popen[str]"]:
    """Run a process that holds a large photo until it is told a line, and ends with the next."""
    command = [sys.executable, "-c", OTHER, str(turns), str(log)]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_two_processes_hold_a_large_photo_in_turn(tmp_path: Path) -> None:
    turns, log = tmp_path / "turns", tmp_path / "log"
    memory = Memory(1000, 2, turns)

    def hold() -> None:
        memory.hold(400)
        with log.open("a") as file:
            file.write("this held\n")

    with another_process(turns, log) as other:
        memory.hold(250)  # as large as the share
        memory.release(250)
        with started(hold) as thread:
            thread.join(0.3)
            assert other.stdin is not None
            other.stdin.write("release\n")
            other.stdin.flush()

    assert log.read_text().splitlines() == ["other released", "this held"]
    assert is_taken(turns)
    memory.release(400)
    assert not is_taken(turns)


def test_the_turn_of_a_process_that_dies_is_free(tmp_path: Path) -> None:
    turns = tmp_path / "turns"
    memory = Memory(1000, 2, turns)

    with another_process(turns, tmp_path / "log") as other, started(lambda: memory.hold(400)):
        other.kill()

    assert memory.held_bytes == 400


def test_where_there_can_be_no_lock_nobody_waits_and_nothing_is_left_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    unwritable, refused = (Memory(1000, 2, turns) for turns in (tmp_path / "missing" / "turns", tmp_path / "turns"))
    before = set(Path("/proc/self/fd").iterdir())

    unwritable.hold(400)
    monkeypatch.setattr(fcntl, "flock", refuse)
    refused.hold(400)

    assert (unwritable.held_bytes, refused.held_bytes) == (400, 400)
    assert set(Path("/proc/self/fd").iterdir()) == before
