"""Faces in pictures that lie on a side or stand on their head, found by turning the picture."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from faceindex.faces.detect import Detector
from faceindex.faces.nms import nms
from faceindex.types import Detections

SURE = 0.95
"""Score from which a face of a turned picture counts: three more looks at each photo bring three times as many false
alarms, nearly all of them below."""

OVERLAP = 0.3
"""Intersection over union from which two faces are one, seen twice; the better score stands."""


class AllTurns:
    """A detector that gives another one every picture in four positions; see `detect.Detector`."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    @property
    def id(self) -> str:
        return f"{self._detector.id}-turned"

    def detect(self, pictures: Sequence[NDArray[np.uint8]], smallest: Sequence[float]) -> list[Detections]:
        """Return the faces of each picture, upright or not, most confident first, in its own pixels."""
        looks = [self._detector.detect(pictures, smallest)]
        for turns in (1, 2, 3):
            turned = [np.ascontiguousarray(np.rot90(picture, turns)) for picture in pictures]
            found = self._detector.detect(turned, smallest)
            looks.append(
                [
                    turned_back(faces.chosen(faces.confidences >= SURE), turns, *picture.shape[:2])
                    for faces, picture in zip(found, pictures, strict=True)
                ]
            )
        return [_merged(seen) for seen in zip(*looks, strict=True)]


def turned_back(faces: Detections, turns: int, height: int, width: int) -> Detections:
    """Return the faces of a picture that was turned by `numpy.rot90(picture, turns)`, in pixels of the picture.

    Args:
        faces: in pixels of the turned picture.
        turns: quarter turns, anticlockwise, 0 to 3.
        height: of the picture before.
        width: of the picture before.
    """
    boxes, points = faces.boxes, faces.landmarks
    # The width and height, before each turn, of the picture that is turned.
    sizes = [(width, height), (height, width)] * 2
    for before, _ in reversed(sizes[:turns]):
        x0, y0, x1, y1 = boxes.T
        boxes = np.stack([before - y1, x0, before - y0, x1], axis=1)
        points = np.stack([before - 1 - points[..., 1], points[..., 0]], axis=2)
    return Detections(boxes.astype(np.float32), points.astype(np.float32), faces.confidences)


def _merged(looks: Sequence[Detections]) -> Detections:
    faces = Detections.joined(looks)
    return faces.chosen(nms(faces.boxes, faces.confidences, np.zeros(len(faces), np.int64), OVERLAP))
