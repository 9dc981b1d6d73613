from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from faceindex.faces.align import align, similarity

TEMPLATE = np.array([[10.0, 11.0], [30.0, 11.5], [20.0, 22.0], [12.0, 31.0], [29.0, 30.0]])
SIZE = 41


def transform(scale: float, degrees: float, x: float, y: float) -> NDArray[np.float64]:
    """Return the similarity (2, 3) that turns, scales and moves pixels of a chip into a picture."""
    a, b = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[a, -b, x], [b, a, y]])


def landmarks(*transforms: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.array([TEMPLATE @ t[:, :2].T + t[:, 2] for t in transforms], np.float32)


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def painted(height: int, width: int, place: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Draw one smooth pattern, given in chip coordinates, at a place of a picture."""
    ys, xs = np.mgrid[:height, :width]
    inverse = np.linalg.inv(place[:, :2])
    u, v = np.einsum("ij,jhw->ihw", inverse, np.stack([xs - place[0, 2], ys - place[1, 2]]))
    waves = [np.sin(u / 5), np.cos(v / 6), np.sin((u + v) / 7)]
    return np.stack([127 + 100 * wave for wave in waves], axis=2).astype(np.uint8)


def one_pixel_at_a_time(pixels: NDArray[np.uint8], place: NDArray[np.float64]) -> NDArray[np.float64]:
    """The oracle: bilinear interpolation between four neighbours, each black when it is outside."""
    height, width = pixels.shape[:2]
    chip = np.zeros((SIZE, SIZE, 3))
    for row in range(SIZE):
        for column in range(SIZE):
            x, y = place @ (column, row, 1)
            for neighbour_y in (int(np.floor(y)), int(np.floor(y)) + 1):
                for neighbour_x in (int(np.floor(x)), int(np.floor(x)) + 1):
                    if 0 <= neighbour_x < width and 0 <= neighbour_y < height:
                        share = (1 - abs(x - neighbour_x)) * (1 - abs(y - neighbour_y))
                        chip[row, column] += share * pixels[neighbour_y, neighbour_x]
    return chip


@pytest.mark.parametrize(
    "place",
    [
        transform(1.0, 0, 12.3, 7.6),
        transform(0.6, 30, 25, 8),
        transform(1.9, -75, 5, 70),
        transform(1.3, 180, 70, 60),
        transform(1.5, 20, -20.5, -11.2),  # over the left and upper edge
        transform(1.5, -20, 40.5, 50.2),  # over the right and lower edge
    ],
)
def test_align_equals_interpolation_pixel_by_pixel(place: NDArray[np.float64]) -> None:
    pixels = noise(80, 90)

    [chip] = align(pixels, landmarks(place), TEMPLATE, SIZE)

    # Fractions are cut off, and landmarks are float32, which moves every sample by about 1e-6 pixels.
    expected = one_pixel_at_a_time(pixels, place)
    assert np.all((chip > expected - 1.02) & (chip < expected + 0.02))


def test_a_face_that_lies_on_the_template_is_copied() -> None:
    pixels = noise(SIZE, SIZE)

    [chip] = align(pixels, TEMPLATE[None].astype(np.float32), TEMPLATE, SIZE)

    assert np.abs(chip.astype(int) - pixels).max() <= 1
    assert np.mean(chip == pixels) > 0.5


@pytest.mark.parametrize("value", [0, 1, 127, 254, 255])
def test_an_even_picture_gives_an_even_chip(value: int) -> None:
    pixels = np.full((200, 200, 3), value, np.uint8)

    chips = align(pixels, landmarks(transform(1.7, 33, 80, 20), transform(0.4, 5, 80, 80)), TEMPLATE, SIZE)

    assert np.all(chips == value)


def test_align_agrees_with_pillow_inside_the_picture() -> None:
    pixels, place = painted(300, 300, transform(3, 0, 0, 0)), transform(1.7, 12, 90, 60)
    a, b, x, d, e, y = place.ravel()
    # Pillow counts from corners of pixels, we from their centres.
    coefficients = (a, b, x + 0.5 - (a + b) / 2, d, e, y + 0.5 - (d + e) / 2)
    expected = Image.fromarray(pixels).transform(
        (SIZE, SIZE), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
    )

    [chip] = align(pixels, landmarks(place), TEMPLATE, SIZE)

    assert np.abs(chip.astype(int) - np.asarray(expected)).max() <= 1


@pytest.mark.parametrize("scale", [0.8, 1.5, 2.4, 5.0, 9.7])
@pytest.mark.parametrize("degrees", [0.0, 27.0, -120.0])
def test_a_turned_and_enlarged_picture_gives_the_same_chip(scale: float, degrees: float) -> None:
    upright, turned = transform(1, 0, 3, 2), transform(scale, degrees, 0, 0)
    turned[:, 2] = 300 - turned[:, :2] @ (SIZE / 2, SIZE / 2)
    [expected] = align(painted(60, 60, upright), landmarks(upright), TEMPLATE, SIZE)

    [chip] = align(painted(600, 600, turned), landmarks(turned), TEMPLATE, SIZE)

    # A quarter of a pixel off would change these waves by 5 grey levels.
    assert np.abs(chip.astype(int) - expected).max() <= 4


@pytest.mark.parametrize("scale", [2.5, 4.0, 10.3])
def test_detail_finer_than_the_chip_turns_grey_instead_of_into_patterns(scale: float) -> None:
    checks = np.repeat(np.indices((500, 500)).sum(axis=0)[..., None] % 2 * 255, 3, axis=2).astype(np.uint8)

    [chip] = align(checks, landmarks(transform(scale, 3, 30, 20)), TEMPLATE, SIZE)

    assert chip.std() < 255 / 2 / scale
    assert abs(chip.mean() - 127) < 3


@pytest.mark.parametrize("place", [transform(1, 0, -500, 10), transform(4, 10, 10, 900), transform(1, 0, 91, 10)])
def test_a_face_outside_the_photo_is_black(place: NDArray[np.float64]) -> None:
    chips = align(np.full((80, 90, 3), 255, np.uint8), landmarks(place), TEMPLATE, SIZE)

    assert not chips.any()


def test_faces_keep_their_order_and_do_not_depend_on_each_other() -> None:
    pixels, places = noise(300, 300), [transform(s, 40 * s, 100, 90) for s in (0.5, 1.1, 3.0)]

    together = align(pixels, landmarks(*places), TEMPLATE, SIZE)

    alone = [align(pixels, landmarks(place), TEMPLATE, SIZE)[0] for place in places]
    assert np.array_equal(together, alone)


def test_a_photo_without_a_face_gives_no_chip() -> None:
    assert align(noise(20, 20), np.empty((0, 5, 2), np.float32), TEMPLATE, SIZE).shape == (0, SIZE, SIZE, 3)


@pytest.mark.parametrize("view", [lambda p: p[:, ::-1], lambda p: p[::2, ::3], lambda p: p.transpose(1, 0, 2)])
def test_views_of_a_photo_are_as_good_as_copies(view: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> None:
    pixels, points = view(noise(400, 600)), landmarks(transform(2.8, 10, 30, 20))

    assert np.array_equal(align(pixels, points, TEMPLATE, SIZE), align(pixels.copy(), points, TEMPLATE, SIZE))


def test_similarity_is_the_least_squares_solution() -> None:
    points = (TEMPLATE * 3 + np.random.default_rng(5).normal(0, 4, (7, 5, 2))).astype(np.float32)

    found = similarity(points, TEMPLATE)

    for face, solution in zip(points.astype(np.float64), found, strict=True):
        # x' = a x - b y + s and y' = b x + a y + t, solved as ten equations in four unknowns.
        x, y = TEMPLATE.T
        ones, zeros = np.ones(5), np.zeros(5)
        equations = np.vstack([np.column_stack([x, -y, ones, zeros]), np.column_stack([y, x, zeros, ones])])
        (a, b, s, t), *_ = np.linalg.lstsq(equations, face.T.ravel(), rcond=None)
        np.testing.assert_allclose(solution, [[a, -b, s], [b, a, t]], rtol=1e-9, atol=1e-9)


def test_landmarks_that_fall_on_one_point_give_the_colour_there() -> None:
    pixels = noise(50, 60)

    [chip] = align(pixels, np.full((1, 5, 2), (20, 30), np.float32), TEMPLATE, SIZE)

    assert np.all(chip == pixels[30, 20])


@pytest.mark.parametrize("distance", [1e5, 1e9, 3e18])
def test_a_face_however_far_outside_the_photo_is_black(distance: float) -> None:
    chips = align(np.full((80, 90, 3), 255, np.uint8), landmarks(transform(1, 0, distance, -distance)), TEMPLATE, SIZE)

    assert not chips.any()
