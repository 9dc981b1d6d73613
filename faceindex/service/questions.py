"""Questions as pages show them: one at a time, with the faces it is about beside those they are held against."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from faceindex.identities.suggestions import Question
from faceindex.people import asked
from faceindex.service.faces import FaceView, Snapshot, face_views

SHOWN_FACES = 12
"""Faces of each side; the best tell most."""


@dataclass(frozen=True, slots=True)
class QuestionView:
    """A question with yes or no for an answer."""

    question_id: str
    text: str
    """With names as they were given: hostile input."""
    faces: list[FaceView]
    count: int
    others: list[FaceView]
    """Whom the faces are held against."""
    others_count: int
    person: str | None


def question_views(snapshot: Snapshot, questions: Sequence[Question]) -> list[QuestionView]:
    """Return questions as they are shown."""
    return [
        QuestionView(
            question_id=one.question_id,
            text=asked(one),
            faces=_best(snapshot, one.places),
            count=len(one.places),
            others=_best(snapshot, one.others),
            others_count=len(one.others),
            person=one.person,
        )
        for one in questions
    ]


def _best(snapshot: Snapshot, places: Sequence[int]) -> list[FaceView]:
    quality = snapshot.people.rows.take(np.array(places, np.int64))["quality"].to_numpy()
    chosen = np.argsort(-quality, kind="stable")[:SHOWN_FACES].tolist()
    return face_views(snapshot, [places[index] for index in chosen])
