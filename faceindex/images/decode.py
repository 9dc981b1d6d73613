"""From a file's bytes to upright RGB pixels, no more of them than are needed.

Whatever the bytes are, `decode` returns an `Image` or raises `ItemError`. Pillow's decoders are chosen by magic bytes
from the short list below and called directly: `PIL.Image.open` would hide why one failed, and compare sizes with a
limit of the whole process instead of ours. Headers and metadata are always read by them, pixels by the quick lane
(`jpeg.quick_pixels`) where it takes the file; what is wrong with a file is only ever told by Pillow.
"""

import ctypes
import importlib
import io
import logging
import math
import re
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, cast

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ExifTags, ImageFile

from faceindex.errors import ItemError
from faceindex.images.colour import to_rgb
from faceindex.images.exif import Metadata, one_line
from faceindex.images.formats import FORMATS, HEAD_BYTES, sniff
from faceindex.images.jpeg import least_width, quick_pixels
from faceindex.images.read import photo_id
from faceindex.types import Image, PhotoState, Whole, working_side

_DECODERS = {
    # Opened as plain JPEG, a file of several pictures as phones write it (MPO) gives the first.
    "JPEG": "PIL.JpegImagePlugin:JpegImageFile",
    "PNG": "PIL.PngImagePlugin:PngImageFile",
    "WEBP": "PIL.WebPImagePlugin:WebPImageFile",
    "TIFF": "PIL.TiffImagePlugin:TiffImageFile",
    "GIF": "PIL.GifImagePlugin:GifImageFile",
    "BMP": "PIL.BmpImagePlugin:BmpImageFile",
    "HEIF": "pillow_heif:HeifImageFile",
    "AVIF": "PIL.AvifImagePlugin:AvifImageFile",
}
_FROM_BOTTOM = frozenset({3, 4, 6, 7})
"""EXIF orientations of pictures that become upright by reversing their rows, ..."""
_FROM_RIGHT = frozenset({2, 3, 7, 8})
"""... their columns, ..."""
_SIDEWAYS = frozenset({5, 6, 7, 8})
"""... and then by making rows of their columns."""

PILLOW_BYTES = 8
"""For each pixel: 4 in Pillow, 3 of the result, and some for what a decoder keeps or a colour conversion takes."""

_BAND_PIXELS = 1_000_000
"""What goes from Pillow to numpy at once."""

_PART = 256
"""Pixels are turned in squares of this side."""

_DETAIL_LENGTH = 200


def decode(
    payload: bytes,
    path: bytes,
    max_megapixels: int,
    side: int | None = None,
    hold: Callable[[int], object] = int,
) -> Image:
    """Return the picture in a file's bytes: its first frame, upright by its EXIF orientation, in 8-bit RGB.

    How other colours, more bits and transparency become RGB is told in `colour.to_rgb`. May be called from several
    threads at once; decoders release the GIL.

    Args:
        payload: all bytes of the file.
        path: where they came from; kept, never opened.
        max_megapixels: larger pictures are refused by their header, before a pixel is decoded. Some of Pillow's
            decoders have a limit of their own at 178 megapixels.
        side: how many pixels of the `working_side` are enough. Where a reduced copy of at least that size is to be had
            quickly (JPEG at a smaller scale, an embedded HEIF thumbnail), `pixels` is that copy and `whole` the photo
            in full; all other pictures, and all with None, are decoded in full, and `whole` is None.
        hold: told before pixels are decoded how many bytes of memory that may take; it may wait, or raise `ItemError`.
            The default lets everything pass.

    Returns:
        The picture. `whole.decode` holds `payload`, and raises as this function does: a HEIF file may have a good
        thumbnail and broken pixels.

    Raises:
        ItemError: unsupported, too_large, truncated or unreadable; and nothing else, whatever the bytes.
    """
    name = sniff(payload[:HEAD_BYTES])
    if name is None:
        raise ItemError(PhotoState.UNSUPPORTED, f"by its first bytes none of {', '.join(FORMATS)}")

    def again(side: int | None) -> NDArray[np.uint8]:
        return decode(payload, path, max_megapixels, side).pixels

    stream = _Stream(payload)
    try:
        with _pillow_kept_quiet:
            picture = _open(name, stream, max_megapixels)
            return _finish(name, picture, payload, path, side, again, hold)
    except ItemError:
        raise
    except (MemoryError, PIL.Image.DecompressionBombError) as error:
        raise ItemError(PhotoState.TOO_LARGE, _detail(error)) from error
    except Exception as error:  # decoders raise nearly every built-in exception on broken files
        cut_short = stream.ran_dry or "truncated" in str(error).lower() or _ends_early(name, payload)
        raise ItemError(PhotoState.TRUNCATED if cut_short else PhotoState.UNREADABLE, _detail(error)) from error


