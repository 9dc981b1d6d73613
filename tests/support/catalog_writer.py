"""A process that does nothing but publish generations, to be killed: `python -m tests.support.catalog_writer ROOT`.

Prints the number of each generation once it is published; what was printed must survive whatever happens next.
"""

import sys

from faceindex.catalog.catalog import Catalog
from faceindex.catalog.upkeep import collect
from faceindex.config import Settings
from faceindex.errors import CatalogError, LockedError
from tests.support.catalogs import publish_next


def main(root: str, count: int) -> None:
    while count:
        try:
            try:
                catalog = Catalog.open(root)
            except CatalogError:
                catalog = Catalog.create(root, Settings())
            with catalog.lock("publish"):
                number = publish_next(catalog, photo_count=6).number
                collect(catalog.files, keep=2, grace_s=-1)
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
            count -= 1
        except LockedError:
            continue


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
