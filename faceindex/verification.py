"""Verify: two pictures -> the faces of both -> the most alike pair, decided at the error rate that was asked for.

Choosing the best of n pairs gives a false match n chances. The threshold is therefore that of `fmr / n` (Bonferroni's
bound, which holds however the pairs depend on each other), and the likelihood ratio meets prior odds of 1 / n: somebody
is in both pictures or nobody is, at even odds, and each pair may be that person.
"""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from faceindex.config import Settings
from faceindex.errors import ConfigError
from faceindex.evaluation.thresholds import ModelTable, Threshold, load_table
from faceindex.faces.prominence import by_prominence
from faceindex.faces.recogniser import Recogniser
from faceindex.pictures import Box, Picture, load_picture, rounded_box
from faceindex.types import Image, PhotoFaces

Decision = Literal["same", "different", "no_face"]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two pictures, and the face in it that was compared."""

    image: str
    width: int
    height: int
    faces: int
    """Faces in the picture; every one was compared with every one of the other."""
    face: int | None = None
    """Which of them is shown here, from 0 on, in the order that `search` lists the faces of a picture in."""
    box: Box | None = None
    confidence: float | None = None
    quality: float | None = None
    low_quality: bool = False
    """Whether the quality is below `min_quality`: that the faces differ then says little."""


@dataclass(frozen=True, slots=True)
class VerifyAnswer:
    """The answer to a 1:1 comparison: `faceindex.verify/1`."""

    similarity: float | None
    """Cosine similarity of the most alike pair of faces."""
    probability: float | None
    """Calibrated probability that this pair is one person, at even odds that anybody is in both pictures."""
    log_likelihood_ratio: float | None
    """Natural logarithm of how many times as likely this similarity is for one person as for two."""
    threshold: float
    fmr: float | None
    """False match rate asked for; None with a threshold of the user's own."""
    decision: Decision
    a: Side
    b: Side
    comparisons: int
    """Pairs of faces compared."""
    fmr_per_comparison: float | None
    """The false match rate that the threshold stands for: `fmr` over the number of comparisons."""
    threshold_source: Literal["labels", "archive", "model", "user"]
    extrapolated: bool
    """Whether that rate was too small to be measured, and the threshold follows from the trend of larger ones."""
    trials: int | None
    """Pairs of people that the rate was measured with."""
    pairs: int | None
    """Those among them at or above the threshold."""
    interval: tuple[float, float] | None
    """The rate of one comparison that is to be expected, in four of five cases."""
    notes: list[str] = field(default_factory=list)
    """What a reader should know before relying on the decision."""

    def to_json(self) -> dict[str, Any]:
        """Return the document that `faceindex verify --json` prints."""
        return {"schema": "faceindex.verify/1", **asdict(self)}


def verify(
    a: Picture,
    b: Picture,
    recogniser: Recogniser,
    settings: Settings,
    *,
    fmr: float = 1e-4,
    threshold: float | None = None,
    table: ModelTable | None = None,
) -> VerifyAnswer:
    """Compare the people of two pictures, 1:1. Of pictures with several faces the most alike pair decides.

    Args:
        a: a path, a PIL image, or RGB pixels uint8 (height, width, 3).
        b: likewise.
        recogniser: the networks.
        settings: of the catalog or the defaults.
        fmr: how often two pictures of different people may be called the same, 1e-4 means one in ten thousand.
        threshold: a cosine similarity to decide by, instead of an error rate.
        table: says which threshold keeps an error rate, such as a catalog's own; by default that of the model.

    Raises:
        FaceIndexError: a picture cannot be read.
        ConfigError: fmr or threshold is out of range, or no table tells what fmr means for this model.
    """
    opened = [load_picture(picture, settings) for picture in (a, b)]
    return verify_images(opened[0], opened[1], recogniser, settings, fmr=fmr, threshold=threshold, table=table)


