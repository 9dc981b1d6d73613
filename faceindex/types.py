"""The values that pass between stages: frozen dataclasses of arrays, checked once, when made.

Arrow tables travel between processes, these inside one, scalars only at the edges.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, NewType

import numpy as np
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES, require

ModelId = NewType("ModelId", str)
"""`name@digest`: the model's name and the first 12 hex digits of the digest of its weights and preprocessing."""


class PhotoState(StrEnum):
    """What became of a photo; every photo ends in exactly one."""

    OK = "ok"
    NO_FACE = "no_face"
    UNREADABLE = "unreadable"
    TRUNCATED = "truncated"
    TOO_LARGE = "too_large"
    TIMEOUT = "timeout"
    UNSUPPORTED = "unsupported"
    DENIED = "denied"
    VANISHED = "vanished"
    CHANGED_WHILE_READ = "changed_while_read"
    CRASHED_DECODER = "crashed_decoder"


DONE_STATES = frozenset({PhotoState.OK, PhotoState.NO_FACE})
"""The states of photos that were processed to the end; all others are quarantined."""


class PhotoRef(NamedTuple):
    """A file the crawl saw: what identifies it without reading it. A tuple: an archive has millions of them."""

    path: bytes
    """Absolute path as the file system gives it (`os.fsencode`), or the UTF-8 bytes of an object-store URL."""
    size_bytes: int
    mtime_ns: int


