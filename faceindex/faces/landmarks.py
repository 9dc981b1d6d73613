"""Five landmarks for boxes of detectors that give none: MTCNN's O-Net looks at each box."""

from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from faceindex.faces.mtcnn import ONET_SIDE, SHA256, build_crop_network
from faceindex.faces.networks import Network
from faceindex.faces.openvino_network import load_network
from faceindex.types import Detections

MIDDLE = np.float32(127.5)
"""Grey that O-Net takes as 0."""

NO_FACE = 0.1
"""Probability of a face below which O-Net overrules the detector. On WIDER FACE that takes away two thirds of the false
alarms, and of the faces of 40 pixels and more one in 100 of Ultra-Light's and three in 100 of BlazeFace's."""

BATCH = 64
"""Crops that go through the network together; crowds have more faces."""


class LandmarkFinder:
    """Finds the landmarks of faces whose boxes are known. Used by one thread at a time.

    Args:
        onet: O-Net, of `mtcnn.build_crop_network`.
    """

    def __init__(self, onet: Network) -> None:
        self._onet = onet

    def complete(
        self, picture: NDArray[np.uint8], boxes: NDArray[np.float32], scores: NDArray[np.float32]
    ) -> Detections:
        """Return the faces with landmarks, without boxes that surely hold no face.

        O-Net sees the square around each box, black where it reaches over the picture's edge, as it was trained.

        Args:
            picture: uint8 (height, width, 3) RGB.
            boxes: float32 (n, 4), x0, y0, x1, y1.
            scores: float32 (n,).
        """
        squares = _squares(boxes)
        parts = [(np.empty((0, 10), np.float32), np.empty((0, 2), np.float32))]
        for start in range(0, len(squares), BATCH):
            _, marks, chances = self._onet(_crops(picture, squares[start : start + BATCH]))
            parts.append((marks, chances))
        shares, probabilities = (np.concatenate(column) for column in zip(*parts, strict=True))
        # Shares of the square's side: x of the five landmarks, then y.
        points = shares.reshape(-1, 2, 5).transpose(0, 2, 1)
        sides = (squares[:, 2] - squares[:, 0]).astype(np.float32)
        landmarks = points * sides[:, None, None] + squares[:, None, :2].astype(np.float32)
        return Detections(boxes, landmarks, scores).chosen(probabilities[:, 1] >= NO_FACE)


def load_landmark_finder() -> LandmarkFinder:
    """Load O-Net, on the CPU, where the detectors that need it run."""
    shape = (-1, ONET_SIDE, ONET_SIDE, 3)
    return LandmarkFinder(load_network("onet", SHA256["onet"], partial(build_crop_network, "onet"), shape))


def _squares(boxes: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return squares around the boxes' centres with their longer sides, in whole pixels, x0, y0, x1, y1."""
    sides = np.maximum(np.rint((boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)), 1)[:, None]
    low = np.rint((boxes[:, :2] + boxes[:, 2:] - sides) / 2)
    return np.concatenate([low, low + sides], axis=1).astype(np.int64)


def _crops(picture: NDArray[np.uint8], squares: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the squares resized for O-Net, float32 (n, side, side, 3), relative to middle grey."""
    whole, size = Pillow.fromarray(picture), (ONET_SIDE, ONET_SIDE)
    crops = [whole.crop(tuple(square)).resize(size, Pillow.Resampling.BOX) for square in squares.tolist()]
    return np.stack([np.asarray(crop, np.float32) for crop in crops]) - MIDDLE
