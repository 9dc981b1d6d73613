"""Small pictures made on the spot, in every format that is read."""

import io
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

ENCODINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "JPEG": ("JPEG", {"quality": 92}),
    "progressive JPEG": ("JPEG", {"quality": 92, "progressive": True}),
    "PNG": ("PNG", {}),
    "lossless WEBP": ("WEBP", {"lossless": True}),
    "WEBP": ("WEBP", {"quality": 90}),
    "TIFF": ("TIFF", {}),
    "LZW TIFF": ("TIFF", {"compression": "tiff_lzw"}),
    "JPEG TIFF": ("TIFF", {"compression": "jpeg"}),
    "BigTIFF": ("TIFF", {"big_tiff": True}),
    "GIF": ("GIF", {}),
    "BMP": ("BMP", {}),
    "HEIF": ("HEIF", {"quality": 90}),
    "AVIF": ("AVIF", {"quality": 90}),
}
"""Ways to store a picture: the format that `sniff` calls it, and what Pillow needs to be told."""


def scene(width: int = 96, height: int = 64) -> NDArray[np.uint8]:
    """Return a smooth picture uint8 (height, width, 3) that looks different from every side."""
    rows, columns = np.mgrid[0:height, 0:width]
    red = 255 * columns / width
    green = 255 * rows / height
    blue = 255 * np.exp(-((columns - width / 4) ** 2 + (rows - height / 4) ** 2) / (width * height / 20))
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def encode(picture: PIL.Image.Image | NDArray[np.uint8], format_name: str, **options: Any) -> bytes:
    """Return a picture as the bytes of a file."""
    if format_name == "HEIF":
        from pillow_heif import register_heif_opener

        register_heif_opener()
    if not isinstance(picture, PIL.Image.Image):
        picture = PIL.Image.fromarray(picture)
    file = io.BytesIO()
    picture.save(file, format_name, **options)
    return file.getvalue()


@cache
def seed(encoding: str) -> bytes:
    """Return `scene()` in one of `ENCODINGS`."""
    format_name, options = ENCODINGS[encoding]
    return encode(scene(), format_name, **options)


def exif_with(orientation: int | None = None, **tags: Any) -> bytes:
    """Return EXIF data with an orientation and tags by their EXIF names."""
    from PIL import ExifTags

    exif = PIL.Image.Exif()
    if orientation is not None:
        exif[ExifTags.Base.Orientation] = orientation
    for name, value in tags.items():
        tag = ExifTags.Base[name]
        target = exif.get_ifd(ExifTags.IFD.Exif) if name in ("DateTimeOriginal", "DateTimeDigitized") else exif
        target[tag] = value
    return exif.tobytes()


def deflated_tiff(grey: NDArray[np.uint8]) -> bytes:
    """Return a compressed TIFF put together by hand, its tags in front of its pixels, where no cut reaches them."""
    height, width = grey.shape
    strip = zlib.compress(grey.tobytes())
    start = 8 + 2 + 9 * 12 + 4
    values = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 273: start, 277: 1, 278: height, 279: len(strip)}
    tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items())
    return b"II*\0" + struct.pack("<IH", 8, len(values)) + tags + bytes(4) + strip


def png(width: int, height: int, bit_depth: int, colour_type: int, scanlines: bytes) -> bytes:
    """Return a PNG put together by hand, so that its header may promise what Pillow would not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(scanlines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
