"""Search documents made by hand, and photos to go with them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from faceindex.errors import FaceIndexError
from faceindex.types import Image

BOX = (20.0, 10.0, 60.0, 60.0)


def candidate(rank: int, similarity: float, photo: str = "", **others: Any) -> dict[str, Any]:
    """Return one candidate of a face."""
    about = {"face_id": f"{rank:032x}", "photo": photo or f"/photos/{rank}.jpg", "box": list(BOX)}
    return {"rank": rank, **about, "similarity": similarity, "probability": 0.5, "person": None, **others}


def face(similarities: Sequence[float] = (), *, identified: bool = True, **others: Any) -> dict[str, Any]:
    """Return one face of a query picture, decided at 0.9."""
    judged = {"box": list(BOX), "confidence": 0.99, "quality": 0.8, "person": None}
    decided = {"decision": "identified" if identified else "not_recognised", "threshold": 0.9, "fpir": 0.01}
    candidates = [candidate(rank, similarity) for rank, similarity in enumerate(similarities, start=1)]
    rest = {"threshold_source": "model", "extrapolated": False, "candidates": candidates}
    return {"face": 0, **judged, **decided, **rest, **others}


def document(*faces: dict[str, Any], image: str = "/queries/query.jpg") -> dict[str, Any]:
    """Return the answer to one query picture."""
    searched = {"catalog": "/catalog", "generation": 7, "model": "demo@0123456789ab", "gallery_size": 13233}
    query = {"image": image, "width": 80, "height": 80}
    return {"schema": "faceindex.search/1", **searched, "query": query, "faces": list(faces)}


class Photos:
    """Loads grey photos of any name, but for those that are gone; remembers what was asked for."""

    def __init__(self, *gone: str, why: str = "vanished: no such file") -> None:
        self.gone = gone
        self.why = why
        self.loaded: list[str] = []

    def __call__(self, path: str) -> Image:
        self.loaded.append(path)
        if path in self.gone:
            raise FaceIndexError(f"{path}: {self.why}")
        return Image(b"", b"", np.full((80, 80, 3), 200, np.uint8), "JPEG")
