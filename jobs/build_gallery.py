"""Merge a catalog's small shards and files and publish the result: what `faceindex compact` does, as a script.

    python jobs/build_gallery.py --catalog /data/faces --rebuild

With --rebuild the index is trained and filled anew from the stored embeddings, as after a change of `index` in
catalog.toml. Either is held against exact search before it is served; one that loses too much is refused, and the old
one stays.
"""

import argparse
import sys

from faceindex.catalog.catalog import Catalog
from faceindex.catalog.upkeep import collect
from faceindex.errors import CatalogError, FaceIndexError
from faceindex.pipeline.compact import compact


def main() -> int:
    """Build once; returns the exit code of `faceindex compact`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", required=True, help="folder or URL of the catalog")
    parser.add_argument("--rebuild", action="store_true", help="train and fill the whole index anew")
    arguments = parser.parse_args()
    try:
        catalog = Catalog.open(arguments.catalog)
        with catalog.lock("jobs/build_gallery.py"):
            served = catalog.current()
            if served is None:
                raise CatalogError(f"{catalog.root} has no published generation yet; run jobs/index_photos.py first")
            after = compact(catalog, served, rebuild=arguments.rebuild)
            collect(catalog.files)
    except FaceIndexError as error:
        print(f"build_gallery: {error}", file=sys.stderr)
        return error.exit_code
    print(
        f"{after.face_count:,} faces in {len(after.shards)} shards, {after.recipe.factory}; generation {after.number}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
