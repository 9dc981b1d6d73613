"""How many decoded pictures are held at once: counted in bytes, over all processes of a machine.

Half of the memory is divided among the processes, for the photos each of them holds. The other half is for a photo too
large for such a share; it is decoded by one process at a time.
"""

import fcntl
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from faceindex.errors import ItemError
from faceindex.types import PhotoState

DEFAULT_BYTES = 2 << 30
MEBIBYTE = 1 << 20


class Memory:
    """What one process may hold. Used by the thread that decodes and the one that recognises.

    Args:
        limit_bytes: for all processes of this machine together.
        processes: how many there are.
        turns: file whose lock is the turn for large photos; None when there is one process only.
    """

    def __init__(self, limit_bytes: int = DEFAULT_BYTES, processes: int = 1, turns: Path | None = None) -> None:
        self.changed = threading.Condition()
        """Told of every change; also of what else the two threads tell each other."""
        self.waiting = False
        """Whether the decoding thread waits for room."""
        self.held_bytes = 0
        self._limit_bytes = limit_bytes
        self._share_bytes = limit_bytes // 2 // max(1, processes)
        self._turns = turns
        self._turn: int | None = None

    def hold(self, byte_count: int, own_bytes: int = 0) -> None:
        """Wait until there is room for so many bytes more, and count them as held.

        What is larger than the share waits until nothing else is held, and for this process's turn.

        Args:
            byte_count: needed.
            own_bytes: what is held for the same photo already.

        Raises:
            ItemError: too_large, when it could never be held.
        """
        if own_bytes + byte_count > self._limit_bytes // 2:
            raise ItemError(
                PhotoState.TOO_LARGE,
                f"needs {(own_bytes + byte_count) // MEBIBYTE:,} MiB of memory to decode, "
                f"more than half of --memory {self._limit_bytes // MEBIBYTE} MiB; give more and --retry-failed",
            )
        with self.changed:
            if not self._has_room(byte_count, own_bytes):
                self.waiting = True
                self.changed.notify_all()
                self.changed.wait_for(lambda: self._has_room(byte_count, own_bytes))
                self.waiting = False
            self.held_bytes += byte_count
            large = self.held_bytes > self._share_bytes
        if large:
            self._take_turn()

    def _has_room(self, byte_count: int, own_bytes: int) -> bool:
        return self.held_bytes == own_bytes or self.held_bytes + byte_count <= self._share_bytes

    def release(self, byte_count: int) -> None:
        """Give back what was held."""
        with self.changed:
            self.held_bytes -= byte_count
            if self._turn is not None and self.held_bytes <= self._share_bytes:
                os.close(self._turn)
                self._turn = None
            self.changed.notify_all()

    @contextmanager
    def briefly(self, byte_count: int) -> Generator[None]:
        """Hold the bytes of a photo that is worked on already, decoded once more at full size."""
        # Never waits for this process's own photos, one of which this is.
        with self.changed:
            self.held_bytes += byte_count
            large = self.held_bytes > self._share_bytes
        if large:
            self._take_turn()
        try:
            yield
        finally:
            self.release(byte_count)

    def _take_turn(self) -> None:
        if self._turns is None or self._turn is not None:
            return
        with suppress(OSError):  # where there can be no lock, processes cannot take turns
            turn = os.open(self._turns, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(turn, fcntl.LOCK_EX)
            except OSError:
                os.close(turn)
                raise
            self._turn = turn
