"""Index folders of photos: what `faceindex index` does, as a script to copy and change.

    python jobs/index_photos.py /photos/2024 /photos/2025 --catalog /data/faces --scheduler tcp://10.0.0.5:8786

A run plans batches of photos, has Dask workers find and embed the faces in them, and publishes a generation that
searches use from then on. Run it again at any time: only what changed is read, and a run that was killed is finished.
"""

import argparse
import sys

from faceindex.errors import FaceIndexError
from faceindex.pipeline.run import IndexOptions, index_photos


def main() -> int:
    """Run one index job; returns the exit code of `faceindex index`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", help="folders, files or URLs")
    parser.add_argument("--catalog", required=True, help="folder or URL of the catalog")
    parser.add_argument("--scheduler", help="address of a Dask scheduler; without it workers are started here")
    parser.add_argument("--workers", type=int, help="processes to start here, one a core by default")
    arguments = parser.parse_args()
    options = IndexOptions(workers=arguments.workers, scheduler=arguments.scheduler)
    try:
        report = index_photos(arguments.catalog, arguments.photos, options)
    except FaceIndexError as error:
        print(f"index_photos: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{report.embedded} photos embedded, {report.faces} faces, generation {report.generation}")
    for row in report.quarantined:
        print(f"{row['state']}: {row['photo']}: {row['detail']}", file=sys.stderr)
    return 3 if report.quarantined else 0


if __name__ == "__main__":
    sys.exit(main())
