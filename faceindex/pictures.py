"""Pictures that are asked about: opened, named, and their faces in the order a person would name them."""

from collections.abc import Sequence
from os import PathLike, fsdecode, fspath
from os.path import abspath
from typing import TYPE_CHECKING, Union

import numpy as np
from numpy.typing import NDArray
from PIL import ImageOps

from faceindex.config import Settings
from faceindex.errors import FaceIndexError, ItemError
from faceindex.images.crawl import crawl
from faceindex.images.decode import decode
from faceindex.images.read import read_photo
from faceindex.types import Image

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

Picture = Union[str, PathLike[str], "NDArray[np.uint8]", "PillowImage"]

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the upright photo."""


def load_picture(picture: Picture, settings: Settings) -> tuple[Image, str]:
    """Return a decoded picture and the name it goes by in answers.

    Raises:
        FaceIndexError: the picture cannot be read; the message says why.
        ConfigError: there is no such file.
    """
    if isinstance(picture, np.ndarray):
        return Image(b"", b"", np.ascontiguousarray(picture), "array"), "(array)"
    if isinstance(picture, (str, PathLike)):
        return open_upright(fspath(picture), settings.max_megapixels), fspath(picture)
    upright = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    return Image(b"", b"", upright, "picture"), str(getattr(picture, "filename", "") or "(picture)")


def open_upright(path: str, max_megapixels: int = 120) -> Image:
    """Return the decoded photo at a path or URL; raises `FaceIndexError` when it cannot be read."""
    try:
        ref = next(crawl(path), None)
        if ref is None or fsdecode(ref.path) not in (path, abspath(path)):  # noqa: PTH100 - a Path cannot hold every name
            raise FaceIndexError(f"{path} is a folder; give a picture")
        return decode(read_photo(ref), ref.path, max_megapixels)
    except ItemError as error:
        raise FaceIndexError(f"{path}: {error.state}: {error.detail}") from error


def rounded_box(edges: "Sequence[float] | NDArray[np.float32]") -> Box:
    """Return a box to a tenth of a pixel, as answers show it."""
    x0, y0, x1, y1 = (round(float(edge), 1) for edge in edges)
    return x0, y0, x1, y1
