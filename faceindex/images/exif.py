"""What a picture's metadata tells: orientation, time of capture, camera. Broken metadata tells nothing, quietly."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import PIL.Image
from PIL import ExifTags

_Value = TypeVar("_Value")

_TIME = re.compile(r"([0-9]{4})\D([0-9]{2})\D([0-9]{2})\D([0-9]{2})\D([0-9]{2})\D([0-9]{2})")
_TEXT_LENGTH = 100


class Metadata:
    """The EXIF tags of a picture whose pixels are loaded (PNG may keep them behind the pixels)."""

    def __init__(self, picture: PIL.Image.Image) -> None:
        self._main: Mapping[int, Any] = _attempt(picture.getexif) or {}
        self._photo: Mapping[int, Any] = _attempt(lambda: picture.getexif().get_ifd(ExifTags.IFD.Exif)) or {}

    @property
    def orientation(self) -> Any:
        """What stands in the orientation tag: 1 to 8, None, or nonsense."""
        return _attempt(lambda: self._main.get(ExifTags.Base.Orientation))

    @property
    def captured_at(self) -> str | None:
        """Local time of capture as `YYYY-MM-DDTHH:MM:SS`, by the first of three tags that holds a real time."""
        original = _time(_text(self._photo, ExifTags.Base.DateTimeOriginal))
        digitized = _time(_text(self._photo, ExifTags.Base.DateTimeDigitized))
        return original or digitized or _time(_text(self._main, ExifTags.Base.DateTime))

    @property
    def camera(self) -> str | None:
        """Maker and model as one text, without the maker where the model starts with its first word."""
        make, model = _text(self._main, ExifTags.Base.Make), _text(self._main, ExifTags.Base.Model)
        repeated = model.lower().startswith(make.lower().split(" ")[0])
        return (model if repeated else f"{make} {model}".strip()) or None


def one_line(text: str) -> str:
    """Return text with every run of white space and unprintable characters (lone surrogates too) as one space."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _attempt(read: Callable[[], _Value]) -> _Value | None:
    """Return what `read` returns, None if it raises: tags are parsed when asked for, and are often broken."""
    try:
        return read()
    except Exception:  # noqa: BLE001 - Pillow raises nearly anything here, and none of it is worth a photo
        return None


def _text(tags: Mapping[int, Any], tag: int) -> str:
    """Return the value of a text tag up to its NUL, on one line; nothing where it is missing or no text."""
    value = _attempt(lambda: tags.get(tag))
    text = value.decode("latin-1") if isinstance(value, bytes) else value if isinstance(value, str) else ""
    return one_line(text.split("\0")[0])[:_TEXT_LENGTH]


def _time(text: str) -> str | None:
    match = _TIME.match(text)
    if not match:
        return None
    try:
        # EXIF gives local time without its zone.
        return datetime.strptime("-".join(match.groups()), "%Y-%m-%d-%H-%M-%S").isoformat()  # noqa: DTZ007
    except ValueError:
        return None  # such as 0000:00:00, written by cameras whose clock was never set