def verify_images(
    a: tuple[Image, str],
    b: tuple[Image, str],
    recogniser: Recogniser,
    settings: Settings,
    *,
    fmr: float = 1e-4,
    threshold: float | None = None,
    table: ModelTable | None = None,
) -> VerifyAnswer:
    """Compare the people of two decoded pictures, each with the name that it goes by; see `verify`."""
    table = table or _table_of(recogniser, threshold)
    _limit(table, fmr, threshold, 1)
    opened = [a, b]
    images = [image for image, _ in opened]
    left, right = recogniser.faces(images)
    scores = left.vectors @ right.vectors.T
    limit = _limit(table, fmr, threshold, max(1, scores.size))
    best = np.unravel_index(int(np.argmax(scores)), scores.shape) if scores.size else (None, None)
    sides = [
        _side(name, image, found, None if face is None else int(face), settings.min_quality)
        for (image, name), found, face in zip(opened, (left, right), best, strict=True)
    ]
    similarity = float(scores.max()) if scores.size else None
    decision: Decision = "no_face" if similarity is None else "same" if similarity >= limit.value else "different"
    ratio = _log_likelihood_ratio(table, similarity)
    probability = None if ratio is None else _logistic(ratio - math.log(scores.size))
    return VerifyAnswer(
        similarity=_rounded(similarity, 6),
        probability=_rounded(probability, 4),
        log_likelihood_ratio=_rounded(ratio, 3),
        threshold=round(limit.value, 6),
        fmr=fmr if threshold is None else None,
        decision=decision,
        a=sides[0],
        b=sides[1],
        comparisons=int(scores.size),
        fmr_per_comparison=limit.fmr,
        notes=_notes(decision, probability, sides, images),
        **limit.basis(),
    )


def _table_of(recogniser: Recogniser, threshold: float | None) -> ModelTable | None:
    """Return the model's table; None where there is none and a threshold of the user's own does without."""
    try:
        return load_table(recogniser.embedder.model)
    except ConfigError:
        if threshold is None:
            raise
        return None


def _limit(table: ModelTable | None, fmr: float, threshold: float | None, comparisons: int) -> Threshold:
    if threshold is None:
        assert table is not None
        return table.verification_threshold(fmr / comparisons)
    if not -1.0 <= threshold <= 1.0:
        raise ConfigError(f"a threshold is a cosine similarity between -1 and 1, got {threshold:g}")
    return Threshold(value=threshold, source="user")


def _log_likelihood_ratio(table: ModelTable | None, similarity: float | None) -> float | None:
    if table is None or not table.same or similarity is None:
        return None
    return table.same["intercept"] + table.same["similarity"] * similarity


def _side(name: str, image: Image, found: PhotoFaces, face: int | None, min_quality: float) -> Side:
    boxes = found.detections.boxes
    if face is None:
        return Side(name, image.width, image.height, len(boxes))
    order = by_prominence(boxes, image.width, image.height)
    return Side(
        image=name,
        width=image.width,
        height=image.height,
        faces=len(boxes),
        face=int(np.flatnonzero(order == face)[0]),
        box=rounded_box(boxes[face]),
        confidence=round(float(found.detections.confidences[face]), 4),
        quality=round(float(found.qualities[face]), 4),
        low_quality=bool(found.qualities[face] < min_quality),
    )


def _notes(decision: Decision, probability: float | None, sides: list[Side], images: list[Image]) -> list[str]:
    if decision == "same" and np.array_equal(images[0].pixels, images[1].pixels):
        return ["both are the same picture: that they match says nothing"]
    if decision != "different":
        return []
    notes = [
        f"low quality of the face in {side.image}: that the faces differ says little"
        for side in sides
        if side.low_quality
    ]
    if probability is not None and probability > 0.5:
        notes.append("probably the same person, but not as surely as the error rate asks for")
    return notes


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _logistic(log_odds: float) -> float:
    return 0.5 * (1.0 + math.tanh(0.5 * log_odds))
