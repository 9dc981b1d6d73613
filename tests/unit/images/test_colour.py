import io

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from faceindex.images.colour import to_rgb
from tests.support.pictures import encode, scene


def pixels(picture: PIL.Image.Image) -> NDArray[np.int16]:
    converted = to_rgb(picture)
    assert converted.mode == "RGB"
    return np.asarray(converted).astype(np.int16)


def test_rgb_stays_as_it_is() -> None:
    assert np.array_equal(pixels(PIL.Image.fromarray(scene())), scene())


@pytest.mark.parametrize(
    ("brightest", "white"), [(200, 255), (1000, 1023), (4095, 4095), (9000, 16383), (60000, 65535)]
)
def test_deep_grey_is_scaled_by_the_white_level_of_its_bits(brightest: int, white: int) -> None:
    grey = np.linspace(0, brightest, 600).astype(np.uint16).reshape(20, 30)

    found = pixels(PIL.Image.fromarray(grey))

    expected = np.floor(grey * (255 / white) + 0.5)
    assert np.array_equal(found[..., 0], expected)
    assert np.array_equal(found[..., 1], expected)


def test_deep_grey_of_either_byte_order_is_the_same() -> None:
    grey = np.linspace(0, 60000, 600).astype(np.uint16).reshape(20, 30)
    big_endian = PIL.Image.frombytes("I;16B", (30, 20), grey.astype(">u2").tobytes())

    assert np.array_equal(pixels(big_endian), pixels(PIL.Image.fromarray(grey)))


def test_deep_integers_below_black_are_black_and_beyond_16_bits_fit() -> None:
    grey = np.array([[-5, 0, 100_000, 200_000]], np.int32)

    assert pixels(PIL.Image.fromarray(grey))[0, :, 0].tolist() == [0, 0, 128, 255]


def test_floats_may_be_0_to_1_or_0_to_255_and_hold_nonsense() -> None:
    unit = np.array([[0, 0.5, 1, np.nan]], np.float32)
    bytes_ = np.array([[0, 100, 255, -np.inf]], np.float32)

    assert pixels(PIL.Image.fromarray(unit))[0, :, 0].tolist() == [0, 128, 255, 0]
    assert pixels(PIL.Image.fromarray(bytes_))[0, :, 0].tolist() == [0, 100, 255, 0]


def test_a_black_deep_picture_is_black() -> None:
    assert not pixels(PIL.Image.fromarray(np.zeros((2, 2), np.float32))).any()


def test_cmyk_without_a_profile_is_converted_plainly() -> None:
    assert np.array_equal(pixels(PIL.Image.fromarray(scene()).convert("CMYK")), scene())


def test_cmyk_with_a_broken_profile_is_converted_plainly() -> None:
    picture = PIL.Image.fromarray(scene()).convert("CMYK")
    picture.info["icc_profile"] = b"no profile"

    assert np.array_equal(pixels(picture), scene())


def test_lab_is_converted_to_srgb() -> None:
    from PIL import ImageCms

    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    picture = ImageCms.profileToProfile(PIL.Image.fromarray(scene()), srgb, lab, outputMode="LAB")

    assert np.abs(pixels(picture) - scene()).mean() < 3


def test_transparent_parts_are_shown_on_white() -> None:
    rgba = PIL.Image.new("RGBA", (3, 1))
    rgba.putdata([(200, 100, 0, 255), (200, 100, 0, 0), (200, 100, 0, 51)])

    assert pixels(rgba)[0].tolist() == [[200, 100, 0], [255, 255, 255], [244, 224, 204]]


def test_transparent_grey_is_shown_on_white() -> None:
    grey = PIL.Image.new("LA", (2, 1))
    grey.putdata([(50, 255), (50, 0)])

    assert pixels(grey)[0].tolist() == [[50, 50, 50], [255, 255, 255]]


@pytest.mark.parametrize("transparency", [1, b"\xff\x00"])
def test_a_transparent_palette_entry_is_shown_on_white(transparency: int | bytes) -> None:
    palette = PIL.Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    stored = PIL.Image.open(io.BytesIO(encode(palette, "PNG", transparency=transparency)))

    assert pixels(stored)[0].tolist() == [[10, 20, 30], [255, 255, 255]]


def test_a_transparent_colour_is_shown_on_white() -> None:
    picture = PIL.Image.new("RGB", (2, 1))
    picture.putdata([(1, 2, 3), (4, 5, 6)])
    stored = PIL.Image.open(io.BytesIO(encode(picture, "PNG", transparency=(1, 2, 3))))

    assert pixels(stored)[0].tolist() == [[255, 255, 255], [4, 5, 6]]


def test_one_bit_and_grey_and_ycbcr_become_rgb() -> None:
    bit = PIL.Image.new("1", (2, 1))
    bit.putdata([0, 255])

    assert pixels(bit)[0].tolist() == [[0, 0, 0], [255, 255, 255]]
    assert pixels(PIL.Image.new("L", (1, 1), 77))[0].tolist() == [[77, 77, 77]]
    assert np.abs(pixels(PIL.Image.fromarray(scene()).convert("YCbCr")) - scene()).max() <= 3
