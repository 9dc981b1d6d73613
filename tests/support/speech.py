"""Events made by hand, of faces that are told by numbers."""

from typing import Any

from faceindex.identities.events import Event, FaceRef, Kind


def face(number: int) -> bytes:
    return number.to_bytes(16, "big")


def ref(number: int, box: tuple[float, float, float, float] = (0.0, 0.0, 10.0, 10.0)) -> FaceRef:
    """Return a face of a photo of its own."""
    return FaceRef(face(number), face(1000 + number), box)


def said(kind: str, *faces: int, others: tuple[int, ...] = (), **fields: Any) -> Event:
    """Return an event about faces."""
    return Event(Kind(kind), "tester", tuple(map(ref, faces)), tuple(map(ref, others)), **fields)
