from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from faceindex.faces.landmarks import LandmarkFinder, load_landmark_finder
from faceindex.faces.mtcnn import build_mtcnn
from tests.support.archives import portrait
from tests.support.pictures import scene

Floats = NDArray[np.float32]


class Middle:
    """In place of O-Net: every landmark in the middle of the crop, and a face where the crop is bright there."""

    def __init__(self) -> None:
        self.crops: list[Floats] = []

    def __call__(self, x: Floats) -> list[Floats]:
        self.crops.append(x)
        bright = (x[:, 24, 24, 0] > 0).astype(np.float32)
        return [
            np.zeros((len(x), 4), np.float32),
            np.full((len(x), 10), 0.5, np.float32),
            np.stack([1 - bright, bright], 1),
        ]


@pytest.fixture(scope="module")
def finder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LandmarkFinder]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACEINDEX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield load_landmark_finder()


def test_landmarks_of_a_box_are_near_those_of_the_whole_cascade(finder: LandmarkFinder) -> None:
    picture = np.asarray(portrait())
    [expected] = build_mtcnn().detect([picture], [40.0])
    boxes = expected.boxes[:1]
    side = boxes[0, 3] - boxes[0, 1]

    for shift in (-0.05, 0, 0.05):
        found = finder.complete(picture, boxes + np.float32(shift * side), expected.confidences[:1])

        error = np.linalg.norm(found.landmarks - expected.landmarks[:1], axis=2)
        assert error.max() < 0.05 * side
        np.testing.assert_array_equal(found.confidences, expected.confidences[:1])


def test_boxes_without_a_face_are_left_out(finder: LandmarkFinder) -> None:
    boxes = np.array([[10, 10, 60, 60], [100, 20, 160, 90]], np.float32)

    found = finder.complete(scene(300, 200), boxes, np.array([0.9, 0.8], np.float32))

    assert len(found) == 0


def test_the_network_sees_the_square_around_the_box_black_beyond_the_edge() -> None:
    picture = np.full((100, 100, 3), 255, np.uint8)
    network = Middle()
    boxes = np.array([[-48, 20, 48, 60]], np.float32)  # its square has the corners (-48, -8) and (48, 88)

    found = LandmarkFinder(network).complete(picture, boxes, np.array([0.9], np.float32))

    [crops] = network.crops
    assert crops.shape == (1, 48, 48, 3)
    np.testing.assert_array_equal(crops[0, 4:, 24:], 127.5)
    np.testing.assert_array_equal(crops[0, :, :24], -127.5)
    np.testing.assert_array_equal(crops[0, :4], -127.5)
    np.testing.assert_allclose(found.landmarks, np.broadcast_to([0, 40], (1, 5, 2)))
    np.testing.assert_array_equal(found.boxes, boxes)


def test_many_boxes_keep_their_order_and_none_are_none() -> None:
    picture = np.zeros((400, 400, 3), np.uint8)
    picture[:, 200:] = 255
    x = np.arange(20, 380, 2, dtype=np.float32)
    boxes = np.stack([x - 10, x, x + 10, x + 20], axis=1)
    network = Middle()

    found = LandmarkFinder(network).complete(picture, boxes, x)

    assert len(network.crops) > 1
    np.testing.assert_array_equal(found.confidences, x[x >= 200])
    np.testing.assert_array_equal(found.landmarks[:, 0, 0], x[x >= 200])
    assert len(LandmarkFinder(network).complete(picture, boxes[:0], x[:0])) == 0
