import io
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from faceindex.images.jpeg import BYTES
from faceindex.images.jpeg import quick_pixels as quick_pixels_holding
from tests.support.pictures import encode, scene, seed

KINDS: dict[str, dict[str, Any]] = {
    "4:4:4": {"subsampling": "4:4:4"},
    "4:2:2": {"subsampling": "4:2:2"},
    "4:2:0": {"subsampling": "4:2:0"},
    "progressive": {"progressive": True},
    "optimised": {"optimize": True},
    "restart markers": {"restart_marker_blocks": 3},
    "stored as RGB": {"keep_rgb": True},
    "low quality": {"quality": 20},
}


def quick_pixels(payload: bytes, width: int, height: int, side: int | None) -> NDArray[np.uint8] | None:
    return quick_pixels_holding(payload, width, height, side, lambda _: None)


def by_pillow(payload: bytes) -> NDArray[np.uint8]:
    return np.asarray(PIL.Image.open(io.BytesIO(payload)).convert("RGB"))


def mean_difference(found: NDArray[np.uint8] | None, expected: NDArray[np.uint8]) -> float:
    assert found is not None
    assert found.shape == expected.shape
    return float(np.abs(found.astype(int) - expected.astype(int)).mean())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(96, 64), (97, 65), (1, 1), (7, 300)])
def test_every_kind_of_jpeg_comes_out_as_pillow_decodes_it(kind: str, size: tuple[int, int]) -> None:
    payload = encode(scene(*size), "JPEG", **KINDS[kind])

    pixels = quick_pixels(payload, *size, None)

    assert mean_difference(pixels, by_pillow(payload)) <= 1
    assert pixels is not None
    assert pixels.flags.writeable


def test_grey_comes_out_as_three_equal_colours() -> None:
    payload = encode(PIL.Image.fromarray(scene()).convert("L"), "JPEG")

    pixels = quick_pixels(payload, 96, 64, None)

    assert mean_difference(pixels, by_pillow(payload)) <= 1
    assert pixels is not None
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


@pytest.mark.parametrize("size", [(640, 480), (479, 641), (333, 333), (1000, 80), (90, 700)])
@pytest.mark.parametrize("side", [1, 41, 42, 80, 160, 199, 250, 251, 320, 400, 401, 500, 640, 641, 5000])
def test_the_smallest_scale_is_taken_that_leaves_enough_pixels(size: tuple[int, int], side: int) -> None:
    # Of panoramas twice the short side counts. 7/8 would be slower than the whole.
    enough = side * max(1, max(size) / (2 * min(size)))
    scales = [n for n in (1, 2, 3, 4, 5, 6, 8) if -(-max(size) * n // 8) >= enough] or [8]
    width, height = (-(-length * scales[0] // 8) for length in size)

    pixels = quick_pixels(encode(scene(*size), "JPEG"), *size, side)

    assert pixels is not None
    assert pixels.shape == (height, width, 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("eighths", [1, 2, 3, 4, 5])
def test_a_reduced_picture_is_the_mean_of_what_it_stands_for(kind: str, eighths: int) -> None:
    payload = encode(scene(640, 480), "JPEG", **KINDS[kind])
    smaller = 80 * eighths, 60 * eighths

    pixels = quick_pixels(payload, 640, 480, smaller[0])

    whole = PIL.Image.fromarray(by_pillow(payload))
    assert mean_difference(pixels, np.asarray(whole.resize(smaller, PIL.Image.Resampling.BOX))) <= 2


def test_colours_that_need_a_profile_are_left_to_pillow() -> None:
    payload = encode(PIL.Image.fromarray(scene()).convert("CMYK"), "JPEG")

    assert quick_pixels(payload, 96, 64, None) is None


@pytest.mark.parametrize("side", [None, 20])
def test_files_that_libjpeg_turbo_warns_of_are_left_to_pillow(side: int | None) -> None:
    payload = seed("JPEG")
    cut_short = [payload[:length] for length in (0, 2, 100, len(payload) // 2, len(payload) - 2)]
    stray_bytes = payload[:-2] + b"stray" + payload[-2:]

    for unusual in (*cut_short, stray_bytes, b"\xff\xd8\xff", seed("PNG"), bytes(1000)):
        assert quick_pixels(unusual, 96, 64, side) is None


def test_a_file_whose_size_is_read_in_two_ways_is_left_to_pillow() -> None:
    assert quick_pixels(seed("JPEG"), 96, 65, None) is None
    assert quick_pixels(seed("JPEG"), 64, 96, 20) is None


@pytest.mark.parametrize(("side", "pixels"), [(None, 640 * 480), (320, 320 * 240), (1000, 640 * 480)])
def test_memory_is_asked_for_once_and_for_as_many_pixels_as_come(side: int | None, pixels: int) -> None:
    asked: list[int] = []

    quick_pixels_holding(encode(scene(640, 480), "JPEG"), 640, 480, side, asked.append)

    assert asked == [BYTES * pixels]
