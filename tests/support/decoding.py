"""Ways to decode for other processes, which import them by name: some real, some as bad as decoders can be."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from faceindex.errors import ItemError
from faceindex.images.decode import decode
from faceindex.types import Image, PhotoRef, PhotoState, Whole


def ref_of(path: Path) -> PhotoRef:
    """Return what a crawl would say of a file."""
    found = path.stat()
    return PhotoRef(os.fsencode(path), found.st_size, found.st_mtime_ns)


def really(payload: bytes, path: bytes) -> Image:
    """Decode as faceindex does."""
    return decode(payload, path, 100)


def by_content(payload: bytes, path: bytes) -> Image:
    """Do what the file says: kill, kill once FLAG, hang, fail, refuse, or N for N pixels a side."""
    order, *arguments = payload.decode().split()
    if order == "kill" or (order == "once" and not Path(arguments[0]).exists()):
        if order == "once":
            Path(arguments[0]).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    elif order == "hang":
        time.sleep(3600)
    elif order == "fail":
        raise KeyError("a defect")
    elif order == "refuse":
        raise ItemError(PhotoState.UNSUPPORTED, "refused")
    side = 3 if order == "once" else int(order)
    pixels = np.random.default_rng(side).integers(0, 256, (side, side + 1, 3), np.uint8)
    return Image(b"\1" * 16, path, pixels, "PNG", 6, "2020-02-02T02:02:02", f"process {os.getpid()}")


def halved(payload: bytes, path: bytes) -> Image:
    """Decode to half the size, with the photo in full behind it."""
    image = really(payload, path)
    whole = Whole(image.width, image.height, lambda scale: image.pixels)
    return Image(image.photo_id, path, np.ascontiguousarray(image.pixels[::2, ::2]), image.format, whole=whole)
