"""Verify: two pictures -> their faces -> one comparison, decided at the error rate that was asked for."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from faceindex.config import Settings
from faceindex.evaluation.thresholds import load_table
from faceindex.faces.recogniser import Recogniser
from faceindex.pictures import Picture, load_picture, rounded_box


@dataclass(frozen=True, slots=True)
class VerifyAnswer:
    """The answer to a 1:1 comparison: `faceindex.verify/1`."""

    similarity: float | None
    probability: float | None
    threshold: float
    fmr: float | None
    decision: Literal["same", "different", "no_face"]
    a: dict[str, Any]
    b: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the document that `faceindex verify --json` prints."""
        return {"schema": "faceindex.verify/1", **asdict(self)}


def verify(
    a: Picture, b: Picture, recogniser: Recogniser, settings: Settings, *, fmr: float, threshold: float | None
) -> VerifyAnswer:
    """Compare the people of two pictures, 1:1.

    Of pictures with several faces the most alike pair is compared. Choosing the best of n pairs gives a false match n
    chances, so the threshold is then taken at `fmr / n` (Bonferroni's bound), which errs to the strict side.

    Args:
        a: a path, PIL image or RGB pixels.
        b: likewise.
        recogniser: the networks.
        settings: of the catalog or the defaults.
        fmr: how often two different people may be called the same, 1e-4 means one in ten thousand.
        threshold: a cosine similarity to decide by, instead of an error rate.
    """
    images = [load_picture(picture, settings) for picture in (a, b)]
    left, right = recogniser.faces([image for image, _ in images])
    sides = [
        {"image": name, "width": image.width, "height": image.height, "faces": len(found.detections)}
        for (image, name), found in zip(images, (left, right), strict=True)
    ]
    pairs = len(left.vectors) * len(right.vectors)
    table = load_table(recogniser.embedder.model) if threshold is None else None
    limit = table.verification_threshold(fmr / max(1, pairs)).value if table else float(threshold or 0.0)
    if not pairs:
        return VerifyAnswer(None, None, round(limit, 6), fmr if table else None, "no_face", *sides)
    scores = left.vectors @ right.vectors.T
    i, j = np.unravel_index(int(np.argmax(scores)), scores.shape)
    similarity = float(scores[i, j])
    for side, found, index in zip(sides, (left, right), (i, j), strict=True):
        side["box"] = rounded_box(found.detections.boxes[index])
        side["confidence"] = round(float(found.detections.confidences[index]), 4)
        side["quality"] = round(float(found.qualities[index]), 4)
    return VerifyAnswer(
        similarity=round(similarity, 6),
        probability=round(table.probability_same(similarity), 4) if table else None,
        threshold=round(limit, 6),
        fmr=fmr if table else None,
        decision="same" if similarity >= limit else "different",
        a=sides[0],
        b=sides[1],
    )
