import PIL.Image
import pytest

from faceindex.images.exif import Metadata, one_line
from tests.support.pictures import exif_with


def metadata(exif: bytes) -> Metadata:
    picture = PIL.Image.new("RGB", (1, 1))
    picture.info["exif"] = exif
    return Metadata(picture)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"DateTimeOriginal": "2008:10:22 16:28:39"}, "2008-10-22T16:28:39"),
        ({"DateTimeOriginal": "2008-10-22T16:28:39+02:00"}, "2008-10-22T16:28:39"),
        ({"DateTime": "2019:01:01 00:00:00"}, "2019-01-01T00:00:00"),
        ({"DateTime": "2019:01:01 00:00:00", "DateTimeDigitized": "2018:01:01 00:00:00"}, "2018-01-01T00:00:00"),
        (
            {"DateTimeDigitized": "2018:01:01 00:00:00", "DateTimeOriginal": "2017:01:01 00:00:00"},
            "2017-01-01T00:00:00",
        ),
        ({"DateTime": "2019:01:01 00:00:00", "DateTimeOriginal": "0000:00:00 00:00:00"}, "2019-01-01T00:00:00"),
        ({"DateTimeOriginal": "2008:13:22 16:28:39"}, None),
        ({"DateTimeOriginal": "2023:02:29 16:28:39"}, None),
        ({"DateTimeOriginal": "    :  :     :  :  "}, None),
        ({"DateTimeOriginal": "yesterday"}, None),
        ({"DateTimeOriginal": "\0" * 20}, None),
        ({}, None),
    ],
)
def test_the_time_of_capture_is_the_best_tag_that_holds_a_time(tags: dict[str, str], expected: str | None) -> None:
    assert metadata(exif_with(**tags)).captured_at == expected


@pytest.mark.parametrize(
    ("make", "model", "expected"),
    [
        ("Canon", "Canon EOS 5D", "Canon EOS 5D"),
        ("NIKON CORPORATION", "NIKON D70", "NIKON D70"),
        ("Apple", "iPhone 13 Pro", "Apple iPhone 13 Pro"),
        ("SONY \0\0\0", " DSC-D700\0rubbish", "SONY DSC-D700"),
        ("Acme\n\tCorp", "One\x07", "Acme Corp One"),
        ("Acme", None, "Acme"),
        (None, "One", "One"),
        ("", "\0", None),
        (None, None, None),
    ],
)
def test_the_camera_is_maker_and_model_without_noise(make: str | None, model: str | None, expected: str | None) -> None:
    tags = {name: value for name, value in (("Make", make), ("Model", model)) if value is not None}

    assert metadata(exif_with(**tags)).camera == expected


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0rubbish",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        exif_with(6, Make="Acme")[:20],
        exif_with(6, DateTimeOriginal="2008:10:22 16:28:39").replace(b"\x87i", b"\x87j"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_broken_metadata_tells_nothing_and_raises_nothing(exif: bytes) -> None:
    broken = metadata(exif)

    assert broken.captured_at is None
    assert broken.camera is None


def test_text_becomes_one_printable_line() -> None:
    assert one_line(" a\r\n\x00b\t\udcffc\u2028 d ") == "a b c d"
