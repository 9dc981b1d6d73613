"""What people type for faces: an id or its beginning, a photo, a cluster, or a person's name."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import fsdecode, fsencode
from os.path import abspath
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceindex.errors import ConfigError, NothingFoundError
from faceindex.faces.prominence import by_prominence
from faceindex.identities.people import EDGES, People
from faceindex.tables import from_id_column
from faceindex.wording import visible

LEAST_DIGITS = 6
"""Hex digits that may stand for a face id; fewer are too easily mistyped."""

Clusters = Mapping[int, Sequence[int]]
"""Places of the faces of each cluster."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Faces that somebody meant."""

    kind: Literal["face", "photo", "cluster", "person"]
    text: str
    """What they go by: a person's name as it is stored, else what was typed."""
    places: tuple[int, ...]


def select(text: str, people: People, clusters: Clusters) -> Selection:
    """Return the faces that a text stands for.

    A name comes first, then the number of a cluster, a photo (`photo.jpg` or the end of its path, `photo.jpg#2` for its
    second most prominent face), and the beginning of a face id. `person:`, `cluster:`, `photo:` and `face:` before it
    say which is meant.

    Raises:
        NothingFoundError: it stands for nothing.
        ConfigError: it stands for more than one thing.
    """
    wanted, _, rest = text.partition(":")
    if wanted not in ("person", "cluster", "photo", "face"):
        wanted, rest = "", text
    if wanted in ("", "person") and rest in people.everybody:
        return Selection("person", rest, tuple(people.faces_of(rest)))
    if wanted in ("", "cluster") and rest.isdecimal() and rest.isascii() and int(rest) in clusters:
        return Selection("cluster", rest, tuple(clusters[int(rest)]))
    if wanted in ("", "photo") and (found := _in_photo(rest, people)) is not None:
        return Selection("photo", rest, found)
    if wanted in ("", "face") and re.fullmatch(rf"[0-9a-fA-F]{{{LEAST_DIGITS},32}}", rest):
        return Selection("face", rest, _face(rest.lower(), people))
    kinds = "a person, a cluster, a photo of the catalog or a face id" if not wanted else f"a {wanted}"
    raise NothingFoundError(f"{visible(text)!r} is not {kinds}; see `faceindex people list`")


def select_person(text: str, people: People) -> str:
    """Return the person that a text stands for; raises `NothingFoundError` when there is none."""
    name = text.removeprefix("person:")
    if name in people.everybody:
        return name
    alike = sorted(one for one in people.everybody if one.casefold() == name.casefold())
    hint = f"did you mean {visible(alike[0])}?" if alike else "see `faceindex people list`"
    raise NothingFoundError(f"nobody is called {visible(name)}; {hint}")


def _face(digits: str, people: People) -> tuple[int, ...]:
    spoken = [place for face, place in people.places.items() if face.hex().startswith(digits)]
    places = sorted({*people.rows.with_prefix(digits).tolist(), *spoken})
    if not places:
        raise NothingFoundError(f"no face of the catalog has an id that begins with {digits}")
    if len(places) > 1:
        raise ConfigError(f"{len(places)} faces have ids that begin with {digits}; give more digits")
    return tuple(places)


def _in_photo(text: str, people: People) -> tuple[int, ...] | None:
    """Return the face of a photo that is meant; None when the text is no photo of the catalog."""
    photo = _photo(text, people)
    number = None
    if photo is None and (match := re.fullmatch(r"(.+)#([1-9][0-9]{0,5})", text, re.DOTALL)):
        photo, number = _photo(match[1], people), int(match[2])
    if photo is None:
        return None
    places = people.rows.in_photos(pa.array([photo["photo_id"]], people.view["photo_id"].type))
    if not len(places):
        raise NothingFoundError(f"no face was found in {visible(fsdecode(photo['path']))}")
    if number is None and len(places) > 1:
        shown = visible(text)
        raise ConfigError(
            f"{shown} has {len(places)} faces; say which, the most prominent first: {shown}#1 to {shown}#{len(places)}"
        )
    if (number or 1) > len(places):
        raise NothingFoundError(f"{visible(text)}: the photo has {len(places)} face{'s' if len(places) > 1 else ''}")
    rows = people.rows.take(places)
    boxes = np.column_stack([rows[edge].to_numpy() for edge in EDGES])
    order = by_prominence(boxes, photo["width"] or 0, photo["height"] or 0)
    return (int(places[order[(number or 1) - 1]]),)


def _photo(text: str, people: People) -> dict[str, Any] | None:
    """Return the photo at a path, or the only one whose path ends in it."""
    view = people.view
    known = view.slice(0, len(view) - view["photo_id"].null_count)
    paths = pa.array([fsencode(text), fsencode(abspath(text))], pa.binary())  # noqa: PTH100 - a Path cannot hold every name
    found = known.filter(pc.is_in(known["path"], value_set=paths))
    if not len(found) and "." in text:
        found = known.filter(pc.ends_with(known["path"].cast(pa.large_binary()), fsencode(f"/{text.lstrip('/')}")))
        if len(np.unique(from_id_column(found["photo_id"]).view("S16"))) > 1:
            raise ConfigError(f"{len(found)} photos have paths that end in {visible(text)}; give more of the path")
    rows: list[dict[str, Any]] = found.slice(0, 1).to_pylist()
    return rows[0] if rows else None