class _Stream(io.BytesIO):
    """A file's bytes, noticing when a decoder asks for more than there are: the sign of a file cut short.

    Pixel data is asked for in blocks of `MAXBLOCK`, of which the last is short in every file; anything smaller is a
    field or table that should be there whole.
    """

    ran_dry = False

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if size is not None and len(data) < size and (size < ImageFile.MAXBLOCK or not data):
            self.ran_dry = True
        return data


def _open(name: str, stream: _Stream, max_megapixels: int) -> ImageFile.ImageFile:
    """Return the picture with its header read and its pixels not."""
    picture = _decoder(name)(stream)
    if picture.width * picture.height > max_megapixels * 1_000_000:
        detail = f"{picture.width} x {picture.height} pixels, more than {max_megapixels} megapixels"
        raise ItemError(PhotoState.TOO_LARGE, detail)
    if name == "TIFF":
        tags = picture.tag_v2  # type: ignore[attr-defined]
        # The raw files of many cameras are TIFF files whose first picture is a thumbnail, marked as reduced.
        if tags.get(ExifTags.Base.NewSubfileType) == 1:
            raise ItemError(PhotoState.UNSUPPORTED, "a camera's raw file: a TIFF that starts with a thumbnail")
        # libtiff fails on missing pixels without saying that they are missing.
        stream.ran_dry |= _pixels_end(tags) > len(stream.getbuffer())
    return picture


def _finish(
    name: str,
    picture: ImageFile.ImageFile,
    payload: bytes,
    path: bytes,
    side: int | None,
    again: Callable[[int | None], NDArray[np.uint8]],
    hold: Callable[[int], object],
) -> Image:
    """Return the decoded picture with what its metadata tells."""
    # Two decoders turn the picture themselves when they load it, and remove the tag.
    turned = name in ("TIFF", "HEIF")
    stated = picture.tag_v2.get(ExifTags.Base.Orientation) if name == "TIFF" else None  # type: ignore[attr-defined]
    width, height = picture.size
    pixels, reduced = _pixels(name, picture, payload, side, hold)
    metadata = Metadata(picture)
    if name == "HEIF":
        stated = picture.info.get("original_orientation")
    elif not turned:
        stated = metadata.orientation
    orientation = stated if isinstance(stated, int) and 1 <= stated <= 8 else 1
    if not turned:
        pixels = _upright(pixels, orientation)
        if orientation in _SIDEWAYS:
            width, height = height, width

    def of_scale(scale: float) -> NDArray[np.uint8]:
        # The scales for which libjpeg-turbo has vector code; what lies between takes longer than the next of them.
        scale = 2.0 ** math.ceil(math.log2(scale))
        return again(math.ceil(scale * working_side(height, width)) if scale < 1 else None)

    return Image(
        photo_id=photo_id(payload),
        path=path,
        pixels=pixels,
        format=name,
        orientation=orientation,
        captured_at=metadata.captured_at,
        camera=metadata.camera,
        whole=Whole(width, height, of_scale) if reduced else None,
    )


def _pixels(
    name: str, picture: ImageFile.ImageFile, payload: bytes, side: int | None, hold: Callable[[int], object]
) -> tuple[NDArray[np.uint8], bool]:
    """Return a picture's pixels as its decoder gives them, and whether they are a reduced copy."""
    width, height = picture.size
    if name == "JPEG":
        quick = quick_pixels(payload, width, height, side, hold)
        if quick is not None:
            return quick, quick.shape[:2] != (height, width)
    # A thumbnail would hide that the picture behind it is cut off.
    if side is not None and not _ends_early(name, payload):
        picture.draft(None, (least_width(width, height, side), 1))
    reduced = picture.size != (width, height)
    hold(PILLOW_BYTES * picture.width * picture.height)
    picture.load()
    return _as_array(to_rgb(picture)), reduced