def working_side(height: int, width: int) -> int:
    """Return the long side of a picture, of a panorama twice its short side: what the sizes of its faces go by."""
    return min(max(height, width), 2 * min(height, width))


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """One decoded photo, upright, perhaps reduced."""

    photo_id: bytes
    """First 16 bytes of the BLAKE3 hash of the file's bytes."""
    path: bytes
    pixels: NDArray[np.uint8]
    """uint8 (height, width, 3), RGB, after the EXIF orientation was applied."""
    format: str
    """One of `images.formats.FORMATS`: JPEG, PNG, WEBP, TIFF, GIF, BMP, HEIF, AVIF."""
    orientation: int = 1
    """EXIF orientation found in the file, 1 to 8."""
    captured_at: str | None = None
    """Local time of capture by EXIF, `YYYY-MM-DDTHH:MM:SS`."""
    camera: str | None = None
    whole: "Whole | None" = None
    """The photo behind them, when `pixels` are a reduced copy of it."""

    def __post_init__(self) -> None:
        require("pixels", self.pixels, np.uint8, (None, None, 3))

    @property
    def width(self) -> int:
        """Of the photo in full."""
        return self.whole.width if self.whole else int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Of the photo in full."""
        return self.whole.height if self.whole else int(self.pixels.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """A photo behind its reduced copy, decoded when it is asked for."""

    width: int
    height: int
    """Of the upright photo, in pixels."""
    decode: Callable[[float], NDArray[np.uint8]]
    """Returns upright pixels, uint8 (height, width, 3), of at least this share of the sides of the photo in full, 1 for
    all there are; each call decodes anew."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The faces found in one photo, most confident first."""

    boxes: NDArray[np.float32]
    """float32 (n, 4): x0, y0, x1, y1 in pixels of the upright photo; may reach over its edges."""
    landmarks: NDArray[np.float32]
    """float32 (n, 5, 2): x, y of image-left eye, image-right eye, nose, mouth left, mouth right."""
    confidences: NDArray[np.float32]
    """float32 (n,) in [0, 1]."""

    def __post_init__(self) -> None:
        count = len(self.boxes)
        require("boxes", self.boxes, np.float32, (None, 4))
        require("landmarks", self.landmarks, np.float32, (count, 5, 2))
        require("confidences", self.confidences, np.float32, (count,))

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def none(cls) -> "Detections":
        """Return the detections of a photo without a face."""
        return cls(np.empty((0, 4), np.float32), np.empty((0, 5, 2), np.float32), np.empty(0, np.float32))

    @classmethod
    def joined(cls, parts: "Sequence[Detections]") -> "Detections":
        """Return the faces of several, one after another; there is at least one."""
        return cls(
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.landmarks for part in parts]),
            np.concatenate([part.confidences for part in parts]),
        )

    def chosen(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> "Detections":
        """Return some of the faces, by a mask or by their positions."""
        return Detections(self.boxes[which], self.landmarks[which], self.confidences[which])

    def scaled(self, x_factor: float, y_factor: float) -> "Detections":
        """Return the same faces in a picture whose sides are these many times as long."""
        factors = np.array([x_factor, y_factor], np.float32)
        return Detections(self.boxes * np.tile(factors, 2), self.landmarks * factors, self.confidences)


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """Unit vectors of one model."""

    face_ids: NDArray[np.void]
    """V16 (n,)."""
    vectors: NDArray[np.float32]
    """float32 (n, d), C order, unit length."""
    model: ModelId

    def __post_init__(self) -> None:
        require("face_ids", self.face_ids, f"V{ID_BYTES}", (None,))
        require("vectors", self.vectors, np.float32, (len(self.face_ids), None))

    def __len__(self) -> int:
        return len(self.face_ids)

    @property
    def dimension(self) -> int:
        return int(self.vectors.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class CandidateLists:
    """The answer to a search: for each probe its candidates, most similar first, ties in order of face id."""

    face_ids: NDArray[np.void]
    """V16 (probes, k); all zero where there is no candidate."""
    similarities: NDArray[np.float32]
    """float32 (probes, k): cosine similarity, descending; -inf where there is no candidate."""
    model: ModelId

    def __post_init__(self) -> None:
        require("face_ids", self.face_ids, f"V{ID_BYTES}", (None, None))
        require("similarities", self.similarities, np.float32, self.face_ids.shape)

    @property
    def counts(self) -> NDArray[np.int64]:
        """int64 (probes,): how many candidates each probe has."""
        return np.asarray(np.isfinite(self.similarities).sum(axis=1), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class PhotoResult:
    """What one photo came to: a row of `photos`, and its faces."""

    ref: PhotoRef
    state: PhotoState
    detail: str = ""
    photo_id: bytes | None = None
    image: "ImageFacts | None" = None
    face_count: int = 0
    faces: "PhotoFaces | None" = None
    """None also for a copy of a photo that is embedded already: its faces belong to the photo id."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What stays of an `Image` when its pixels are gone."""

    format: str
    width: int
    height: int
    orientation: int
    captured_at: str | None
    camera: str | None


@dataclass(frozen=True, slots=True, eq=False)
class PhotoFaces:
    """The faces of one photo as they are stored."""

    detections: Detections
    qualities: NDArray[np.float32]
    """float32 (n,) in [0, 1]."""
    vectors: NDArray[np.float32]
    """float32 (n, d), unit length."""
    crops: Sequence[bytes] = field(default_factory=tuple)
    """A small JPEG of each face, or nothing when crops are switched off."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of the catalog as a generation names it."""

    path: str
    """Relative to the catalog, with forward slashes."""
    size_bytes: int
    xxh3: str
    """xxh3-128 of the bytes, 32 hex digits."""

    def to_json(self) -> dict[str, Any]:
        return {"path": self.path, "size": self.size_bytes, "xxh3": self.xxh3}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "FileEntry":
        return cls(str(value["path"]), int(value["size"]), str(value["xxh3"]))


@dataclass(frozen=True, slots=True)
class IndexRecipe:
    """How the gallery's shards are built, and the operating point they are searched at."""

    factory: str
    """"exact", or a FAISS factory string such as "IVF4096,PQ64x4fs"."""
    nprobe: int = 0
    """Inverted lists visited in a search; 0 for exact, and in a shard, which can be searched at any."""
    rerank: int = 0
    """Candidates re-ranked exactly, as a multiple of k; 0 for exact, and in a shard."""
    seed: int = 0
    recall: float = 0.0
    """recall@10 that a user asked for; 0 for the usual aims, and in a shard."""

    def untuned(self) -> "IndexRecipe":
        """Return what shards are built by: the recipe without its operating point."""
        return IndexRecipe(self.factory, seed=self.seed)


@dataclass(frozen=True, slots=True)
class IndexQuality:
    """What an index loses against exact search and what it costs, measured on the files before they are published."""

    probe_count: int
    """Half of them faces of the gallery, which are left out of their own answers, half strangers."""
    recall_at_10: float
    """Share of the ten first of exact search that were found."""
    first_agreement: float
    """Share of searches whose first candidate is that of exact search."""
    mated_rank_1: float
    """Of searches that by exact search find somebody more alike than 99 % of strangers do, the share that still do."""
    search_ms: float
    """Time of a search in a batch, on one thread."""
    open_ms: float
    """Time to open the gallery, its files verified."""
    resident_bytes: int
    """Memory of an opened gallery; pages of mapped files not counted."""
    mapped_bytes: int
    """Files that are mapped into memory and read as searches need them."""
    imbalance: float = 1.0
    """How many times longer the list of a face is than if all lists had one length, on average."""
    quantisation_error: float = 0.0
    """Mean squared distance of sampled faces from what their codes stand for."""
    trained_count: int = 0
    """Live faces when the index was trained."""
    trained_imbalance: float = 1.0
    """The imbalance when the index was trained."""
    trained_error: float = 0.0
    """The quantisation error when the index was trained."""
