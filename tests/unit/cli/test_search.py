import io
from dataclasses import replace

from rich.console import Console

from faceindex.answers import FaceAnswer
from faceindex.cli.search import _show_face

FACE = FaceAnswer(
    face=0,
    box=(10, 20, 30, 40),
    confidence=0.99,
    quality=0.31,
    decision="not_recognised",
    threshold=0.95,
    fpir=0.01,
    threshold_source="model",
    extrapolated=False,
)


def shown(face: FaceAnswer) -> str:
    out = io.StringIO()
    _show_face(Console(file=out, width=200), face)
    return out.getvalue()


def test_a_face_of_low_quality_is_called_so() -> None:
    assert "low quality 0.31: not recognised" in shown(replace(FACE, low_quality=True))
    assert ", quality 0.31: not recognised" in shown(FACE)
