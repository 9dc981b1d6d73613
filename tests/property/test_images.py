import io
import warnings

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL.JpegImagePlugin import JpegImageFile

from faceindex.errors import ItemError
from faceindex.images.decode import decode
from faceindex.images.formats import FORMATS, sniff
from faceindex.types import PhotoState
from tests.support.pictures import ENCODINGS, encode, scene, seed

DECODER_STATES = {PhotoState.UNSUPPORTED, PhotoState.TOO_LARGE, PhotoState.TRUNCATED, PhotoState.UNREADABLE}

places = st.floats(0, 1, exclude_max=True)
changes = st.one_of(
    st.tuples(st.just("set"), places, st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("insert"), places, st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("delete"), places, st.integers(1, 200).map(bytes)),
    st.tuples(st.just("cut"), places, st.just(b"")),
)


def changed(payload: bytes, kind: str, place: float, data: bytes) -> bytes:
    start = int(place * len(payload))
    if kind == "set":
        return payload[:start] + data + payload[start + len(data) :]
    if kind == "insert":
        return payload[:start] + data + payload[start:]
    if kind == "delete":
        return payload[:start] + payload[start + len(data) :]
    return payload[:start]


def assert_decodes_or_is_refused(payload: bytes) -> None:
    refusal = None
    try:
        image = decode(payload, b"/photo", max_megapixels=1)
    except ItemError as error:
        refusal = error
    if refusal:
        assert refusal.state in DECODER_STATES
        assert refusal.detail.isprintable()
    else:
        assert 0 < image.width * image.height <= 1_000_000
        assert image.format in FORMATS
        assert 1 <= image.orientation <= 8


@settings(deadline=None, max_examples=1000)
@given(st.sampled_from(sorted(ENCODINGS)), st.lists(changes, min_size=1, max_size=4))
def test_damaged_files_decode_or_are_refused_with_a_state(
    encoding: str, damages: list[tuple[str, float, bytes]]
) -> None:
    payload = seed(encoding)
    for damage in damages:
        payload = changed(payload, *damage)

    assert_decodes_or_is_refused(payload)


@settings(deadline=None, max_examples=1000)
@given(st.sampled_from(["JPEG", "progressive JPEG"]), st.lists(changes, min_size=1, max_size=3))
def test_damaged_jpegs_are_decoded_exactly_where_pillow_decodes_them_and_alike(
    encoding: str, damages: list[tuple[str, float, bytes]]
) -> None:
    payload = seed(encoding)
    for damage in damages:
        payload = changed(payload, *damage)

    try:
        pixels = decode(payload, b"/photo", max_megapixels=1).pixels
        reduced = decode(payload, b"/photo", max_megapixels=1, side=20)
        assert (reduced.height, reduced.width) == pixels.shape[:2]
    except ItemError as error:
        if error.state in (PhotoState.UNREADABLE, PhotoState.TRUNCATED):
            assert not opens_in_pillow(payload)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = np.asarray(JpegImageFile(io.BytesIO(payload)).convert("RGB"))
        if reduced.orientation == 1:
            assert pixels.shape == expected.shape
            assert np.abs(pixels.astype(int) - expected.astype(int)).mean() <= 2


def opens_in_pillow(payload: bytes) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            JpegImageFile(io.BytesIO(payload)).load()
        except Exception:  # noqa: BLE001 - whatever a decoder raises
            return False
    return True


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(sorted(ENCODINGS)), st.integers(0, 64), st.binary(max_size=400))
def test_any_bytes_behind_a_good_start_decode_or_are_refused(encoding: str, kept: int, rest: bytes) -> None:
    assert_decodes_or_is_refused(seed(encoding)[:kept] + rest)


@given(st.binary(max_size=80))
def test_sniffing_takes_any_bytes(head: bytes) -> None:
    assert sniff(head) in (None, *FORMATS)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["PNG", "BMP", "TIFF"]))
def test_lossless_files_of_any_size_come_back_pixel_by_pixel(width: int, height: int, format_name: str) -> None:
    picture = scene(width, height)

    assert np.array_equal(decode(encode(picture, format_name), b"/photo", 1).pixels, picture)
