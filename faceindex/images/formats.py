"""Telling picture formats by their first bytes; knows nothing of file names, extensions or decoders."""

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "HEIF", "AVIF")
"""The formats that are read. A short list on purpose: decoders of rare formats are where the holes are."""

HEAD_BYTES = 64
"""How much of a file `sniff` needs: enough for the brands that ISO media files (HEIF, AVIF) list first."""

_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),  # BigTIFF
    (b"MM\x00+", "TIFF"),
)
_BMP_HEADER_BYTES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_CONTAINER_BRANDS = frozenset({b"mif1", b"mif2", b"msf1"})


def sniff(head: bytes) -> str | None:
    """Return which of `FORMATS` a file has by its first `HEAD_BYTES` bytes, None if none of them.

    Example:
        >>> sniff(b"GIF89a...")
        'GIF'
        >>> sniff(b"Dear diary") is None
        True
    """
    for magic, name in _MAGIC:
        if head.startswith(magic):
            # Canon's raw files are TIFF to the letter, but hold no picture that a TIFF reader can use.
            return None if head[8:10] == b"CR" and name == "TIFF" else name
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    # Two letters are too little: text may start with them. The length of the header that follows must be one in use.
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADER_BYTES:
        return "BMP"
    if head[4:8] == b"ftyp":
        return _sniff_iso_media(head)
    return None


def _sniff_iso_media(head: bytes) -> str | None:
    """Tell HEIF from AVIF by the brands of the `ftyp` box (ISO/IEC 23008-12): one major, some compatible ones."""
    major = head[8:12]
    if major in _HEIF_BRANDS:
        return "HEIF"
    if major in _AVIF_BRANDS:
        return "AVIF"
    if major not in _CONTAINER_BRANDS:
        return None  # a video
    box_bytes = int.from_bytes(head[:4], "big")
    compatible = {head[start : start + 4] for start in range(16, min(box_bytes, len(head)), 4)}
    return "AVIF" if compatible & _AVIF_BRANDS else "HEIF"
