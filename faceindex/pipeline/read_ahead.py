"""Photos read and decoded in a thread of their own, while those before them are recognised.

Decoders are C code that nothing can interrupt. So a photo that takes too long is given up together with its thread,
which is left behind, and another thread goes on with the next photo.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from faceindex.clock import Clock
from faceindex.errors import ItemError
from faceindex.pipeline.memory import Memory
from faceindex.types import PhotoState

Outcome = TypeVar("Outcome")

HANDED_OVER = 16
"""Photos made ready before the other thread is woken, if it waits: each time costs both of them a turn."""


@dataclass(frozen=True, slots=True)
class Loaded(Generic[Outcome]):
    """What came of one photo, and the memory that is held for it until it is released."""

    position: int
    outcome: Outcome | ItemError
    held_bytes: int


class Lane(Generic[Outcome]):
    """One thread that loads photos in turn, from `start` on."""

    def __init__(self, load: "Load[Outcome]", start: int, end: int, memory: Memory, clock: Clock) -> None:
        self.ready: deque[Loaded[Outcome]] = deque()
        self.action: str | None = None
        """What it is doing to a photo now; None while it waits for room or is done."""
        self.since = 0.0
        self.held_bytes = 0
        """For the photo it is at."""
        self.given_up = False
        self.problem: BaseException | None = None
        """What ended it, other than what may be wrong with a photo."""
        self._load, self._memory, self._clock = load, memory, clock
        thread = threading.Thread(target=self._run, args=(start, end), name="faceindex-read-ahead", daemon=True)
        thread.start()

    @contextmanager
    def stage(self, action: str) -> Generator[None]:
        """Count the time of the `with` block to a stage, and against the photo's time limit."""
        self.since, self.action = time.monotonic(), action
        try:
            yield
        finally:
            with self._memory.changed:
                self._require_wanted()
                self.action = None
                self._clock.add({action: time.monotonic() - self.since})

    def hold(self, byte_count: int) -> None:
        """Hold memory for this photo, or give some back; waiting for it takes no time of the photo's."""
        with self._memory.changed:
            self._require_wanted()
            if byte_count <= 0:
                self._memory.release(-byte_count)
                self.held_bytes += byte_count
                return
            before, self.action = self.action, None
        start = time.monotonic()
        self._memory.hold(byte_count, self.held_bytes)
        self.held_bytes += byte_count
        self.since += time.monotonic() - start
        self.action = before

    def _require_wanted(self) -> None:
        """End the thread when it was given up: others do its work now, and what it held is released."""
        if self.given_up:
            raise ItemError(PhotoState.TIMEOUT, "given up")

    def _run(self, start: int, end: int) -> None:
        for position in range(start, end):
            outcome: Outcome | ItemError
            try:
                outcome = self._load(position, self)
            except ItemError as error:
                outcome = error
            except BaseException as error:  # noqa: BLE001 - handed to the other thread, which raises it
                with self._memory.changed:
                    self.problem = error
                    self._memory.changed.notify_all()
                return
            with self._memory.changed:
                if self.given_up:
                    return
                if isinstance(outcome, ItemError):
                    self.hold(-self.held_bytes)
                self.ready.append(Loaded(position, outcome, self.held_bytes))
                self.held_bytes = 0
                if len(self.ready) == HANDED_OVER or position == end - 1:
                    self._memory.changed.notify_all()


Load = Callable[[int, Lane[Outcome]], Outcome]
"""Loads the photo at a position; tells the lane its stages and the memory it needs."""


def read_ahead(
    load: Load[Outcome], count: int, limit_s: float, memory: Memory, clock: Clock
) -> Iterator[Loaded[Outcome] | None]:
    """Yield what came of the photos at positions 0 to `count`, in order.

    None is yielded in between when the next photo waits for memory that the caller holds.

    Args:
        load: makes one of them, in another thread.
        count: of the photos.
        limit_s: how long one stage of a photo may take; longer is `ItemError` timeout.
        memory: what may be held; the caller releases `Loaded.held_bytes`.
        clock: given the seconds of the stages of `load`, and those for which the caller waited.
    """
    lane = Lane(load, 0, count, memory, clock)
    position = 0
    while position < count:
        with clock.stage("wait"), memory.changed:
            while not (lane.ready or lane.problem or _overdue(lane, limit_s) or (memory.waiting and memory.held_bytes)):
                memory.changed.wait(limit_s if lane.action is None else lane.since + limit_s - time.monotonic())
            overdue = None if lane.ready else _overdue(lane, limit_s)
            loaded = lane.ready.popleft() if lane.ready else None
            if overdue:
                lane.given_up = True
                memory.release(lane.held_bytes)
        if overdue:
            error = ItemError(PhotoState.TIMEOUT, f"took longer than {limit_s:g} s to {overdue}")
            loaded = Loaded(position, error, 0)
            lane = Lane(load, position + 1, count, memory, clock)
        if lane.problem and loaded is None:
            raise lane.problem
        if loaded is not None:
            position += 1
        yield loaded


def _overdue(lane: Lane[Outcome], limit_s: float) -> str | None:
    """Return what a lane has been doing to its photo for too long, None if it has not."""
    action = lane.action
    return action if action is not None and time.monotonic() > lane.since + limit_s else None
