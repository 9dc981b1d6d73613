"""Filters of a search: which faces may be found, told from columns alone, so that the index leaves the others out."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES
from faceindex.errors import ConfigError
from faceindex.gallery.shard import Shard
from faceindex.tables import from_id_column

DATE = re.compile(r"\d{4}(-\d{2}(-\d{2}(T\d{2}(:\d{2}(:\d{2})?)?)?)?)?")
FACE_ID = re.compile(rf"[0-9a-f]{{{2 * ID_BYTES}}}")
DATE_START = "0001-01-01T00:00:00"


@dataclass(frozen=True, slots=True)
class Filters:
    """What a face must be to be found; None where anything will do.

    Raises:
        ConfigError: a part of it is no date, or out of range.
    """

    since: str | None = None
    """Earliest time of capture: YYYY, YYYY-MM, YYYY-MM-DD or with a time, YYYY-MM-DDTHH:MM:SS. Photos that do not tell
    their time are left out."""
    until: str | None = None
    """Latest, the whole of that year, month, day, hour, minute or second included."""
    path: str | None = None
    """Glob that the photo's path matches from end to end; * and ? match / too."""
    min_quality: float | None = None
    """Least quality, 0 to 1; imported embeddings, of which it is not known, are left out."""
    min_face_px: float | None = None
    """Least length of the box's shorter side, in pixels of the photo."""
    faces: frozenset[str] | None = None
    """Ids of the only faces, 32 hex digits each."""
    not_faces: frozenset[str] | None = None
    """Ids of faces to leave out."""
    people: frozenset[str] | None = None
    """Names of the only people; who is unknown is left out."""
    not_people: frozenset[str] | None = None
    """Names of people to leave out; who is unknown is not."""

    def __post_init__(self) -> None:
        for name in ("since", "until"):
            require_date(name, getattr(self, name))
        if self.since and self.until and self.since[: len(self.until)] > self.until:
            raise ConfigError(f"since must not be after until, got {self.since} and {self.until}; exchange them")
        if self.min_quality is not None and not 0 <= self.min_quality <= 1:
            raise ConfigError(f"min_quality must be from 0 to 1, got {self.min_quality:g}")
        for ids in (self.faces or (), self.not_faces or ()):
            if wrong := next((one for one in ids if not FACE_ID.fullmatch(one)), None):
                raise ConfigError(f"ids of faces are {2 * ID_BYTES} hex digits, got {wrong!r}")
        if self.min_face_px is not None and not self.min_face_px > 0:
            raise ConfigError(f"min_face_px must be positive, got {self.min_face_px:g}")

    def __bool__(self) -> bool:
        return self != Filters()

    def masks(
        self,
        shards: Sequence[Shard],
        view: pa.Table,
        photos_of: Callable[[frozenset[str]], NDArray[np.bytes_]],
    ) -> list[NDArray[np.bool_]]:
        """Return which faces of each shard pass, bool (faces of the shard,): what `Gallery.search` takes as `allowed`.

        Args:
            shards: of the gallery.
            view: tables.PHOTOS_VIEW of the same generation.
            photos_of: returns the ids of the photos that show any of some people, S16 (n,), ascending.
        """
        photos = self._photos(view, photos_of)
        return [self._mask(shard, photos) for shard in shards]

    def _photos(
        self, view: pa.Table, photos_of: Callable[[frozenset[str]], NDArray[np.bytes_]]
    ) -> NDArray[np.bytes_] | None:
        """Return the ids of the photos that pass, S16, ascending; None for all."""
        if all(value is None for value in (self.since, self.until, self.path, self.people, self.not_people)):
            return None
        passing = pc.is_valid(view["photo_id"])
        if self.since is not None:
            passing = pc.and_(passing, pc.greater_equal(view["captured_at"], self.since))
        if self.until is not None:
            until = pc.utf8_slice_codeunits(view["captured_at"], 0, len(self.until))
            passing = pc.and_(passing, pc.less_equal(until, self.until))
        if self.path is not None:
            passing = pc.and_(passing, pc.match_substring_regex(view["path"], _regex(self.path)))
        chosen = view["photo_id"].filter(pc.fill_null(passing, False))
        photos = np.unique(from_id_column(chosen).view(f"S{ID_BYTES}"))
        if self.people is not None:
            photos = np.intersect1d(photos, photos_of(self.people))
        if self.not_people is not None:
            photos = np.setdiff1d(photos, photos_of(self.not_people))
        return photos

    def _mask(self, shard: Shard, photos: NDArray[np.bytes_] | None) -> NDArray[np.bool_]:
        mask = np.ones(len(shard.ids), bool)
        if photos is not None:
            mask &= np.isin(from_id_column(shard.faces["photo_id"]).view(f"S{ID_BYTES}"), photos)
        if self.min_quality is not None:
            mask &= shard.faces["quality"].to_numpy() >= self.min_quality
        if self.min_face_px is not None:
            x0, y0, x1, y1 = (shard.faces[edge].to_numpy() for edge in ("x0", "y0", "x1", "y1"))
            mask &= np.minimum(x1 - x0, y1 - y0) >= self.min_face_px
        for ids, wanted in ((self.faces, True), (self.not_faces, False)):
            if ids is not None:
                listed = np.frombuffer(b"".join(map(bytes.fromhex, sorted(ids))), f"S{ID_BYTES}")
                rows, found = shard.rows_of(listed)
                there = np.zeros(len(shard.ids), bool)
                there[rows[found]] = True
                mask &= there == wanted
        return mask


def require_date(name: str, value: str | None) -> None:
    """Raise `ConfigError` unless a text is None or a date as `Filters` takes it; `name` tells of what."""
    if value is None:
        return
    try:
        if not DATE.fullmatch(value):
            raise ValueError(value)
        datetime.fromisoformat(value + DATE_START[len(value) :])
    except ValueError as error:
        raise ConfigError(f"{name} must be a date such as 2019, 2019-07 or 2019-07-31, got {value!r}") from error


def _regex(glob: str) -> str:
    """Return a glob as a regular expression (RE2) of whole paths."""
    parts = {"*": ".*", "?": "."}
    return "(?s)^" + "".join(parts.get(sign, re.escape(sign)) for sign in glob) + "$"
