import io
import threading

import numpy as np
import pytest
from PIL import Image

from faceindex.errors import ItemError
from faceindex.pipeline.stages import CROP_SIDE, crop_jpeg, within


def test_a_call_that_is_quick_enough_gives_its_result() -> None:
    assert within(30, "add", lambda a, b: a + b, 2, 3) == 5


def test_a_call_that_hangs_becomes_the_state_timeout() -> None:
    never = threading.Event()

    with pytest.raises(ItemError, match=r"took longer than 0\.05 s to wait") as error:
        within(0.05, "wait", never.wait)

    assert error.value.state == "timeout"
    never.set()


def test_an_error_of_the_call_is_raised_as_it_is() -> None:
    def fail() -> None:
        raise ItemError("denied", "permission denied")

    with pytest.raises(ItemError, match="denied: permission denied"):
        within(30, "read", fail)


@pytest.mark.parametrize("box", [[10, 10, 60, 70], [-20, -20, 30, 30], [380, 280, 480, 380], [0, 0, 400, 300]])
def test_a_crop_shows_the_box_and_stays_in_the_photo(box: list[float]) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)

    crop = Image.open(io.BytesIO(crop_jpeg(pixels, np.array(box, np.float32))))

    assert crop.format == "JPEG"
    assert max(crop.size) <= CROP_SIDE
    assert min(crop.size) > 0
