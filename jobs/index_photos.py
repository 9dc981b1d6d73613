"""Index folders of photos: what `faceindex index` does, as a script to copy and change.

    python jobs/index_photos.py /photos/2024 /photos/2025 --catalog /data/faces --scheduler tcp://10.0.0.5:8786

A run plans batches of photos, has Dask workers find and embed the faces in them, and publishes a generation that
searches use from then on. Run it again at any time: only what changed is read, and a run that was killed is finished.
"""

import sys

from faceindex.cli.progress import Progress
from faceindex.pipeline.job_settings import job_parser, job_settings, run_job, show
from faceindex.pipeline.report import RunReport
from faceindex.pipeline.run import index_photos
from faceindex.pipeline.watching import watched


def index() -> int:
    """Run one index job; returns the exit code of `faceindex index`."""
    settings = job_settings(job_parser(__doc__, "photos").parse_args(), needs_photos=True)
    report = RunReport.of(settings.catalog)
    with Progress(quiet=settings.quiet) as bar, watched(report, settings.watching, bar) as progress:
        index_photos(settings.catalog, settings.photos, settings.index, progress, report)
    show(report, settings)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(run_job("index_photos", index))
