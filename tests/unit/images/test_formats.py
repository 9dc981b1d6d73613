import pytest

from faceindex.images.formats import FORMATS, HEAD_BYTES, sniff
from tests.support.pictures import ENCODINGS, seed


def iso_media(major: bytes, *compatible: bytes) -> bytes:
    return (16 + 4 * len(compatible)).to_bytes(4, "big") + b"ftyp" + major + bytes(4) + b"".join(compatible) + bytes(99)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_is_known_by_its_first_bytes(encoding: str) -> None:
    assert sniff(seed(encoding)[:HEAD_BYTES]) == ENCODINGS[encoding][0]


def test_every_format_is_covered_by_an_encoding() -> None:
    assert {name for name, _ in ENCODINGS.values()} == set(FORMATS)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (iso_media(b"heic", b"mif1", b"heic"), "HEIF"),
        (iso_media(b"heix"), "HEIF"),
        (iso_media(b"hevc", b"msf1"), "HEIF"),
        (iso_media(b"mif1", b"mif1", b"heic"), "HEIF"),
        (iso_media(b"msf1", b"hevc"), "HEIF"),
        (iso_media(b"avif", b"mif1", b"miaf"), "AVIF"),
        (iso_media(b"avis", b"msf1"), "AVIF"),
        (iso_media(b"mif1", b"mif1", b"avif", b"miaf"), "AVIF"),
        (iso_media(b"mp42", b"heic", b"avif"), None),
        (iso_media(b"qt  "), None),
    ],
)
def test_iso_media_are_told_apart_by_their_brands(head: bytes, expected: str | None) -> None:
    assert sniff(head) == expected


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff\xd8",
        b"BMW builds cars, and this is a text about them",
        b"Hello",
        b"%PDF-1.7",
        b"RIFF\x10\x00\x00\x00WAVEfmt ",
        b"II*\x00\x10\x00\x00\x00CR\x02\x00",
        b"\x00\x00\x00\x0cjP  \r\n\x87\n",
        b"8BPS\x00\x01",
        b"\xff\x0a",
    ],
)
def test_anything_else_is_no_picture(head: bytes) -> None:
    assert sniff(head) is None
