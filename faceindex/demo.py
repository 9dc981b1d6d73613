"""A small archive of real photographs to try everything on, made from pictures that installed packages carry.

The people are Eileen Collins (NASA, in scikit-image) and Grace Hopper (U.S. Navy, in matplotlib), both in the public
domain. The stranger is the man behind the camera in scikit-image's `camera` (Lav Varshney, CC0). Nothing is fetched.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import PIL.Image
from PIL import ExifTags
from PIL.Image import Image, Resampling, Transpose

from faceindex.errors import FaceIndexError

Box = tuple[float, float, float, float]

PEOPLE: dict[str, tuple[str, Box]] = {
    "astronaut": ("skimage/data/astronaut.png", (181, 62, 267, 172)),
    "hopper": ("matplotlib/mpl-data/sample_data/grace_hopper.jpg", (174, 119, 355, 340)),
}
"""Name: the picture, and the face in it (x0, y0, x1, y1 in pixels)."""

STRANGER = "skimage/data/camera.png"
SCENES = ("chelsea.png", "coffee.png", "coins.png", "rocket.jpg")
QUERIES = (*PEOPLE, "stranger")
"""Whom there is a picture to search by."""

_FACE_PX = 150
"""How high each face is in the pictures cut around it, before they are changed."""


@dataclass(frozen=True, slots=True)
class DemoArchive:
    """Photos to index, pictures to search them by, and what is in them."""

    photos: Path
    """The folder to index."""
    queries: dict[str, Path]
    """For each of `QUERIES` a picture that is not in the archive; the stranger is nowhere in it."""
    shows: dict[str, tuple[str, ...]]
    """For each photo, by its path in `photos`, the people in it; nobody in scenes."""
    broken: tuple[str, ...]
    """Files that are no whole picture, by their path in `photos`."""


def build_archive(folder: Path, seed: int = 0) -> DemoArchive:
    """Write some thirty photos of two people, scenes and broken files, and a picture of each person to search by.

    The same seed gives the same files, byte for byte, with the same versions of Pillow and pillow-heif.

    Args:
        folder: where to make `photos/` and `queries/`; files of the same name are replaced.
        seed: for how far each picture is moved, brightened, tilted and so on.

    Raises:
        FaceIndexError: a package lacks its pictures.
        OSError: a file cannot be written.
    """
    rng = np.random.default_rng(seed)
    photos, queries = folder / "photos", folder / "queries"
    shows: dict[str, tuple[str, ...]] = {}
    portraits = {name: _picture(file) for name, (file, _) in PEOPLE.items()}

    for name, portrait in portraits.items():
        around = _cut_around(portrait, PEOPLE[name][1])
        _save(portrait, photos / name / "whole.jpg")
        shows[f"{name}/whole.jpg"] = (name,)
        for variant in VARIANTS:
            picture = variant.change(around, rng)
            _save(picture, photos / name / variant.file, variant.quality, turned=variant.turned)
            shows[f"{name}/{variant.file}"] = (name,)
        _save(_exposed(_moved(around, rng), 0.9), queries / f"{name}.jpg")

    for number, (left, right) in enumerate([("astronaut", "hopper"), ("hopper", "astronaut")], start=1):
        sides = [_moved(_cut_around(portraits[name], PEOPLE[name][1]), rng) for name in (left, right)]
        _save(_side_by_side(*sides), photos / "together" / f"{number}.jpg")
        shows[f"together/{number}.jpg"] = (left, right)
    for file in SCENES:
        path = f"scenes/{Path(file).stem}.jpg"
        _save(_picture(f"skimage/data/{file}"), photos / path)
        shows[path] = ()
    _save(_picture(STRANGER), queries / "stranger.jpg")

    whole = (photos / "astronaut" / "whole.jpg").read_bytes()
    (photos / "broken").mkdir(exist_ok=True)
    (photos / "broken" / "cut-short.jpg").write_bytes(whole[: len(whole) // 3])
    (photos / "broken" / "text.jpg").write_text("This is not a picture.\n", encoding="utf-8")
    return DemoArchive(
        photos=photos,
        queries={name: queries / f"{name}.jpg" for name in QUERIES},
        shows=shows,
        broken=("broken/cut-short.jpg", "broken/text.jpg"),
    )


def _picture(file: str) -> Image:
    """Return a picture of an installed package, which is looked up and not imported."""
    package, _, inside = file.partition("/")
    spec = find_spec(package)
    path = Path(spec.origin or "").parent / inside if spec else Path(file)
    if not path.is_file():
        raise FaceIndexError(f"the demo needs {path}, which the package {package} should bring: reinstall it with pip")
    with PIL.Image.open(path) as picture:
        return picture.convert("RGB")


def _save(picture: Image, path: Path, quality: int = 90, *, turned: bool = False) -> None:
    """Write a picture in the format its name asks for; turned as a camera held upright stores it, on its side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".heic":
        from pillow_heif import from_pillow

        from_pillow(picture).save(path, quality=quality)
        return
    exif = PIL.Image.Exif()
    if turned:
        picture = picture.transpose(Transpose.ROTATE_90)
        exif[ExifTags.Base.Orientation] = 6
    picture.save(path, quality=quality, exif=exif)


