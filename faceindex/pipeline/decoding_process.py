"""One process that reads and decodes photos for this one, and hands the pixels over through shared memory.

Pixels come piece by piece through a window of a fixed size, so memory does not depend on the size of photos. The
window has no name any more by the time the process is ready, so nothing is left behind when either side is killed.
"""

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceindex.errors import FaceIndexError, ItemError
from faceindex.images.read import photo_id, read_photo
from faceindex.types import Image, PhotoRef, PhotoState, Whole

Decode = Callable[[bytes, bytes], Image]
"""Makes an image of a file's bytes and its path, or raises `ItemError`; a function that other processes can import."""

WINDOW_BYTES = 1 << 20
"""Shared memory of a process: little, because containers have 64 MiB for all processes if nobody asks for more."""

START_S = 120.0
"""Time a process may take to start, on a slow disk and a busy machine."""

END_S = 10.0
"""Time a killed process may take to be gone; longer only in a system call that cannot be interrupted."""

_NO_PIXELS = np.empty((0, 0, 3), np.uint8)
_starting = Lock()
"""Processes are started one at a time: `multiprocessing` keeps a list of them without a lock."""


class ProcessDiedError(Exception):
    """The process ended before it answered; the message says how."""


@dataclass(frozen=True, slots=True)
class _Header:
    """What goes before an image's pixels."""

    image: Image
    """Without pixels."""
    shape: tuple[int, ...]
    whole: tuple[int, int] | None
    """Width and height in full, when the image is a reduced one."""


@dataclass(frozen=True, slots=True)
class _Defect:
    """An error that no photo is to blame for, told by its traceback."""

    text: str


class DecodingProcess:
    """Starts the process and waits until it is ready. Used by one thread at a time, except for `kill`.

    Args:
        decode: makes images there, and here when a reduced photo is wanted in full.

    Raises:
        FaceIndexError: the process cannot start.
    """

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        context = multiprocessing.get_context("spawn")
        self._window = SharedMemory(create=True, size=WINDOW_BYTES)
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=serve, args=(theirs, self._window.name, decode), name="faceindex-decoder", daemon=True
        )
        try:
            with _starting:
                self._process.start()
            # With no end of theirs left here, their death ends the connection.
            theirs.close()
            self._receive(START_S)
        except (ProcessDiedError, TimeoutError) as error:
            self.close()
            raise FaceIndexError(f"a process for decoding photos did not start: {error or 'no answer'}") from error
        finally:
            self._window.unlink()

    def ask(self, ref: PhotoRef, limit_s: float) -> tuple[bytes | None, Image | ItemError]:
        """Return a photo's id, unless its file cannot be read, and its image, or why there is none.

        A photo that takes too long leaves the process busy: it must be closed then.

        Args:
            ref: the photo.
            limit_s: time it may take to be read, and again to be decoded.

        Raises:
            ProcessDiedError: the process died of it, or was killed.
        """
        identity: bytes | None = None
        try:
            self._send(ref)
            answer = self._receive(limit_s, "read")
            if isinstance(answer, bytes):
                identity = answer
                answer = self._receive(limit_s, "decode")
            if isinstance(answer, _Header):
                answer = self._image(ref, answer, limit_s)
        except TimeoutError as error:
            answer = ItemError(PhotoState.TIMEOUT, str(error))
        if isinstance(answer, _Defect):
            raise RuntimeError(f"decoding a photo failed in another process:\n{answer.text}")
        return identity, answer

    def kill(self) -> None:
        """End the process at once; may be called from any thread, and a thread in `ask` is told that it died."""
        self._process.kill()

    def close(self) -> None:
        """End the process and give back what it held."""
        if self._process.pid is not None:
            self.kill()
            self._process.join(END_S)
        self._connection.close()
        self._window.close()

    def _image(self, ref: PhotoRef, header: _Header, limit_s: float) -> Image:
        pixels = np.empty(header.shape, np.uint8)
        flat = pixels.reshape(-1)
        for piece in _pieces(flat):
            if piece.start:
                self._send(None)
            self._receive(limit_s, "hand over")
            flat[piece] = np.ndarray(piece.stop - piece.start, np.uint8, self._window.buf)
        whole = Whole(*header.whole, partial(_of_scale, self._decode, ref)) if header.whole else None
        return replace(header.image, pixels=pixels, whole=whole)

    def _send(self, message: Any) -> None:
        try:
            self._connection.send(message)
        except OSError as error:
            raise ProcessDiedError(self._end()) from error

    def _receive(self, limit_s: float, action: str = "") -> Any:
        try:
            if not self._connection.poll(limit_s):
                raise TimeoutError(f"took longer than {limit_s:g} s to {action}" if action else "")
            return self._connection.recv()
        except (EOFError, ConnectionError) as error:
            raise ProcessDiedError(self._end()) from error

    def _end(self) -> str:
        self._process.join(END_S)
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"exit code {code}"
        return f"signal {-code}, {signal.strsignal(-code)}"


def serve(connection: Connection, window_name: str, decode: Decode) -> None:
    """Read and decode photos until the connection ends; what a process runs."""
    # Ctrl-C reaches every process of the terminal; the one that is asked to stop ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    window = SharedMemory(window_name)
    with suppress(EOFError, ConnectionError):
        connection.send(None)
        while True:
            _answer(connection, window, decode, connection.recv())


def _answer(connection: Connection, window: SharedMemory, decode: Decode, ref: PhotoRef) -> None:
    try:
        payload = read_photo(ref)
        connection.send(photo_id(payload))
        image = decode(payload, ref.path)
    except ConnectionError:
        raise
    except ItemError as error:
        connection.send(error)
        return
    except Exception:  # noqa: BLE001 - raised again by the process that asked
        connection.send(_Defect(traceback.format_exc()))
        return
    whole = (image.whole.width, image.whole.height) if image.whole else None
    connection.send(_Header(replace(image, pixels=_NO_PIXELS, whole=None), image.pixels.shape, whole))
    flat = np.ascontiguousarray(image.pixels).reshape(-1)
    for piece in _pieces(flat):
        if piece.start:
            connection.recv()  # the piece before was taken
        np.ndarray(piece.stop - piece.start, np.uint8, window.buf)[:] = flat[piece]
        connection.send(None)


def _pieces(flat: NDArray[np.uint8]) -> Iterator[slice]:
    for start in range(0, len(flat), WINDOW_BYTES):
        yield slice(start, min(start + WINDOW_BYTES, len(flat)))


def _of_scale(decode: Decode, ref: PhotoRef, scale: float) -> NDArray[np.uint8]:
    """Return a photo's pixels as `Whole.decode` does; its file is read again, and must be what it was."""
    image = decode(read_photo(ref), ref.path)
    return image.whole.decode(scale) if image.whole else image.pixels
