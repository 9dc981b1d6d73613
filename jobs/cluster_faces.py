"""Group the unknown faces of a catalog into people, to be named: what `faceindex cluster` does, as a script.

    python jobs/cluster_faces.py --catalog /data/faces

What people said is obeyed: named faces keep their names, faces told apart stay apart, and two faces of one photo are
two people. Clusters keep their numbers and new faces join them, so it may run every night; once a fifth of all faces
did, all are clustered afresh.
"""

import sys

from faceindex.catalog.catalog import Catalog
from faceindex.errors import NothingFoundError
from faceindex.pipeline.clustering import publish_clusters
from faceindex.pipeline.job_settings import job_parser, job_settings, run_job


def cluster() -> int:
    """Run one clustering; returns the exit code of `faceindex cluster`."""
    settings = job_settings(job_parser(__doc__).parse_args())
    catalog = Catalog.open(settings.catalog)
    with catalog.lock("jobs/cluster_faces.py"):
        served = catalog.current()
        if served is None or not served.face_count:
            raise NothingFoundError(f"{catalog.root} has no faces to cluster; run jobs/index_photos.py first")
        found = publish_clusters(catalog, served)
    print(f"{found.faces:,} faces in {found.clusters:,} clusters, {found.unclustered:,} by themselves")
    return 0


if __name__ == "__main__":
    sys.exit(run_job("cluster_faces", cluster))