def _cut_around(picture: Image, face: Box) -> Image:
    """Return the largest square about a face, at most thrice as high; scaled so that all faces are equally high."""
    x0, y0, x1, y1 = face
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    half = min(1.5 * (y1 - y0), x, picture.width - x, y, picture.height - y)
    side = round(2 * half * _FACE_PX / (y1 - y0))
    return picture.resize((side, side), Resampling.LANCZOS, (x - half, y - half, x + half, y + half))


def _moved(picture: Image, rng: np.random.Generator) -> Image:
    """Return all but a tenth of a picture's width and height, cut off on random sides."""
    left, top = rng.uniform(0, 0.1, 2) * picture.size
    width, height = 0.9 * picture.width, 0.9 * picture.height
    return picture.crop((round(left), round(top), round(left + width), round(top + height)))


def _scaled(picture: Image, factor: float) -> Image:
    return picture.resize((round(picture.width * factor), round(picture.height * factor)), Resampling.LANCZOS)


def _exposed(picture: Image, *gains: float) -> Image:
    """Return a picture with its light multiplied, all of it or red, green and blue each."""
    pixels = np.asarray(picture, np.float32) * np.array(gains, np.float32)
    return PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _flattened(picture: Image, contrast: float) -> Image:
    pixels = np.asarray(picture, np.float32)
    return PIL.Image.fromarray(((pixels - 128) * contrast + 128).astype(np.uint8))


def _tilted(picture: Image, degrees: float) -> Image:
    """Return a picture turned a little about its middle, without the corners this leaves empty."""
    edge = picture.width // 10
    turned = picture.rotate(degrees, Resampling.BICUBIC)
    return turned.crop((edge, edge, picture.width - edge, picture.height - edge))


def _side_by_side(left: Image, right: Image) -> Image:
    height = min(left.height, right.height)
    both = PIL.Image.new("RGB", (left.width + right.width, height))
    both.paste(left, (0, 0))
    both.paste(right, (left.width, 0))
    return both


@dataclass(frozen=True, slots=True)
class Variant:
    """A way in which photos of one face differ."""

    file: str
    change: Callable[[Image, np.random.Generator], Image]
    quality: int = 90
    turned: bool = False


VARIANTS = (
    Variant("crop.jpg", _moved),
    Variant("small.jpg", lambda picture, rng: _scaled(_moved(picture, rng), rng.uniform(0.4, 0.5))),
    Variant("large.jpg", lambda picture, rng: _scaled(_moved(picture, rng), rng.uniform(1.8, 2.2))),
    Variant("dark.jpg", lambda picture, rng: _exposed(picture, rng.uniform(0.35, 0.45))),
    Variant("bright.webp", lambda picture, rng: _exposed(picture, rng.uniform(1.3, 1.4))),
    Variant("flat.png", lambda picture, rng: _flattened(picture, rng.uniform(0.4, 0.5))),
    Variant("warm.jpg", lambda picture, rng: _exposed(picture, 1.15, 1, rng.uniform(0.65, 0.75))),
    Variant("low-quality.jpg", _moved, quality=20),
    Variant("mirrored.jpg", lambda picture, rng: _moved(picture, rng).transpose(Transpose.FLIP_LEFT_RIGHT)),
    Variant("tilted.jpg", lambda picture, rng: _tilted(picture, rng.uniform(5, 12))),
    Variant("turned-by-exif.jpg", _moved, turned=True),
    Variant("grey.png", lambda picture, rng: _moved(picture, rng).convert("L")),
    Variant("phone.heic", _moved),
)
"""What is made of each person's photo, besides the whole of it."""
