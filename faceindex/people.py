"""What is told of people: lists of them, of a person's faces, of what was said; for terminals and programs."""

import io
import math
from collections.abc import Iterable
from os import fsdecode
from pathlib import Path
from typing import Any

import numpy as np

from faceindex.arrays import hex_id
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import Generation
from faceindex.catalog.live import rows_of
from faceindex.errors import ConfigError, NothingFoundError
from faceindex.identities.events import Event
from faceindex.identities.labelling import Labelling
from faceindex.identities.ledger import Ledger
from faceindex.identities.opening import crops_of, questions_of
from faceindex.identities.people import EDGES, People
from faceindex.identities.selection import Selection
from faceindex.identities.suggestions import Question
from faceindex.outputs import write_private
from faceindex.sheet.contact import MAX_FACES, Crop, contact_sheet
from faceindex.tables import IMPORTED, from_id_column
from faceindex.wording import visible


def people_list(catalog: Catalog, generation: Generation, people: People) -> dict[str, Any]:
    """Return all people with a face in the generation, those with most first: `faceindex.people/1`."""
    places = np.array(list(people.names), np.int64)
    photos = from_id_column(people.rows.take(places)["photo_id"]) if len(places) else np.empty(0, "V16")
    dates = people.view["captured_at"].take(rows_of(people.view, photos)).to_pylist()
    of_person: dict[str, list[tuple[bytes, str | None]]] = {}
    for name, photo, date in zip(people.names.values(), photos, dates, strict=True):
        of_person.setdefault(name, []).append((bytes(photo), date))
    rows = []
    for name, seen in sorted(of_person.items(), key=lambda item: (-len(item[1]), item[0])):
        known = sorted(date for _, date in seen if date)
        rows.append(
            {
                "person": name,
                "faces": len(seen),
                "photos": len({photo for photo, _ in seen}),
                "first": known[0] if known else None,
                "last": known[-1] if known else None,
            }
        )
    return {
        "schema": "faceindex.people/1",
        "catalog": catalog.root,
        "generation": generation.number,
        "faces": len(people.rows.places),
        "named": len(people.names),
        "left_out": len(people.left_out),
        "people": rows,
    }


def face_list(catalog: Catalog, generation: Generation, people: People, chosen: Selection) -> dict[str, Any]:
    """Return the faces of a selection, the best first: `faceindex.person/1`."""
    rows = people.rows.take(np.array(chosen.places, np.int64))
    seen = people.view.take(rows_of(people.view, from_id_column(rows["photo_id"])))
    faces = []
    for place, row, path, date in zip(
        chosen.places, rows.to_pylist(), seen["path"].to_pylist(), seen["captured_at"].to_pylist(), strict=True
    ):
        faces.append(
            {
                "face_id": row["face_id"].hex(),
                "photo": fsdecode(path),
                "box": None if path.startswith(IMPORTED) else [round(row[edge], 1) for edge in EDGES],
                "confidence": _measured(row["confidence"]),
                "quality": _measured(row["quality"]),
                "captured_at": date,
                "person": people.names.get(place),
            }
        )
    faces.sort(key=lambda face: (-(face["quality"] or 0.0), face["face_id"]))
    return {
        "schema": "faceindex.person/1",
        "catalog": catalog.root,
        "generation": generation.number,
        "kind": chosen.kind,
        "person": chosen.text if chosen.kind == "person" else None,
        "faces": faces,
    }