def _as_array(picture: PIL.Image.Image) -> NDArray[np.uint8]:
    """Return the pixels of an RGB picture, band by band: as a whole they would pass through two more copies."""
    pixels = np.empty((picture.height, picture.width, 3), np.uint8)
    rows = max(1, _BAND_PIXELS // picture.width)
    for top in range(0, picture.height, rows):
        bottom = min(top + rows, picture.height)
        pixels[top:bottom] = np.asarray(picture.crop((0, top, picture.width, bottom)))
    return pixels


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return a picture turned as its EXIF orientation, 1 to 8, says."""
    if orientation == 1:
        return pixels
    # One item of three bytes a pixel moves faster than three items, and square parts stay in the cache.
    stored = pixels.view("V3")[..., 0]
    if orientation in _FROM_BOTTOM:
        stored = stored[::-1]
    if orientation in _FROM_RIGHT:
        stored = stored[:, ::-1]
    if orientation in _SIDEWAYS:
        stored = stored.T
    upright = np.empty(stored.shape, stored.dtype)
    for top in range(0, len(upright), _PART):
        for left in range(0, upright.shape[1], _PART):
            part = slice(top, top + _PART), slice(left, left + _PART)
            upright[part] = stored[part]
    return upright[..., np.newaxis].view(np.uint8)


@cache
def _decoder(name: str) -> type[ImageFile.ImageFile]:
    module_name, _, class_name = _DECODERS[name].partition(":")
    module: Any = importlib.import_module(module_name)
    # Photos are decoded side by side; each takes one thread.
    if name == "HEIF":
        module.options.DECODE_THREADS = 1
    elif name == "AVIF":
        module.DEFAULT_MAX_THREADS = 1
    elif name == "TIFF":
        _silence_libtiff()
    return cast("type[ImageFile.ImageFile]", getattr(module, class_name))


def _silence_libtiff() -> None:
    """Stop libtiff from printing on stderr what Pillow raises anyway (TIFFSetErrorHandler(3tiff): NULL is silence)."""
    from PIL import _imaging

    # Where Pillow is linked with libtiff in a way that hides it, broken TIFF files stay noisy, and no more than that.
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(_imaging.__file__)
        for function in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
            function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_void_p
            function(None)


# Pillow logs some errors besides raising them, and Python prints what no handler takes.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class _PillowKeptQuiet:
    """Ignores what Pillow's modules warn of while any thread is inside: what is wrong with a file is its state.

    `warnings.catch_warnings` replaces a list that all threads share, so that threads undo each other's changes;
    this puts one narrow filter in front and takes it away again.
    """

    _MODULES = r"PIL\.|pillow_heif"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                warnings.filterwarnings("ignore", module=self._MODULES)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                filters = cast("list[tuple[Any, ...]]", warnings.filters)
                for ours in [entry for entry in filters if getattr(entry[3], "pattern", None) == self._MODULES]:
                    filters.remove(ours)


_pillow_kept_quiet = _PillowKeptQuiet()


def _pixels_end(tags: Any) -> int:
    """Return where the last strip or tile of a TIFF picture ends, by its tags."""
    ends = [0]
    for offsets, counts in (
        (ExifTags.Base.StripOffsets, ExifTags.Base.StripByteCounts),
        (ExifTags.Base.TileOffsets, ExifTags.Base.TileByteCounts),
    ):
        ends += [start + count for start, count in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False)]
    return max(ends)


def _ends_early(name: str, payload: bytes) -> bool:
    """Tell whether a container declares more bytes than there are."""
    if name == "WEBP":
        return int.from_bytes(payload[4:8], "little") + 8 > len(payload)
    if name not in ("HEIF", "AVIF"):
        return False
    # ISO/IEC 14496-12: boxes of a size (0 for the rest of the file, 1 for a longer size that follows) and a name.
    start = 0
    while start + 8 <= len(payload) and payload[start + 4 : start + 8].isalnum():
        size = int.from_bytes(payload[start : start + 4], "big")
        if size == 1:
            size = int.from_bytes(payload[start + 8 : start + 16], "big")
        if size < 8:
            return False
        start += size
    return start > len(payload) or 0 < len(payload) - start < 8


def _detail(error: Exception) -> str:
    """Return an error as one line that is the same in every process: without addresses of objects."""
    speaks = str(error) and isinstance(error, OSError | SyntaxError | ValueError | PIL.Image.DecompressionBombError)
    text = str(error) if speaks else f"{type(error).__name__}: {error}"
    return one_line(re.sub(r" at 0x[0-9a-f]+", "", text))[:_DETAIL_LENGTH]
