import io
import os
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
from numpy.typing import NDArray

from faceindex.errors import ItemError
from faceindex.images.crawl import CrawlReport, crawl
from faceindex.images.decode import decode
from faceindex.images.read import photo_id, read_photo
from faceindex.types import Image
from tests.support.pictures import ENCODINGS, deflated_tiff, encode, exif_with, png, scene, seed

SIDE = 200
"""Enough pixels for the tests of reduced pictures, of which the whole has 640 x 480 or 480 x 640."""

LOSSLESS = {"PNG", "lossless WEBP", "TIFF", "LZW TIFF", "BigTIFF", "BMP"}
WITH_EXIF = ["JPEG", "PNG", "lossless WEBP", "TIFF", "LZW TIFF", "JPEG TIFF", "HEIF", "AVIF"]


def decoded(payload: bytes, max_megapixels: int = 120, side: int | None = None) -> Image:
    return decode(payload, b"/photos/a", max_megapixels, side)


def refused(payload: bytes, max_megapixels: int = 120, side: int | None = None) -> ItemError:
    with pytest.raises(ItemError) as caught:
        decoded(payload, max_megapixels, side)
    return caught.value


def outcome(payload: bytes, side: int | None = None) -> bytes | str:
    try:
        return decoded(payload, side=side).pixels.tobytes()
    except ItemError as error:
        return f"{error.state}: {error.detail}"


def boxed(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    return np.asarray(PIL.Image.fromarray(picture).resize((width, height), PIL.Image.Resampling.BOX))


def assert_same(found: NDArray[np.uint8], expected: NDArray[np.uint8], tolerance: float) -> None:
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected.astype(int)).mean() <= tolerance


