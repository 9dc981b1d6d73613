"""One night of an archive: index what is new, group who is unknown, tidy up, report. For cron, systemd, Kubernetes.

    python jobs/nightly.py nightly.toml --workers 4

nightly.toml says what and where; [index] and [watching] take what --help lists, where the command line goes first:

    catalog = "/data/faces"
    photos = ["/photos", "s3://bucket/press"]
    [index]
    scheduler = "tcp://10.0.0.5:8786"
    [watching]
    metrics = "/var/lib/node_exporter/faceindex.prom"

A night that was stopped is finished by the next. Exit code as of `faceindex index`: 3 when photos were quarantined.
"""

import sys

from faceindex.catalog.catalog import Catalog
from faceindex.catalog.upkeep import collect
from faceindex.cli.progress import Progress
from faceindex.pipeline.clustering import publish_clusters
from faceindex.pipeline.compact import compact, is_due
from faceindex.pipeline.job_settings import job_parser, job_settings, run_job, show
from faceindex.pipeline.publish import publish_calibration
from faceindex.pipeline.report import RunReport
from faceindex.pipeline.run import index_photos
from faceindex.pipeline.watching import watched


def night() -> int:
    """Run one night and print what it did; returns the exit code."""
    settings = job_settings(job_parser(__doc__, "settings").parse_args(), needs_photos=True)
    report = RunReport.of(settings.catalog)
    with Progress(quiet=settings.quiet) as bar, watched(report, settings.watching, bar) as progress:
        # Crawls, embeds, builds or merges shards, holds them against exact search, publishes.
        index_photos(settings.catalog, settings.photos, settings.index, progress, report)
        catalog = Catalog.open(settings.catalog)
        with catalog.lock("jobs/nightly.py"):
            served = catalog.current()
            if served is not None and served.face_count:
                progress("learning thresholds")
                served = publish_calibration(catalog, served)
                progress("clustering")
                found = publish_clusters(catalog, served)
                served = found.generation
                print(f"{found.faces:,} faces in {found.clusters:,} clusters, {found.unclustered:,} by themselves")
            if served is not None and is_due(catalog, served):
                progress("merging files")
                served = compact(catalog, served)
            collect(catalog.files)
        report.of_generation(served)
    show(report, settings)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(run_job("nightly", night))
