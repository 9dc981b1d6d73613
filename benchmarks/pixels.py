"""A face as its pixels: what comparing pictures point by point is worth. No network, nothing learnt.

Made to stand beside the embedders in `embedder_rates.py`: the same photos, detector and alignment, then grey values.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceindex.arrays import l2_normalize
from faceindex.config import Settings
from faceindex.evaluation.protocols import Pair, fold_accuracies
from faceindex.faces.chips import Chips, Cutter
from faceindex.faces.onnx_embedder import arcface_family
from faceindex.faces.prominence import by_prominence
from faceindex.faces.recogniser import Recogniser
from faceindex.images.decode import decode
from faceindex.types import ModelId

SIDE = 28
"""Pixels that the side of a chip of 112 is reduced to; with 7 to 112 of them accuracy differs by 1 %."""

REC_601 = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in a grey value."""

BATCH = 64
NO_MODEL = ModelId("pixels")

Grey = NDArray[np.float32]
"""Grey values of 0 to 255, float32 (n, side * side)."""


@dataclass(frozen=True, slots=True)
class GreyValues:
    """Stands where an `Embedder` does, and gives the grey values of a chip."""

    side: int = SIDE
    model: ModelId = NO_MODEL
    cutter: Cutter = field(default_factory=lambda: arcface_family(1).cutter)

    @property
    def dimension(self) -> int:
        return self.side**2

    def embed(self, chips: Chips) -> Grey:
        """Return means over squares of pixels."""
        step = self.cutter.size // self.side
        grey = chips.astype(np.float32) @ REC_601
        return grey.reshape(len(chips), self.side, step, self.side, step).mean((2, 4)).reshape(len(chips), -1)


def grey_of_photos(photos: list[str], side: int = SIDE) -> Grey:
    """Return the grey values of the face each photo is about; each has one."""
    settings = Settings()
    recogniser = replace(Recogniser.load(settings), embedder=GreyValues(side))
    rows = []
    for start in range(0, len(photos), BATCH):
        some = photos[start : start + BATCH]
        images = [decode(Path(path).read_bytes(), path.encode(), 120, settings.detect_side_px) for path in some]
        for image, found in zip(images, recogniser.faces(images), strict=True):
            rows.append(found.vectors[by_prominence(found.detections.boxes, image.width, image.height)[0]])
    return np.stack(rows)


def correlated(grey: Grey) -> Grey:
    """Return unit vectors whose cosine is the normalised correlation of the grey values."""
    return l2_normalize(grey - grey.mean(axis=1, keepdims=True))


def accuracy_by_squared_difference(folds: list[list[Pair]], grey: Grey, files: list[str]) -> NDArray[np.float64]:
    """Return the accuracy of each fold when small mean squared differences are taken for one person."""
    rows = {name: row for row, name in enumerate(files)}
    scores = [
        np.array([-np.mean((grey[rows[left]] - grey[rows[right]]) ** 2, dtype=np.float64) for left, right, _ in fold])
        for fold in folds
    ]
    mated = [np.array([same for *_, same in fold]) for fold in folds]
    return np.array([fold.accuracy for fold in fold_accuracies(scores, mated)])
