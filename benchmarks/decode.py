"""From a JPEG's bytes to what the detector takes: our decoder against Pillow's, by size of the photo.

    python benchmarks/decode.py --photos PHOTOS

The largest photos of a folder are resized to 2, 6, 12 and 24 megapixels and encoded anew. Each way ends with a picture
of the long side that the detector wants, upright, as an array; ours has at least that, because the detector takes
pictures of any size and reduces them as it draws its pyramid. One way resizes ours all the same, for comparison.
"""

import argparse
import io
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError
from report import machine, publish

from faceindex.config import Settings
from faceindex.images.decode import decode

SIDE = Settings().detect_side_px
MEGAPIXELS = (2, 6, 12, 24)
LIMIT_MEGAPIXELS = 120
Pixels = NDArray[np.uint8]


def pillow_full(payload: bytes, resampling: Pillow.Resampling) -> Pixels:
    """Return a photo decoded in full and resized to `SIDE`."""
    return resized(ImageOps.exif_transpose(Pillow.open(io.BytesIO(payload))).convert("RGB"), resampling)


def pillow_draft(payload: bytes) -> Pixels:
    """Return a photo decoded at a half, quarter or eighth and resized to `SIDE`."""
    picture = Pillow.open(io.BytesIO(payload))
    picture.draft("RGB", _smaller(picture.size))
    return resized(ImageOps.exif_transpose(picture).convert("RGB"), Pillow.Resampling.BOX)


def ours(payload: bytes) -> Pixels:
    """Return a photo as the detector is given it."""
    return decode(payload, b"", LIMIT_MEGAPIXELS, SIDE).pixels


def resized(picture: Pillow.Image, resampling: Pillow.Resampling) -> Pixels:
    """Return a picture of a long side of `SIDE`."""
    return np.array(picture.resize(_smaller(picture.size), resampling))


WAYS: dict[str, Callable[[bytes], Pixels]] = {
    "Pillow full + LANCZOS": lambda payload: pillow_full(payload, Pillow.Resampling.LANCZOS),
    "Pillow full + BOX": lambda payload: pillow_full(payload, Pillow.Resampling.BOX),
    "Pillow draft + BOX": pillow_draft,
    "ours": ours,
    "ours + BOX": lambda payload: resized(Pillow.fromarray(ours(payload)), Pillow.Resampling.BOX),
    "ours, in full": lambda payload: decode(payload, b"", LIMIT_MEGAPIXELS).pixels,
}


def largest_photos(folder: Path, count: int) -> list[Pillow.Image]:
    """Return the JPEGs of a folder that have most pixels, upright."""
    sizes = []
    for path in sorted(folder.rglob("*.jp*g")):
        try:
            with Pillow.open(path) as picture:
                sizes.append((picture.width * picture.height, path))
        except UnidentifiedImageError:
            continue
    return [ImageOps.exif_transpose(Pillow.open(path)).convert("RGB") for _, path in sorted(sizes)[-count:]]


def encoded(picture: Pillow.Image, megapixels: int) -> bytes:
    """Return a photo resized and encoded as cameras do."""
    factor = (megapixels * 1e6 / (picture.width * picture.height)) ** 0.5
    file = io.BytesIO()
    size = round(picture.width * factor), round(picture.height * factor)
    picture.resize(size, Pillow.Resampling.LANCZOS).save(file, "JPEG", quality=90, subsampling="4:2:0")
    return file.getvalue()


def measured(payloads: list[bytes], rounds: int) -> dict[str, float]:
    """Return the median milliseconds a photo of each way, taken in turn so that a busy moment hits all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for round_number in range(rounds + 1):
        for payload in payloads:
            for name, way in WAYS.items():
                started = time.perf_counter()
                way(payload)
                if round_number:  # the first one warms up
                    seconds[name].append(time.perf_counter() - started)
    return {name: 1000 * median(values) for name, values in seconds.items()}


def disagreement(payload: bytes) -> float:
    """Return by how many grey levels ours differs from the mean of the pixels that each of its pixels stands for."""
    found = ours(payload)
    whole = Pillow.open(io.BytesIO(payload)).resize(found.shape[1::-1], Pillow.Resampling.BOX)
    return float(np.abs(found.astype(np.float32) - np.asarray(whole, dtype=np.float32)).mean())


def main() -> None:
    """Print and write the medians, and the ratios to Pillow's full decode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="a folder of JPEGs")
    parser.add_argument("--count", type=int, default=5, help="photos of each size")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    about = {**machine(), "simplejpeg": version("simplejpeg")}
    sources = largest_photos(arguments.photos, arguments.count)
    rows: list[dict[str, Any]] = []
    for megapixels in MEGAPIXELS:
        payloads = [encoded(source, megapixels) for source in sources]
        milliseconds = measured(payloads, arguments.rounds)
        row = {"MP": megapixels, "MB": sum(map(len, payloads)) / len(payloads) / 1e6}
        row |= {f"{name}, ms": value for name, value in milliseconds.items()}
        row |= {
            "LANCZOS / ours": milliseconds["Pillow full + LANCZOS"] / milliseconds["ours"],
            "BOX / ours": milliseconds["Pillow full + BOX"] / milliseconds["ours"],
            "long side of ours": max(ours(payloads[0]).shape),
            "grey levels from BOX": median(disagreement(payload) for payload in payloads),
        }
        rows.append(row)
    recipe = (
        f"The {len(sources)} largest JPEGs of {arguments.photos.name} ({_sizes(sources)}), resized by LANCZOS, encoded "
        f"anew by Pillow at quality 90, 4:2:0; from bytes to an upright array of a long side of {SIDE} pixels (Pillow) "
        f"or at least as many (ours: the detector takes any size); one thread, medians of "
        f"{arguments.rounds} rounds over the photos, the ways in turn. Ratios: Pillow full against ours."
    )
    publish("decode", "Decoding for detection", recipe, rows, about)


def _smaller(size: tuple[int, int]) -> tuple[int, int]:
    factor = SIDE / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _sizes(pictures: list[Pillow.Image]) -> str:
    return ", ".join(f"{picture.width} x {picture.height}" for picture in pictures)


if __name__ == "__main__":
    main()
