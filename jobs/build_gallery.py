"""Merge a catalog's small shards and files and publish the result: what `faceindex compact` does, as a script.

    python jobs/build_gallery.py --catalog /data/faces --rebuild

With --rebuild the index is trained and filled anew from the stored embeddings, as after a change of `index` in
catalog.toml. Either is held against exact search before it is served; one that loses too much is refused, and the old
one stays.
"""

import sys

from faceindex.catalog.catalog import Catalog
from faceindex.catalog.upkeep import collect
from faceindex.errors import NothingFoundError
from faceindex.pipeline.compact import compact
from faceindex.pipeline.job_settings import job_parser, job_settings, run_job


def build() -> int:
    """Build once; returns the exit code of `faceindex compact`."""
    parser = job_parser(__doc__)
    parser.add_argument("--rebuild", action="store_true", help="train and fill the whole index anew")
    arguments = parser.parse_args()
    catalog = Catalog.open(job_settings(arguments).catalog)
    with catalog.lock("jobs/build_gallery.py"):
        served = catalog.current()
        if served is None:
            raise NothingFoundError(f"nothing is indexed in {catalog.root} yet; run jobs/index_photos.py first")
        after = compact(catalog, served, rebuild=arguments.rebuild)
        collect(catalog.files)
    print(
        f"{after.face_count:,} faces in {len(after.shards)} shards, {after.recipe.factory}; generation {after.number}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(run_job("build_gallery", build))