def write_contact_sheet(
    catalog: Catalog, generation: Generation, people: People, document: dict[str, Any], path: str
) -> int:
    """Write the faces of a `faceindex.person/1` document as a picture, private to its owner; return how many fit.

    Raises:
        ConfigError: the file's extension is another than .png or .jpg.
        FaceIndexError: it cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".png", ".jpg", ".jpeg"):
        raise ConfigError(f"a contact sheet is a file ending in .png or .jpg, got {visible(path)}")
    shown = document["faces"][:MAX_FACES]
    ids = np.frombuffer(b"".join(bytes.fromhex(face["face_id"]) for face in shown), "V16")
    places = people.rows.find(ids)
    jpegs = crops_of(catalog, generation, people, places)
    crops = [
        Crop(
            jpegs.get(place),
            (visible(face["photo"].rpartition("/")[2]), f"{face['face_id'][:8]}  {quality_text(face)}".rstrip()),
        )
        for place, face in zip(places.tolist(), shown, strict=True)
    ]
    file = io.BytesIO()
    sheet = contact_sheet(crops, f"{visible(document['person'] or document['kind'])}: {len(document['faces']):,} faces")
    sheet.save(file, "PNG" if suffix == ".png" else "JPEG", quality=90)
    write_private(Path(path), file.getvalue(), "contact sheet")
    return len(shown)


def quality_text(face: dict[str, Any]) -> str:
    """Return the quality of a face of a `faceindex.person/1` document in words; empty where it is unknown."""
    return "" if face["quality"] is None else f"{face['quality']:.2f}"


def told(event: Event) -> str:
    """Return what an event says in a few words."""
    count = len(event.faces)
    faces = f"{count:,} face{'' if count == 1 else 's'}"
    person, to = visible(event.person or ""), visible(event.to or "")
    named = f", now {to}" if event.to else ""
    return {
        "name": f"{faces} named {person}",
        "rename": f"{person} renamed {to}",
        "merge": f"{person} merged into {to}",
        "split": f"{faces} split from {person or f'{len(event.others):,} others'}{named}",
        "same": f"{faces} said to be one person",
        "not-same": f"{faces} said to be nobody of {len(event.others):,} others",
        "reject": f"{faces} said not to be {person}",
        "ignore": f"{faces} ignored",
        "not-a-face": f"{faces} said to be none",
        "undo": f"undone: {(event.target or '')[:8]}",
        "redo": f"redone: {(event.target or '')[:8]}",
        "erased": "of a person who was erased",
    }[event.kind.value]


def export_events(events: Iterable[Event]) -> bytes:
    """Return events as JSON lines, `faceindex.event/1` each."""
    return b"".join(event.to_line().encode() + b"\n" for event in events)


def import_events(ledger: Ledger, data: bytes, source: str) -> tuple[int, int]:
    """Take in the events of an export; return how many are new and how many there were.

    Raises:
        ConfigError: a line is no event; nothing was taken in.
    """
    events = []
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            text = line.decode()
            if text.strip():
                events.append(Event.from_line(text))
        except (ConfigError, UnicodeDecodeError) as error:
            raise ConfigError(f"{visible(source)}, line {number}: {error}") from error
    return ledger.take_in(events), len(events)


def suggestion_list(catalog: Catalog, generation: Generation, people: People, count: int) -> dict[str, Any]:
    """Return the questions that would settle most: `faceindex.suggestions/1`.

    Raises:
        ConfigError: the faces were not clustered yet.
    """
    found = questions_of(catalog, generation, people)
    return {
        "schema": "faceindex.suggestions/1",
        "catalog": catalog.root,
        "generation": generation.number,
        "questions": len(found),
        "suggestions": [_question(people, one) for one in found[:count]],
    }


def _measured(value: float) -> float | None:
    """Return what was measured of a face; nothing was of an imported embedding."""
    return None if math.isnan(value) else round(value, 4)


def _question(people: People, one: Question) -> dict[str, Any]:
    faces, others = (
        [hex_id(face) for face in people.rows.ids(np.array(places, np.int64))] for places in (one.places, one.others)
    )
    return {
        "question": one.question_id,
        "kind": one.kind,
        "cluster": one.cluster,
        "faces": faces,
        "person": one.person,
        "other": one.other,
        "others": others,
        "probability": round(one.probability, 4),
        "text": asked(one),
    }


def answer_questions(
    catalog: Catalog,
    generation: Generation,
    people: People,
    labelling: Labelling,
    yes: Iterable[str],
    no: Iterable[str],
) -> list[Event]:
    """Put answers to questions into the ledger.

    Raises:
        NothingFoundError: a question is not asked, or no more; nothing was said.
    """
    open_questions = {one.question_id: one for one in questions_of(catalog, generation, people)}
    answers = [(key, True) for key in yes] + [(key, False) for key in no]
    for key, _ in answers:
        if key not in open_questions:
            raise NothingFoundError(f"no question {visible(key)} is open; see `faceindex people suggest`")
    return [open_questions[key].answer(labelling, yes=said) for key, said in answers]


def asked(one: Question) -> str:
    """Return a question in words; names in it are as they were given, and are hostile input."""
    these = "Is this face" if len(one.places) == 1 else f"Are these {len(one.places):,} faces"
    if one.kind == "person":
        return f"{these} {one.person}?"
    others = f"the other {len(one.others):,}" if len(one.others) > 1 else "the other one"
    if one.kind == "same":
        these = these if one.cluster is None else f"{these} of cluster {one.cluster}"
        whose = f" of cluster {one.other}" if one.other is not None else ""
        return f"{these} the same person as {others}{whose}?"
    return f"{these} somebody else than {others} of {one.person or f'cluster {one.cluster}'}?"
