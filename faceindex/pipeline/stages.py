"""What happens to the photos of one batch: read, decode, find and embed the faces, cut crops.

The only place that catches `ItemError`: a photo that cannot be processed becomes a row with its state, never an
exception. Knows nothing of Dask, the catalog's files or the command line.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import Thread
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from faceindex.config import Settings
from faceindex.errors import ItemError
from faceindex.faces.recogniser import Recogniser
from faceindex.images.decode import decode
from faceindex.images.read import photo_id, read_photo
from faceindex.types import Image, ImageFacts, PhotoFaces, PhotoRef, PhotoResult, PhotoState

CHUNK_PIXELS = 48_000_000
"""Photos of a batch are held together up to this many pixels (144 MB of RGB), or one photo if it is larger."""

CROP_MARGIN = 0.3
CROP_SIDE = 160
"""Stored crops show the box and this share of its side around it, at most this many pixels a side."""

Result = TypeVar("Result")


def process_photos(
    photos: Sequence[PhotoRef],
    recogniser: Recogniser,
    settings: Settings,
    *,
    known: Callable[[bytes], PhotoResult | None],
    excluded: Mapping[int, ItemError],
    on_photo: Callable[[], None] = lambda: None,
) -> list[PhotoResult]:
    """Return what became of each photo, in order.

    Args:
        photos: the photos of one batch.
        recogniser: the networks; its clock is given the seconds of every stage.
        settings: the catalog's settings.
        known: by photo id, the result of the same bytes if an earlier run has it; its faces are not made again.
        excluded: by position, photos that must not be touched because they killed a worker, and why.
        on_photo: called before each photo is read (a watchdog's heartbeat).
    """
    results: dict[int, PhotoResult] = {}
    first: dict[bytes, int] = {}
    copies: dict[int, int] = {}
    chunk: dict[int, Image] = {}
    clock, limit_s = recogniser.clock, settings.photo_timeout_s
    for position, ref in enumerate(photos):
        identity: bytes | None = None
        try:
            if position in excluded:
                raise excluded[position]
            on_photo()
            with clock.stage("read"):
                payload = within(limit_s, "read", read_photo, ref)
            identity = photo_id(payload)
            before = known(identity)
            if before is not None:
                results[position] = replace(before, ref=ref)
                continue
            if identity in first:
                copies[position] = first[identity]
                continue
            first[identity] = position
            with clock.stage("decode"):
                image = within(limit_s, "decode", decode, payload, ref.path, settings.max_megapixels)
        except ItemError as error:
            results[position] = PhotoResult(ref, PhotoState(error.state), error.detail, identity)
            continue
        if chunk and sum(_pixels(other) for other in chunk.values()) + _pixels(image) > CHUNK_PIXELS:
            results |= _recognise(chunk, photos, recogniser, settings)
            chunk = {}
        chunk[position] = image
    results |= _recognise(chunk, photos, recogniser, settings)
    for position, original in copies.items():
        results[position] = replace(results[original], ref=photos[position], faces=None)
    return [results[position] for position in range(len(photos))]


def within(seconds: float, action: str, function: Callable[..., Result], *arguments: Any) -> Result:
    """Return `function(*arguments)`, or raise `ItemError` timeout when it takes longer than `seconds`.

    Decoders are C code that nothing can interrupt, so the call runs in a thread that is left behind when time is up.
    """
    outcome: list[Result] = []
    problem: list[BaseException] = []

    def call() -> None:
        try:
            outcome.append(function(*arguments))
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            problem.append(error)

    thread = Thread(target=call, name=f"faceindex-{action}", daemon=True)
    thread.start()
    thread.join(seconds)
    if problem:
        raise problem[0]
    if not outcome:
        raise ItemError(PhotoState.TIMEOUT, f"took longer than {seconds:g} s to {action}")
    return outcome[0]


def crop_jpeg(pixels: NDArray[np.uint8], box: NDArray[np.float32]) -> bytes:
    """Return a small JPEG of the box and its surroundings; `pixels` is uint8 (height, width, 3) RGB."""
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = (float(edge) for edge in box)
    margin = CROP_MARGIN * max(x1 - x0, y1 - y0)
    left, top = max(0, int(x0 - margin)), max(0, int(y0 - margin))
    right, bottom = min(width, int(x1 + margin) + 1), min(height, int(y1 + margin) + 1)
    picture = Pillow.fromarray(np.ascontiguousarray(pixels[top:bottom, left:right]))
    picture.thumbnail((CROP_SIDE, CROP_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _recognise(
    chunk: Mapping[int, Image], photos: Sequence[PhotoRef], recogniser: Recogniser, settings: Settings
) -> dict[int, PhotoResult]:
    results = {}
    for (position, image), faces in zip(chunk.items(), recogniser.faces(list(chunk.values())), strict=True):
        count = len(faces.detections)
        results[position] = PhotoResult(
            photos[position],
            PhotoState.OK if count else PhotoState.NO_FACE,
            photo_id=image.photo_id,
            image=_facts(image),
            face_count=count,
            faces=_with_crops(faces, image, recogniser) if settings.crops else faces,
        )
    return results


def _with_crops(faces: PhotoFaces, image: Image, recogniser: Recogniser) -> PhotoFaces:
    with recogniser.clock.stage("crop"):
        return replace(faces, crops=[crop_jpeg(image.pixels, box) for box in faces.detections.boxes])


def _facts(image: Image) -> ImageFacts:
    return ImageFacts(image.format, image.width, image.height, image.orientation, image.captured_at, image.camera)


def _pixels(image: Image) -> int:
    return image.width * image.height
