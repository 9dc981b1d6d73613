"""What happens to the photos of one batch: read, decode, find and embed the faces, cut crops.

A photo that cannot be processed becomes a row with its state, never an exception. Knows nothing of Dask, the catalog's
files or the command line.
"""

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from faceindex.clock import Clock
from faceindex.config import Settings
from faceindex.errors import ItemError
from faceindex.faces.recogniser import Recogniser
from faceindex.images.decode import PILLOW_BYTES, decode
from faceindex.images.read import photo_id, read_photo
from faceindex.pipeline.decoders import Decoded
from faceindex.pipeline.memory import Memory
from faceindex.pipeline.read_ahead import Lane, Loaded, read_ahead
from faceindex.types import Image, ImageFacts, PhotoFaces, PhotoRef, PhotoResult, PhotoState, Whole

CHUNK_PHOTOS = 64
CHUNK_BYTES = 64_000_000
"""Photos are recognised together up to this many, or this many bytes of pixels; at least one."""

CROP_MARGIN = 0.3
CROP_SIDE = 160
"""Stored crops show the box and this share of its side around it, at most this many pixels a side."""


@dataclass(frozen=True, slots=True)
class Known:
    """A photo whose bytes were done before."""

    result: PhotoResult


@dataclass(frozen=True, slots=True)
class Copy:
    """A photo with the bytes of an earlier one of its batch."""

    original: int
    """Position of that one."""


def process_photos(
    photos: Sequence[PhotoRef],
    recogniser: Recogniser,
    settings: Settings,
    *,
    known: Callable[[bytes], PhotoResult | None],
    excluded: Mapping[int, ItemError],
    memory: Memory,
    on_photo: Callable[[], None] = lambda: None,
    decoded: Iterator[Decoded] | None = None,
) -> list[PhotoResult]:
    """Return what became of each photo, in order.

    Args:
        photos: the photos of one batch.
        recogniser: the networks; its clock is given the seconds of every stage.
        settings: the catalog's settings.
        known: by photo id, the result of the same bytes if an earlier run has it; its faces are not made again.
        excluded: by position, photos that must not be touched because they killed a worker, and why.
        memory: what may be held of decoded photos.
        on_photo: called before each photo is read (a watchdog's heartbeat).
        decoded: the photos as other processes decode them; by default a thread of this process reads and decodes.
    """
    loader = _Loader(photos, settings, known, excluded, memory, on_photo)
    clock = recogniser.clock
    results: dict[int, PhotoResult] = {}
    copies: dict[int, int] = {}
    chunk = _Chunk(photos, recogniser, settings, memory)
    loading = (
        loader.taken(decoded, clock)
        if decoded
        else read_ahead(loader.load, len(photos), settings.photo_timeout_s, memory, clock)
    )
    for loaded in loading:
        if loaded is None or (isinstance(loaded.outcome, Image) and not chunk.has_room(loaded.held_bytes)):
            results |= chunk.recognised()
        if loaded is None:
            continue
        position, ref = loaded.position, photos[loaded.position]
        match loaded.outcome:
            case Image() as image:
                chunk.add(position, image, loaded.held_bytes)
            case Known(before):
                results[position] = replace(before, ref=ref)
            case Copy(original):
                copies[position] = original
            case ItemError() as error:
                identity = loader.photo_ids.get(position)
                results[position] = PhotoResult(ref, PhotoState(error.state), error.detail, identity)
    results |= chunk.recognised()
    for position, original in copies.items():
        results[position] = replace(results[original], ref=photos[position], faces=None)
    return [results[position] for position in range(len(photos))]


