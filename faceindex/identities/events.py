"""What people say of faces, as events: each a line of JSON that stands for itself, in any ledger and any catalog."""

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

from faceindex.arrays import ID_BYTES
from faceindex.errors import ConfigError
from faceindex.wording import visible

SCHEMA = "faceindex.event/1"
MAX_NAME = 200
"""Letters of a name; more is a mistake, and no page would show it."""

JOINERS = "\u200c\u200d"
"""Letters without width that names in Persian, Hindi and others are written with."""

Box = tuple[float, float, float, float]


class Kind(StrEnum):
    """What an event says; the fields it needs stand in `NEEDED`."""

    NAME = "name"
    """The faces are `person`."""
    RENAME = "rename"
    """`person` is called `to`."""
    MERGE = "merge"
    """`person` and `to` are one, called `to`."""
    SPLIT = "split"
    """The faces are not `person`, nor any of the others; they are `to` if that is given."""
    SAME = "same"
    """The faces are one person, whoever that is."""
    NOT_SAME = "not-same"
    """None of the faces is the person of any of the others."""
    REJECT = "reject"
    """The faces are not `person`."""
    IGNORE = "ignore"
    """The faces are of nobody who matters."""
    NOT_A_FACE = "not-a-face"
    """The detector was wrong."""
    UNDO = "undo"
    """The event `target` counts no more."""
    REDO = "redo"
    """The event `target` counts again, in its old place."""
    ERASED = "erased"
    """What was said was of a person who was erased."""


NEEDED: dict[Kind, tuple[str, ...]] = {
    Kind.NAME: ("faces", "person"),
    Kind.RENAME: ("person", "to"),
    Kind.MERGE: ("person", "to"),
    Kind.SPLIT: ("faces",),
    Kind.SAME: ("faces",),
    Kind.NOT_SAME: ("faces", "others"),
    Kind.REJECT: ("faces", "person"),
    Kind.IGNORE: ("faces",),
    Kind.NOT_A_FACE: ("faces",),
    Kind.UNDO: ("target",),
    Kind.REDO: ("target",),
    Kind.ERASED: (),
}


@dataclass(frozen=True, slots=True)
class FaceRef:
    """A face as it stood when it was spoken of: enough to find it again under another detector or model."""

    face_id: bytes
    photo_id: bytes
    box: Box
    """x0, y0, x1, y1 in pixels of the upright photo."""

    def to_json(self) -> dict[str, Any]:
        return {"face_id": self.face_id.hex(), "photo_id": self.photo_id.hex(), "box": list(self.box)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "FaceRef":
        ids = [bytes.fromhex(value[name]) for name in ("face_id", "photo_id")]
        if any(len(one) != ID_BYTES for one in ids):
            raise ValueError(f"ids are {2 * ID_BYTES} hex digits")
        x0, y0, x1, y1 = (float(edge) for edge in value["box"])
        return cls(ids[0], ids[1], (x0, y0, x1, y1))


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that somebody said: `faceindex.event/1`."""

    kind: Kind
    author: str
    faces: tuple[FaceRef, ...] = ()
    others: tuple[FaceRef, ...] = ()
    person: str | None = None
    to: str | None = None
    target: str | None = None
    """Id of another event."""
    event_id: str = field(default_factory=lambda: uuid4().hex)
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    """UTC, ISO 8601."""

    def __post_init__(self) -> None:
        if missing := [name for name in NEEDED[self.kind] if not getattr(self, name)]:
            raise ConfigError(f"an event {self.kind} needs {' and '.join(missing)}")

    def to_line(self) -> str:
        """Return the event as one line of JSON."""
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "event": self.event_id,
            "at": self.at,
            "author": self.author,
            "kind": self.kind.value,
        }
        for name in ("person", "to", "target"):
            if (value := getattr(self, name)) is not None:
                document[name] = value
        for name in ("faces", "others"):
            if refs := getattr(self, name):
                document[name] = [ref.to_json() for ref in refs]
        return json.dumps(document)

    @classmethod
    def from_line(cls, line: str) -> "Event":
        """Read an event.

        Raises:
            ConfigError: the line is no event that this version knows.
        """
        try:
            document = json.loads(line)
            if document["schema"] != SCHEMA:
                raise ConfigError(f"events of {SCHEMA} are known, got {visible(str(document['schema']))}")
            optional = {name: _text(document[name]) for name in ("person", "to", "target") if name in document}
            return cls(
                kind=Kind(document["kind"]),
                author=_text(document["author"]),
                faces=tuple(map(FaceRef.from_json, document.get("faces", ()))),
                others=tuple(map(FaceRef.from_json, document.get("others", ()))),
                event_id=_text(document["event"]),
                at=_text(document["at"]),
                **optional,
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(
                f"an event as `faceindex people export` writes it was wanted, got {line[:60]!r}"
            ) from error


def require_name(text: str) -> str:
    """Return a person's name in its one form: NFC, single spaces, none around it.

    Raises:
        ConfigError: nothing is left, it is too long, or it holds letters that change what stands around them.
    """
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name:
        raise ConfigError("a name must have a letter, got none")
    if len(name) > MAX_NAME:
        raise ConfigError(f"a name may have {MAX_NAME} letters, got {len(name):,}")
    if not all(letter.isprintable() or letter in JOINERS for letter in name):
        raise ConfigError(f"a name cannot hold control or direction marks, got {visible(name)!r}; type it anew")
    return name


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text wanted, got {value!r}")
    return value
