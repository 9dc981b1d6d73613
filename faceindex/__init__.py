"""Find people in large photo archives.

    >>> import faceindex
    >>> catalog = faceindex.open("faceindex-demo/catalog")       # made by `faceindex demo`
    >>> catalog.search("faceindex-demo/queries/hopper.jpg").faces[0].decision
    'identified'

Importing this package loads none of the heavy libraries; they come with the first catalog that is opened.
"""

from typing import TYPE_CHECKING

from faceindex.errors import FaceIndexError

if TYPE_CHECKING:
    from faceindex.query import OpenCatalog

__version__ = "0.1.0"
__all__ = ["FaceIndexError", "__version__", "open"]


def open(catalog: str, *, device: str = "auto") -> "OpenCatalog":  # noqa: A001 - reads as faceindex.open
    """Open a catalog for searching.

    Args:
        catalog: folder or URL of a catalog made by `faceindex index`.
        device: where query pictures are embedded, and many are searched for: auto, cpu or cuda.

    Raises:
        FaceIndexError: there is no catalog, nothing was published in it yet, or it is damaged.
    """
    from faceindex.catalog.catalog import Catalog
    from faceindex.query import OpenCatalog

    return OpenCatalog(Catalog.open(catalog), device)
