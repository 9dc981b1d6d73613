"""Faces that were erased: what keeps them from being embedded again, and what finishes an erasure that was stopped.

Of an erased face there stays a keyed hash of its id, which is made of its photo's bytes and its box. It tells that face
in that photo when a run meets it again, and nothing else: not who it was, nor in which photo without the photo itself.
"""

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from blake3 import blake3

from faceindex.arrays import ID_BYTES
from faceindex.catalog import layout
from faceindex.catalog.checksums import JSON_SEAL, seal, unseal
from faceindex.catalog.files import Files

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Erased:
    """The faces of a catalog that no run stores again."""

    key: bytes
    marks: frozenset[bytes]

    def __contains__(self, face_id: object) -> bool:
        return bool(self.marks) and isinstance(face_id, bytes) and self._mark(face_id) in self.marks

    def _mark(self, face_id: bytes) -> bytes:
        return blake3(face_id, key=self.key).digest(ID_BYTES)

    @classmethod
    def read(cls, files: Files) -> "Erased":
        """Return those of a catalog.

        Raises:
            DamagedError: the file differs from what was written.
        """
        if not files.exists(layout.ERASED):
            return cls(secrets.token_bytes(KEY_BYTES), frozenset())
        body = unseal(JSON_SEAL, files.read(layout.ERASED), f"{files.root}/{layout.ERASED}")
        document = json.loads(body)
        return cls(bytes.fromhex(document["key"]), frozenset(map(bytes.fromhex, document["faces"])))

    def add(self, files: Files, face_ids: Iterable[bytes]) -> None:
        """Store these too. For the holder of the writer lock."""
        marks = sorted(self.marks | {self._mark(face_id) for face_id in face_ids})
        document = {"schema": "faceindex.erased/1", "key": self.key.hex(), "faces": [mark.hex() for mark in marks]}
        files.write(layout.ERASED, seal(JSON_SEAL, json.dumps(document).encode()))


@dataclass(frozen=True, slots=True)
class Erasure:
    """What is to go. It stands in the catalog until all of it is gone, so that it can be finished by anyone."""

    person: str
    names: tuple[str, ...]
    """The person's name, and those it had before."""
    faces: tuple[bytes, ...]
    photos: tuple[bytes, ...]
    """Ids of the photos that the faces are in."""
    traces: tuple[bytes, ...]
    """Bytes that must be nowhere afterwards: embeddings, and the ends of pictures."""

    @classmethod
    def read(cls, files: Files) -> "Erasure | None":
        """Return the one that was stopped; None where there is none."""
        if not files.exists(layout.ERASING):
            return None
        document = json.loads(unseal(JSON_SEAL, files.read(layout.ERASING), f"{files.root}/{layout.ERASING}"))
        ids = (tuple(map(bytes.fromhex, document[name])) for name in ("faces", "photos", "traces"))
        return cls(document["person"], tuple(document["names"]), *ids)

    def write(self, files: Files) -> None:
        """Store it."""
        ids = {name: [one.hex() for one in getattr(self, name)] for name in ("faces", "photos", "traces")}
        document = {"person": self.person, "names": self.names, **ids}
        files.write(layout.ERASING, seal(JSON_SEAL, json.dumps(document).encode()))
