"""Answers to look at: each face that was searched beside its candidates, as one picture or one HTML page.

Reads search documents (`faceindex.search/1`) and photos; knows nothing of catalogs.
"""

import io
from collections.abc import Callable, Iterable
from pathlib import Path

from faceindex.errors import ConfigError
from faceindex.outputs import write_private
from faceindex.sheet.drawing import drawing, require_fit
from faceindex.sheet.page import page
from faceindex.sheet.strips import Document, cut, heading, strips_of
from faceindex.types import Image
from faceindex.wording import visible

FORMATS = (".png", ".jpg", ".jpeg", ".html")


def require_sheet_format(path: str) -> None:
    """Raise `ConfigError` unless a sheet can go there: an extension of `FORMATS`, in a folder that exists."""
    if Path(path).suffix.lower() not in FORMATS:
        raise ConfigError(f"a sheet is a file ending in {', '.join(FORMATS)}, got {visible(path)}")
    if not Path(path).parent.is_dir():
        raise ConfigError(f"there is no folder {visible(str(Path(path).parent))} to write a sheet in; make it first")


def write_sheet(documents: Iterable[Document], path: str, load_photo: Callable[[str], Image]) -> None:
    """Write the answers to one or more searches as a picture or a page, private to its owner.

    Every photo is loaded once. One that cannot be read any more is shown as a grey tile with the reason.

    Args:
        documents: what `faceindex search --json` prints, one for each query picture.
        path: file to write; its extension, one of `FORMATS`, decides what it becomes. Replaced as a whole.
        load_photo: returns the upright photo at a path, or raises `FaceIndexError`.

    Raises:
        ConfigError: another extension, no such folder, or more faces than fit in a picture.
        FaceIndexError: the file cannot be written.
    """
    require_sheet_format(path)
    documents = list(documents)
    strips = [strip for document in documents for strip in strips_of(document)]
    suffix = Path(path).suffix.lower()
    if suffix == ".html":
        payload = page(strips, cut(strips, load_photo), heading(documents)).encode()
    else:
        require_fit(strips)
        file = io.BytesIO()
        picture = drawing(strips, cut(strips, load_photo), heading(documents))
        picture.save(file, "PNG" if suffix == ".png" else "JPEG", quality=90)
        payload = file.getvalue()
    write_private(Path(path), payload, "sheet")
