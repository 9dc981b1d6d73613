"""Files that a command was asked to write."""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from faceindex.errors import FaceIndexError
from faceindex.wording import visible


def write_private(path: Path, payload: bytes, what: str) -> None:
    """Put a file in its place as a whole, readable by its owner alone: it tells of people's faces.

    Args:
        path: where.
        payload: its bytes.
        what: it is, in a word or two, for the message.

    Raises:
        FaceIndexError: the file cannot be written.
    """
    with private_file(path, what) as file:
        file.write(payload)


@contextmanager
def private_file(path: Path, what: str) -> Generator[BinaryIO]:
    """Give a file to write, which is put in its place as a whole when the block ends well; see `write_private`."""
    try:
        handle, name = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise FaceIndexError(f"cannot write the {what} {visible(str(path))}: {reason}") from error
