"""Group the unknown faces of a catalog into people, to be named: what `faceindex cluster` does, as a script.

    python jobs/cluster_faces.py --catalog /data/faces

What people said is obeyed: named faces keep their names, faces told apart stay apart, and two faces of one photo are
two people. Clusters keep their numbers, so it may run every night.
"""

import argparse
import sys

from faceindex.catalog.catalog import Catalog
from faceindex.errors import CatalogError, FaceIndexError
from faceindex.pipeline.clustering import publish_clusters


def main() -> int:
    """Run one clustering; returns the exit code of `faceindex cluster`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", required=True, help="folder or URL of the catalog")
    arguments = parser.parse_args()
    try:
        catalog = Catalog.open(arguments.catalog)
        with catalog.lock("jobs/cluster_faces.py"):
            served = catalog.current()
            if served is None:
                raise CatalogError(f"{catalog.root} has no published generation yet; run jobs/index_photos.py first")
            found = publish_clusters(catalog, served)
    except FaceIndexError as error:
        print(f"cluster_faces: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{found.faces:,} faces in {found.clusters:,} clusters, {found.unclustered:,} by themselves")
    return 0


if __name__ == "__main__":
    sys.exit(main())
