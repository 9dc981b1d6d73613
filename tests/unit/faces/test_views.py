import numpy as np
import pytest

from faceindex.faces.views import FRAME_STEP, views
from tests.support.pictures import scene


@pytest.mark.parametrize("size", [(64, 64), (65, 130), (1, 3000), (700, 1), (333, 251)])
@pytest.mark.parametrize("scale", [0.01, 0.37, 1.0, 1.3])
def test_a_view_is_the_picture_at_its_scale_in_a_black_frame(size: tuple[int, int], scale: float) -> None:
    picture = np.full((*size, 3), 200, np.uint8)

    view = next(views(picture, scale, 1e9))

    rows, columns = round(size[0] * view.y_scale), round(size[1] * view.x_scale)
    assert (rows, columns) == tuple(max(1, round(side * scale)) for side in size)
    assert (view.pixels[:rows, :columns] == 200).all()
    assert not view.pixels[rows:].any()
    assert not view.pixels[:, columns:].any()
    for frame, side in zip(view.pixels.shape, (rows, columns), strict=False):
        assert frame % FRAME_STEP == 0
        assert 0 <= frame - side < FRAME_STEP


def test_a_picture_at_its_own_scale_keeps_its_pixels() -> None:
    picture = scene(96, 64)

    [view] = views(picture, 1.0, 64)

    np.testing.assert_array_equal(view.pixels[:64, :96], picture)


def test_a_place_in_the_picture_is_at_the_scaled_place_in_the_view() -> None:
    picture = np.zeros((300, 401, 3), np.uint8)
    picture[200:208, 300:308] = 255

    view = next(views(picture, 0.5, 1e9))

    weights = view.pixels[..., 0] / view.pixels[..., 0].sum(dtype=np.float64)
    y, x = np.mgrid[: weights.shape[0], : weights.shape[1]] + 0.5
    assert (weights * x).sum() / view.x_scale == pytest.approx(304, abs=0.3)
    assert (weights * y).sum() / view.y_scale == pytest.approx(204, abs=0.3)


def test_scales_halve_until_a_face_that_fills_the_picture_is_not_too_large() -> None:
    picture = scene(1200, 900)

    scales = [view.y_scale for view in views(picture, 0.8, 200)]

    np.testing.assert_allclose(scales, [0.8, 0.4, 0.2], rtol=1e-2)
    assert 900 * scales[-2] > 200 >= 900 * scales[-1]


def test_reducing_shows_the_mean_of_the_pixels() -> None:
    """Without aliasing: a chessboard of single pixels becomes grey."""
    picture = np.zeros((640, 640, 3), np.uint8)
    picture[::2, ::2] = picture[1::2, 1::2] = 255

    view = next(views(picture, 0.2, 1e9))

    assert np.abs(view.pixels[4:124, 4:124].astype(int) - 127).max() <= 3
