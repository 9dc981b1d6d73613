"""Settings of a catalog: one frozen dataclass, kept as `catalog.toml`, and the digest that names its data files."""

import json
import tomllib
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from faceindex.errors import ConfigError

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Settings:
    """How a catalog is made. What shapes its data files cannot change once the catalog exists."""

    detector: str = "mtcnn"
    embedder: str = "dlib-resnet29"
    mirror: bool = True
    """Average the embedding of each face with that of its mirror image: LFW 98.85 -> 99.13 %."""
    min_face_px: int = 20
    """Smallest face looked for, in pixels of the photo, or of one reduced to `detect_side_px` if it is larger."""
    min_face_share: float = 0.04
    """Smallest face looked for, as a share of the photo's short side; the larger of the two counts.

    Who is smaller stands far behind what the photo is about. In 120 portraits and groups of 1 to 6 megapixels none of
    221 faces that MTCNN is sure of is lost at 0.04, and detection takes 0.6 of the time.
    """
    detect_side_px: int = 960
    """Long side in pixels beyond which a larger photo shows the detector no smaller faces."""
    turned: bool = False
    """Look for faces in photos turned by 90, 180 and 270 degrees too."""
    max_megapixels: int = 120
    """Photos larger than this by their header are not decoded."""
    crops: bool = True
    """Keep a small JPEG of each face for labelling pages."""
    batch_photos: int = 64
    batch_megabytes: int = 64
    """A batch ends at this many photos or bytes of files, whichever comes first."""
    index: str = "auto"
    """"auto", "exact" or a FAISS factory string."""
    min_quality: float = 0.5
    """Faces below it are marked as of low quality, and kept: comparisons of theirs rather fail than succeed."""
    removal_grace_days: int = 30
    """A photo that is gone is out of every answer at once; so long its faces are kept, in case it comes back."""
    photo_timeout_s: float = 20.0
    """Time a photo may take to decode."""
    lock_lease_s: float = 60.0
    """In object stores: how long a run may be silent, paused or cut off, before another one takes the catalog over."""
    weights: str = ""
    """File with the embedder's weights, for models whose weights are neither packaged nor fetched."""
    roots: tuple[str, ...] = ()
    """Folders and URLs indexed so far."""

    def __post_init__(self) -> None:
        for name, low in (("min_face_px", 12), ("detect_side_px", 64), ("max_megapixels", 1), ("batch_photos", 1)):
            if getattr(self, name) < low:
                raise ConfigError(f"{name} must be at least {low}, got {getattr(self, name)}")
        if not 0 <= self.min_face_share < 1:
            raise ConfigError(f"min_face_share must be from 0 to below 1, got {self.min_face_share}")
        if not 0 <= self.min_quality <= 1:
            raise ConfigError(f"min_quality must be from 0 to 1, got {self.min_quality}")
        if self.removal_grace_days < 0:
            raise ConfigError(f"removal_grace_days must be at least 0, got {self.removal_grace_days}")
        if self.photo_timeout_s <= 0:
            raise ConfigError(f"photo_timeout_s must be positive, got {self.photo_timeout_s}")
        if not 0 < self.lock_lease_s <= 3600:
            raise ConfigError(f"lock_lease_s must be above 0 and at most 3600, got {self.lock_lease_s}")

    DATA_SETTINGS = (
        "detector",
        "embedder",
        "mirror",
        "min_face_px",
        "min_face_share",
        "detect_side_px",
        "turned",
        "max_megapixels",
        "crops",
    )

    def data_settings(self) -> dict[str, Any]:
        """Return the settings that the bytes of data files depend on."""
        return {name: getattr(self, name) for name in self.DATA_SETTINGS}

    def to_toml(self) -> str:
        """Return the text of `catalog.toml`."""
        lines = [
            "# Written by faceindex. Data settings cannot change once photos are indexed.",
            f"format = {FORMAT_VERSION}",
        ]
        lines += [f"{name} = {_toml(value)}" for name, value in asdict(self).items()]
        return "\n".join(lines) + "\n"

    @classmethod
    def from_toml(cls, text: str, source: str) -> "Settings":
        """Read the text of `catalog.toml`; `source` names it in errors.

        Raises:
            ConfigError: not TOML, an unknown key, a value of the wrong type, or a newer format.
        """
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{source} is not valid TOML: {error}") from error
        version = values.pop("format", None)
        if version != FORMAT_VERSION:
            raise ConfigError(f"{source} has format {version}, this version of faceindex reads {FORMAT_VERSION}")
        types = {field.name: type(field.default) for field in fields(cls)}
        for name, value in values.items():
            if name not in types:
                raise ConfigError(f"{source} has an unknown setting {name!r}; known: {', '.join(types)}")
            if types[name] is tuple:
                values[name] = tuple(value)
            elif types[name] is float and isinstance(value, int) and not isinstance(value, bool):
                values[name] = float(value)
            elif type(value) is not types[name]:
                raise ConfigError(f"{name} in {source} must be {types[name].__name__}, got {value!r}")
        return replace(cls(), **values)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # JSON's string escapes are valid in TOML, which cannot hold bytes that are not UTF-8 (in a root's name).
        return json.dumps(value.encode("utf-8", "replace").decode(), ensure_ascii=False)
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return repr(value)