def stored_as(upright: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return how a camera stores a picture: by the EXIF standard's words for the 0th row and the 0th column."""
    rows, columns = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[orientation]
    stored = upright
    if "bottom" in (rows, columns):
        stored = stored[::-1]
    if "right" in (rows, columns):
        stored = stored[:, ::-1]
    return np.ascontiguousarray(stored if rows in ("top", "bottom") else stored.transpose(1, 0, 2))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_gives_its_picture(encoding: str) -> None:
    image = decoded(seed(encoding))

    tolerance = 0 if encoding in LOSSLESS else 12 if encoding == "GIF" else 4
    assert_same(image.pixels, scene(), tolerance)
    assert image.pixels.flags.writeable
    assert image.pixels.flags.c_contiguous
    assert image.format == ENCODINGS[encoding][0]
    assert image.orientation == 1
    assert image.photo_id == photo_id(seed(encoding))
    assert image.path == b"/photos/a"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("encoding", WITH_EXIF)
def test_every_orientation_comes_out_upright(encoding: str, orientation: int) -> None:
    format_name, options = ENCODINGS[encoding]
    payload = encode(stored_as(scene(), orientation), format_name, exif=exif_with(orientation), **options)

    image = decoded(payload)

    assert_same(image.pixels, scene(), 0 if encoding in LOSSLESS else 4)
    assert image.orientation == orientation


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_is_none_is_taken_as_upright(orientation: int) -> None:
    image = decoded(encode(scene(), "PNG", exif=exif_with(orientation)))

    assert np.array_equal(image.pixels, scene())
    assert image.orientation == 1


@pytest.mark.parametrize("encoding", ["JPEG", "PNG", "lossless WEBP", "TIFF", "HEIF", "AVIF"])
def test_time_and_camera_are_read_from_every_format(encoding: str) -> None:
    format_name, options = ENCODINGS[encoding]
    exif = exif_with(Make="Acme", Model="One", DateTimeOriginal="2008:10:22 16:28:39", DateTime="2009:01:01 00:00:00")

    image = decoded(encode(scene(), format_name, exif=exif, **options))

    assert image.captured_at == "2008-10-22T16:28:39"
    assert image.camera == "Acme One"


def test_broken_exif_does_not_cost_the_photo() -> None:
    image = decoded(encode(scene(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff rubbish"))

    assert (image.orientation, image.captured_at, image.camera) == (1, None, None)


@pytest.mark.parametrize("format_name", ["GIF", "WEBP", "PNG", "TIFF", "MPO", "HEIF", "AVIF"])
def test_the_first_of_several_pictures_is_taken(format_name: str) -> None:
    red, blue = PIL.Image.new("RGB", (32, 32), (250, 0, 0)), PIL.Image.new("RGB", (32, 32), (0, 0, 250))

    image = decoded(encode(red, format_name, save_all=True, append_images=[blue]))

    assert_same(image.pixels, np.asarray(red), 4)
    assert image.format == ("JPEG" if format_name == "MPO" else format_name)


@pytest.mark.parametrize("format_name", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_to_8(format_name: str) -> None:
    grey = np.linspace(0, 65535, 64 * 96).astype(np.uint16).reshape(64, 96)

    image = decoded(encode(PIL.Image.fromarray(grey), format_name))

    assert np.abs(image.pixels[..., 0] - grey / 257).max() <= 0.5


def test_16_bit_colour_keeps_its_upper_bytes() -> None:
    deep = scene().astype(np.uint16) * 257
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)

    assert np.array_equal(decoded(png(96, 64, 16, 2, rows)).pixels, scene())


@pytest.mark.parametrize("format_name", ["JPEG", "TIFF"])
def test_cmyk_comes_out_in_its_colours(format_name: str) -> None:
    image = decoded(encode(PIL.Image.fromarray(scene()).convert("CMYK"), format_name))

    assert_same(image.pixels, scene(), 3)


def test_transparency_is_shown_on_white() -> None:
    cut_out = PIL.Image.fromarray(np.dstack([scene(), np.zeros((64, 96), np.uint8)]))

    for format_name in ("PNG", "WEBP", "TIFF", "GIF", "HEIF", "AVIF"):
        assert decoded(encode(cut_out, format_name)).pixels.min() >= 250, format_name


def test_one_bit_pictures_are_decoded() -> None:
    bits = PIL.Image.fromarray(scene()).convert("1")

    for format_name in ("PNG", "TIFF", "BMP"):
        assert np.array_equal(decoded(encode(bits, format_name)).pixels, np.asarray(bits.convert("RGB")))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_file_cut_short_anywhere_is_truncated_or_whole_but_never_half(encoding: str) -> None:
    payload = seed(encoding)
    whole = decoded(payload).pixels
    found: Counter[str] = Counter()

    for length in sorted({int(length) for length in np.linspace(16, len(payload) - 1, 60)}):
        try:
            assert np.array_equal(decoded(payload[:length]).pixels, whole)
            found["whole"] += 1
        except ItemError as error:
            found[error.state] += 1

    # A file may lack its last bytes and still have all its pixels.
    assert set(found) <= {"truncated", "whole"}
    assert found["truncated"] > found["whole"]


def test_a_compressed_tiff_that_lacks_pixels_is_truncated() -> None:
    grey = np.ascontiguousarray(scene()[..., 0])
    payload = deflated_tiff(grey)

    assert np.array_equal(decoded(payload).pixels[..., 0], grey)
    assert {refused(payload[:length]).state for length in range(150, len(payload), 20)} == {"truncated"}


def test_garbage_behind_a_good_start_is_unreadable_or_truncated() -> None:
    for encoding in ENCODINGS:
        payload = seed(encoding)
        error = refused(payload[:24] + b"\xaa" * (len(payload) - 24))
        assert error.state in ("unreadable", "truncated"), encoding


@pytest.mark.parametrize("payload", [b"Dear diary, today nothing happened.", b"%PDF-1.7", b"\0" * 100, b""])
def test_what_is_no_picture_is_unsupported_whatever_its_name(payload: bytes) -> None:
    with pytest.raises(ItemError) as caught:
        decode(payload, b"/photos/holiday.jpg", 120)

    assert caught.value.state == "unsupported"


def test_a_picture_is_found_under_a_wrong_name() -> None:
    assert decode(seed("PNG"), b"/photos/letter.doc", 120).format == "PNG"


def test_too_many_pixels_are_refused_by_the_header_alone() -> None:
    # The pixels are missing: had they been asked for, the file would be truncated.
    bomb = png(50_000, 50_000, 1, 0, b"")

    error = refused(bomb)

    assert error.state == "too_large"
    assert error.detail == "50000 x 50000 pixels, more than 120 megapixels"


def test_the_pixel_limit_is_the_one_that_was_given() -> None:
    payload = encode(PIL.Image.new("L", (1250, 800)), "PNG")

    assert decoded(payload, max_megapixels=1).width == 1250
    assert refused(encode(PIL.Image.new("L", (1251, 800)), "PNG"), max_megapixels=1).state == "too_large"


def test_pictures_over_pillows_own_limit_are_decoded_where_ours_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 96 * 64 - 1)

    for encoding in ENCODINGS:
        assert decoded(seed(encoding)).width == 96, encoding


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_large_jpeg_is_reduced_upright_and_knows_its_whole(orientation: int) -> None:
    upright = scene(640, 480) if orientation < 5 else scene(480, 640)
    payload = encode(stored_as(upright, orientation), "JPEG", quality=92, exif=exif_with(orientation))

    image = decoded(payload, side=SIDE)

    assert max(image.pixels.shape) == 240  # 3/8
    assert_same(image.pixels, boxed(upright, image.pixels.shape[1], image.pixels.shape[0]), 2)
    assert image.pixels.flags.writeable
    assert image.pixels.flags.c_contiguous
    assert image.whole is not None
    assert (image.height, image.width) == upright.shape[:2]
    assert np.array_equal(image.whole.decode(1), decoded(payload).pixels)
    assert image.whole.decode(1).shape == upright.shape
    half = image.whole.decode(0.45)
    assert max(half.shape) == 320  # 4/8
    assert_same(half, boxed(upright, half.shape[1], half.shape[0]), 2)
    assert image.orientation == orientation
    assert image.photo_id == photo_id(payload)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_picture_that_is_small_enough_is_decoded_in_full(encoding: str) -> None:
    image = decoded(seed(encoding), side=96)

    assert image.whole is None
    assert np.array_equal(image.pixels, decoded(seed(encoding)).pixels)


@pytest.mark.parametrize("encoding", ["PNG", "WEBP", "TIFF", "GIF", "BMP", "HEIF", "AVIF"])
def test_formats_without_a_smaller_scale_are_decoded_in_full(encoding: str) -> None:
    image = decoded(seed(encoding), side=20)

    assert image.whole is None
    assert image.pixels.shape == (64, 96, 3)


def test_a_jpeg_that_pillow_must_decode_is_reduced_too() -> None:
    payload = encode(PIL.Image.fromarray(scene(640, 480)).convert("CMYK"), "JPEG", exif=exif_with(3))

    image = decoded(payload, side=SIDE)

    assert image.pixels.shape == (240, 320, 3)  # Pillow halves
    assert image.whole is not None
    assert image.whole.decode(1).shape == (480, 640, 3)
    assert_same(image.pixels, boxed(image.whole.decode(1), 320, 240), 2)


def test_the_metadata_of_a_reduced_picture_is_the_wholes() -> None:
    exif = exif_with(6, Make="Acme", Model="One", DateTimeOriginal="2008:10:22 16:28:39")
    payload = encode(scene(640, 480), "JPEG", exif=exif)

    reduced, whole = decoded(payload, side=SIDE), decoded(payload)

    assert reduced.whole
    assert (reduced.captured_at, reduced.camera) == (whole.captured_at, whole.camera) != (None, None)
    assert (reduced.width, reduced.height, reduced.orientation) == (whole.width, whole.height, whole.orientation)


def test_a_broken_file_has_the_same_state_at_every_scale() -> None:
    payload = encode(scene(640, 480), "JPEG", quality=92)
    broken = [payload[: len(payload) // 2], payload[:200], payload[:24] + b"\xaa" * 1000]

    for damaged in broken:
        assert outcome(damaged, SIDE) == outcome(damaged)
        assert refused(damaged, side=SIDE).state in ("truncated", "unreadable")
    assert refused(encode(scene(1251, 800), "JPEG"), max_megapixels=1, side=SIDE).state == "too_large"


@pytest.mark.parametrize("orientation", [1, 6])
def test_an_embedded_heif_thumbnail_is_taken_where_it_is_large_enough(orientation: int) -> None:
    exif = exif_with(orientation)
    payload = encode(scene(640, 480), "HEIF", quality=90, thumbnails=[64, SIDE, 320], exif=exif)

    image, whole = decoded(payload, side=SIDE), decoded(payload)

    assert max(image.pixels.shape) == SIDE
    assert_same(image.pixels, boxed(whole.pixels, image.pixels.shape[1], image.pixels.shape[0]), 2)
    assert image.whole is not None
    assert np.array_equal(image.whole.decode(1), whole.pixels)
    assert (image.width, image.height, image.orientation) == (whole.width, whole.height, orientation)
    assert decoded(payload, side=321).whole is None


def test_what_is_wrong_with_a_heif_file_behind_its_thumbnail_is_told_when_the_whole_is_asked_for() -> None:
    payload = encode(scene(640, 480), "HEIF", quality=90, thumbnails=[SIDE])
    pixels = payload.index(b"mdat") + 4
    image = decoded(payload[:pixels] + bytes(200) + payload[pixels + 200 :], side=SIDE)

    assert image.whole is not None
    with pytest.raises(ItemError) as caught:
        image.whole.decode(1)
    assert caught.value.state == "unreadable"


def test_a_heif_file_cut_short_is_truncated_even_if_its_thumbnail_is_there() -> None:
    payload = encode(scene(640, 480), "HEIF", quality=90, thumbnails=[SIDE])

    for length in range(len(payload) // 2, len(payload), 5000):
        assert outcome(payload[:length], SIDE) == outcome(payload[:length])


def test_a_raw_file_with_a_thumbnail_in_front_is_unsupported() -> None:
    reduced = encode(scene(), "TIFF", tiffinfo={254: 1})

    assert refused(reduced).state == "unsupported"


def test_details_are_one_printable_line_that_does_not_change() -> None:
    for encoding in ENCODINGS:
        broken = seed(encoding)[:200]
        first, second = refused(broken).detail, refused(broken).detail
        assert first == second
        assert first.isprintable()
        assert 0 < len(first) <= 200


def test_photos_are_decoded_in_many_threads_as_in_one() -> None:
    payloads = [seed(encoding) for encoding in ENCODINGS] + [seed(encoding)[:300] for encoding in ENCODINGS]
    payloads.append(encode(scene(640, 480), "JPEG", exif=exif_with(6)))

    alone = [outcome(payload, SIDE) for payload in payloads]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(outcome, payloads * 20, [SIDE] * len(payloads) * 20))

    assert together == alone * 20


def test_the_warning_filters_are_as_before_afterwards() -> None:
    before = list(warnings.filters)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda encoding: decoded(seed(encoding)), list(ENCODINGS) * 5))

    assert list(warnings.filters) == before


def test_warnings_of_broken_files_are_neither_raised_nor_printed(capfd: pytest.CaptureFixture[str]) -> None:
    # Cut inside the tags, which Pillow warns of, and inside the pixels, which libtiff prints.
    payload = encode(scene(), "TIFF", compression="tiff_lzw")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for length in range(16, len(payload), 7):
            refused(payload[:length])

    assert not caught
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["Landscape", "Portrait"])
def test_real_photos_of_every_orientation_come_out_alike(shared_data: Path, name: str) -> None:
    images = {
        number: decoded((shared_data / "odd-files/exif" / f"{name}_{number}.jpg").read_bytes())
        for number in range(1, 9)
    }

    for number, image in images.items():
        assert image.orientation == number
        # Each has its number painted in the middle, and was compressed anew.
        assert_same(image.pixels, images[1].pixels, 4)


def test_every_odd_file_has_one_outcome_and_prints_nothing(
    shared_data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    states: Counter[str] = Counter()
    report = CrawlReport()
    for folder in ("odd-files", "photos"):
        for ref in crawl(str(shared_data / folder), report):
            try:
                image = decode(read_photo(ref), ref.path, 120, SIDE)
                states["decoded"] += 1
                assert image.pixels.size
            except ItemError as error:
                states[error.state] += 1

    on_disk = sum(len(files) for folder in ("odd-files", "photos") for _, _, files in os.walk(shared_data / folder))
    assert states.total() + report.ignored_files.total() == on_disk
    assert set(states) == {"decoded", "unsupported", "unreadable", "truncated", "too_large"}
    assert states["decoded"] > 700
    assert report.problems == []
    assert capfd.readouterr() == ("", "")


def test_real_jpegs_come_out_as_pillow_decodes_them_and_reduced_as_pillow_reduces_them(shared_data: Path) -> None:
    for path in sorted((shared_data / "odd-files/exif").glob("*.jpg"))[::4]:
        payload = path.read_bytes()
        with PIL.Image.open(path) as picture:
            expected = np.asarray(PIL.ImageOps.exif_transpose(picture).convert("RGB"))

        whole, reduced = decoded(payload), decoded(payload, side=80)

        assert_same(whole.pixels, expected, 2)
        height, width = reduced.pixels.shape[:2]
        assert (reduced.height, reduced.width) == expected.shape[:2]
        assert_same(reduced.pixels, boxed(expected, width, height), 10)


def test_heic_of_phones_is_upright_and_dated(shared_data: Path) -> None:
    image = decoded((shared_data / "odd-files/heic/mobile_iphone_13_pro_max.HEIC").read_bytes())

    assert (image.width, image.height, image.orientation) == (3024, 4032, 6)
    assert image.captured_at == "2022-02-16T12:55:41"
    assert image.camera == "Apple iPhone 13 Pro Max"


@pytest.mark.parametrize("suffix", ["avif", "bmp", "gif", "heif", "jpg", "png", "tif", "webp", "Lab.tif"])
def test_one_portrait_looks_the_same_in_every_format(shared_data: Path, suffix: str) -> None:
    folder = shared_data / "odd-files/broken"
    reference = PIL.Image.open(io.BytesIO((folder / "hopper.ppm").read_bytes())).convert("RGB")

    image = decoded((folder / f"hopper.{suffix}").read_bytes())

    assert_same(image.pixels, np.asarray(reference), 14)
