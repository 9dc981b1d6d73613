"""What a search answers: frozen values that `faceindex search --json` prints and notebooks read."""

from dataclasses import asdict, dataclass, field
from os import fsdecode
from typing import Any, Literal

from faceindex.arrays import hex_id
from faceindex.pictures import Box, rounded_box
from faceindex.tables import IMPORTED
from faceindex.types import ModelId


@dataclass(frozen=True, slots=True)
class Candidate:
    """One face of the archive that a probe was compared with."""

    rank: int
    face_id: str
    photo: str
    box: Box | None
    """None for an imported embedding."""
    similarity: float
    """Cosine similarity, -1 to 1."""
    probability: float | None
    """Calibrated probability that this is the same person, at even odds that the person is in the gallery."""
    person: str | None = None


@dataclass(frozen=True, slots=True)
class PersonCandidate:
    """A person of the archive that a probe was compared with."""

    rank: int
    person: str
    faces: int
    """How many of the person's faces there are in the catalog."""
    similarity: float
    """Cosine similarity to the mean of them."""
    probability: float | None


@dataclass(frozen=True, slots=True)
class FaceAnswer:
    """What a search says of one face of the query picture."""

    face: int
    box: Box | None
    """None for an embedding from elsewhere, like confidence and quality."""
    confidence: float | None
    quality: float | None
    decision: Literal["identified", "not_recognised"]
    threshold: float
    """The cosine similarity that the first candidate needs: higher for faces with many look-alikes. Of a person with
    several faces, the similarity in `people`."""
    fpir: float | None
    """False positive identification rate asked for; None with a threshold of the user's own."""
    threshold_source: Literal["labels", "archive", "model", "user"]
    extrapolated: bool
    """Whether the rate was not measured at this gallery size, but follows from the trend of those that were."""
    candidates: list[Candidate] = field(default_factory=list)
    person: str | None = None
    people: list[PersonCandidate] = field(default_factory=list)
    """The people among the candidates who have names, each once."""
    margin: float | None = None
    """By how much the score of the best person exceeds that of the next; None unless both are known."""
    trials: int | None = None
    """Searches of a stranger, one a person, that the rate was measured with."""
    pairs: int | None = None
    """Pairs of people among them who resemble each other enough."""
    interval: tuple[float, float] | None = None
    """The rate to be expected, in four of five cases."""
    low_quality: bool = False
    """Whether the quality is below the catalog's `min_quality`: that nobody is found then says little."""


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """The answer to one query picture: `faceindex.search/1`."""

    catalog: str
    generation: int
    model: ModelId
    gallery_size: int
    query: dict[str, Any]
    faces: list[FaceAnswer]

    @property
    def identified(self) -> bool:
        """Whether any face of the picture was identified."""
        return any(face.decision == "identified" for face in self.faces)

    def to_json(self) -> dict[str, Any]:
        """Return the document that `faceindex search --json` prints."""
        return {"schema": "faceindex.search/1", **asdict(self)}


def candidate(rank: int, face: dict[str, Any], similarity: float, probability: float | None) -> Candidate:
    """Return the candidate of a face.

    Args:
        rank: from 1.
        face: its row of tables.FACE_ROWS, and `path` and `person` of its photo.
        similarity: cosine.
        probability: None where unknown.
    """
    imported = face["path"].startswith(IMPORTED)
    return Candidate(
        rank=rank,
        face_id=hex_id(face["face_id"]),
        photo=fsdecode(face["path"]),
        box=None if imported else rounded_box([face[edge] for edge in ("x0", "y0", "x1", "y1")]),
        similarity=round(similarity, 6),
        probability=probability,
        person=face["person"],
    )