class _Loader:
    """Reads and decodes the photos of a batch, in the thread that is ahead."""

    def __init__(
        self,
        photos: Sequence[PhotoRef],
        settings: Settings,
        known: Callable[[bytes], PhotoResult | None],
        excluded: Mapping[int, ItemError],
        memory: Memory,
        on_photo: Callable[[], None],
    ) -> None:
        self.photo_ids: dict[int, bytes] = {}
        self._first: dict[bytes, int] = {}
        self._photos, self._settings, self._memory = photos, settings, memory
        self._known, self._excluded, self._on_photo = known, excluded, on_photo

    def load(self, position: int, lane: Lane["Image | Known | Copy"]) -> "Image | Known | Copy":
        if position in self._excluded:
            raise self._excluded[position]
        self._on_photo()
        ref = self._photos[position]
        lane.hold(ref.size_bytes)
        with lane.stage("read"):
            payload = read_photo(ref)
            self.photo_ids[position] = identity = photo_id(payload)
            before = self._known(identity)
        original = self._first.setdefault(identity, position)
        if before is not None or original != position:
            lane.hold(-lane.held_bytes)
            return Copy(original) if before is None else Known(before)
        with lane.stage("decode"):
            image = decode(payload, ref.path, self._settings.max_megapixels, self._settings.detect_side_px, lane.hold)
        # The file's bytes stay with a reduced picture, to be decoded in full if need be.
        lane.hold(image.pixels.nbytes + (len(payload) if image.whole else 0) - lane.held_bytes)
        return replace(image, whole=self._counted(image.whole)) if image.whole else image

    def taken(self, decoded: Iterator[Decoded], clock: Clock) -> Iterator[Loaded["Image | Known | Copy"]]:
        """Yield photos that other processes decode."""
        while True:
            self._on_photo()
            with clock.stage("wait"):
                if (following := next(decoded, None)) is None:
                    return
            position, identity, outcome = following
            if identity is None:
                yield Loaded(position, outcome, 0)
                continue
            self.photo_ids[position] = identity
            original = self._first.setdefault(identity, position)
            before = self._known(identity)
            if before is not None:
                yield Loaded(position, Known(before), 0)
            else:
                yield Loaded(position, outcome if original == position else Copy(original), 0)

    def _counted(self, whole: Whole) -> Whole:
        """Return the photo behind a copy, its decoding counted in memory."""

        def of_scale(scale: float) -> NDArray[np.uint8]:
            decoded = min(1.0, 2 * scale)  # the next of 1/8, 1/4, 1/2 and 1
            with self._memory.briefly(math.ceil(PILLOW_BYTES * decoded**2 * whole.width * whole.height)):
                return whole.decode(scale)

        return replace(whole, decode=of_scale)


class _Chunk:
    """Decoded photos of a batch that are recognised together."""

    def __init__(self, photos: Sequence[PhotoRef], recogniser: Recogniser, settings: Settings, memory: Memory) -> None:
        self._photos, self._recogniser, self._settings, self._memory = photos, recogniser, settings, memory
        self._images: dict[int, Image] = {}
        self._held_bytes = 0

    def has_room(self, byte_count: int) -> bool:
        """Tell whether one more photo may be added."""
        return len(self._images) < CHUNK_PHOTOS and self._held_bytes + byte_count <= CHUNK_BYTES

    def add(self, position: int, image: Image, held_bytes: int) -> None:
        self._images[position] = image
        self._held_bytes += held_bytes

    def recognised(self) -> dict[int, PhotoResult]:
        """Return the results of what was added, release its memory, and be empty again."""
        results = {}
        faces_of_all = self._recogniser.faces(list(self._images.values()))
        for (position, image), faces in zip(self._images.items(), faces_of_all, strict=True):
            count = len(faces.detections)
            results[position] = PhotoResult(
                self._photos[position],
                PhotoState.OK if count else PhotoState.NO_FACE,
                photo_id=image.photo_id,
                image=_facts(image),
                face_count=count,
                faces=self._with_crops(faces, image) if self._settings.crops else faces,
            )
        self._memory.release(self._held_bytes)
        self._images, self._held_bytes = {}, 0
        return results

    def _with_crops(self, faces: PhotoFaces, image: Image) -> PhotoFaces:
        height, width = image.pixels.shape[:2]
        shown = faces.detections.scaled(width / image.width, height / image.height)
        with self._recogniser.clock.stage("crop"):
            return replace(faces, crops=[crop_jpeg(image.pixels, box) for box in shown.boxes])


def crop_jpeg(pixels: NDArray[np.uint8], box: NDArray[np.float32]) -> bytes:
    """Return a small JPEG of the box and its surroundings; `pixels` is uint8 (height, width, 3) RGB."""
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = (float(edge) for edge in box)
    margin = CROP_MARGIN * max(x1 - x0, y1 - y0)
    left, top = max(0, int(x0 - margin)), max(0, int(y0 - margin))
    right, bottom = min(width, int(x1 + margin) + 1), min(height, int(y1 + margin) + 1)
    picture = Pillow.fromarray(np.ascontiguousarray(pixels[top:bottom, left:right]))
    picture.thumbnail((CROP_SIDE, CROP_SIDE), Pillow.Resampling.BILINEAR)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _facts(image: Image) -> ImageFacts:
    return ImageFacts(image.format, image.width, image.height, image.orientation, image.captured_at, image.camera)
