"""Decoding in several processes, ahead of whoever takes the photos: a GPU finds faces faster than a core decodes.

Photos come out in order, however long each takes. What waits to be taken is bounded by its size. A photo that kills its
process or takes too long costs that photo, and a new process goes on with the next.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from threading import Condition, Thread

from faceindex.errors import FaceIndexError, ItemError
from faceindex.pipeline.decoding_process import Decode, DecodingProcess, ProcessDiedError
from faceindex.types import Image, PhotoRef, PhotoState

Decoded = tuple[int, bytes | None, Image | ItemError]
"""Position of a photo, its id unless its file could not be read, and its image, or why there is none."""

ATTEMPTS = 2
"""Processes that a photo may kill before it is held to blame; one may have been ended by a system short of memory."""

ENDED = "the processes that decode photos were ended before all photos were taken"


class Decoders:
    """Processes that decode; use them in a `with` block. They are spawned, and end with this process whatever happens.

    Args:
        decode: makes an image of a file's bytes and its path; a function that other processes can import.
        processes: how many.
        limit_s: time that a photo may take to be read, and again to be decoded.
        memory_bytes: pixels that wait to be taken, at most, give or take a photo for each process.
    """

    def __init__(self, decode: Decode, *, processes: int, limit_s: float, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._changed = Condition()
        self._jobs: deque[_Job] = deque()
        self._waiting_bytes = 0
        self._stopping = False
        self._keepers = [_Keeper(decode, limit_s) for _ in range(processes)]
        self._threads = [
            Thread(target=self._work, args=(keeper,), name=f"faceindex-decoder-{number}", daemon=True)
            for number, keeper in enumerate(self._keepers)
        ]

    def __enter__(self) -> "Decoders":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for keeper in self._keepers:
            keeper.stop()
        for thread in self._threads:
            thread.join()

    def decode(self, photos: Sequence[PhotoRef]) -> Iterator[Decoded]:
        """Start on photos, and return an iterator over what comes of them, in order.

        Called again before all are taken, it keeps the processes busy with the next photos; those asked for first
        must be taken first, or their iterator closed.

        Raises:
            FaceIndexError: processes cannot be started, or were ended.
        """
        job = _Job(photos)
        if photos:
            with self._changed:
                self._jobs.append(job)
                self._changed.notify_all()
        return self._taken(job)

    def _taken(self, job: "_Job") -> Iterator[Decoded]:
        try:
            for position in range(len(job.photos)):
                yield position, *self._take(job, position)
        finally:
            with self._changed:
                if job in self._jobs:
                    self._jobs.remove(job)
                self._waiting_bytes -= sum(map(_size, job.outcomes.values()))
                job.outcomes.clear()
                job.given_up = True
                self._changed.notify_all()

    def _take(self, job: "_Job", position: int) -> tuple[bytes | None, Image | ItemError]:
        with self._changed:
            self._changed.wait_for(lambda: position in job.outcomes or self._stopping)
            if position not in job.outcomes:
                raise FaceIndexError(ENDED)
            outcome = job.outcomes.pop(position)
            self._waiting_bytes -= _size(outcome)
            self._changed.notify_all()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def _work(self, keeper: "_Keeper") -> None:
        """Give photos to one process until this is over."""
        while (task := self._next()) is not None:
            job, position = task
            try:
                outcome: _Outcome = keeper.decoded(job.photos[position])
            except BaseException as problem:  # noqa: BLE001 - raised in the thread that takes the photo
                outcome = problem
            with self._changed:
                if not job.given_up:
                    job.outcomes[position] = outcome
                    self._waiting_bytes += _size(outcome)
                self._changed.notify_all()
        keeper.close()

    def _next(self) -> "tuple[_Job, int] | None":
        """Return the next photo once there is one and room for it; None when this is over.

        Photos begin in the order in which they are taken, so the one that is waited for never waits for room.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or (self._jobs and self._waiting_bytes < self._memory_bytes))
            if self._stopping:
                return None
            job = self._jobs[0]
            position = job.begun
            job.begun += 1
            if job.begun == len(job.photos):
                self._jobs.popleft()
            return job, position


class _Keeper:
    """Has one process at a time and starts another when it died or hangs."""

    def __init__(self, decode: Decode, limit_s: float) -> None:
        self._decode, self._limit_s = decode, limit_s
        self._process: DecodingProcess | None = None
        self._stopping = False

    def decoded(self, ref: PhotoRef) -> tuple[bytes | None, Image | ItemError]:
        """Return a photo's id and image, or why there is none."""
        death = ""
        for _ in range(ATTEMPTS):
            process = self._running()
            try:
                identity, result = process.ask(ref, self._limit_s)
            except ProcessDiedError as error:
                death = str(error)
                self.close()
                continue
            if isinstance(result, ItemError) and result.state == PhotoState.TIMEOUT:
                self.close()
            return identity, result
        return None, ItemError(PhotoState.CRASHED_DECODER, f"killed {ATTEMPTS} processes that decoded it ({death})")

    def _running(self) -> DecodingProcess:
        if self._process is None and not self._stopping:
            self._process = DecodingProcess(self._decode)
        if self._process is None or self._stopping:
            raise FaceIndexError(ENDED)
        return self._process

    def stop(self) -> None:
        """End the process from another thread, so that nobody waits for it."""
        self._stopping = True
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.close()


_Outcome = tuple[bytes | None, Image | ItemError] | BaseException
"""What came of a photo, or an error that no photo is to blame for."""


def _size(outcome: _Outcome) -> int:
    if isinstance(outcome, BaseException) or not isinstance(outcome[1], Image):
        return 0
    return outcome[1].pixels.nbytes


@dataclass(slots=True, eq=False)
class _Job:
    """Photos asked for together."""

    photos: Sequence[PhotoRef]
    begun: int = 0
    """How many were given to processes."""
    outcomes: dict[int, _Outcome] = field(default_factory=dict)
    """By position, of those done and not taken yet."""
    given_up: bool = False
