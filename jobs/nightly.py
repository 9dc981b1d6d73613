"""One night of an archive: index what is new, cluster who is unknown, and say what happened. For cron or systemd.

    python jobs/nightly.py nightly.toml

nightly.toml says what and where; the table [index] takes the options of `faceindex index` (memory in bytes):

    catalog = "/data/faces"
    photos = ["/photos", "s3://bucket/press"]
    [index]
    scheduler = "tcp://10.0.0.5:8786"

Indexing publishes: shards are built or merged, held against exact search, and thresholds are learnt anew. A night that
was stopped is finished by the next. Exit code as of `faceindex index`: 3 when photos could not be processed.
"""

import argparse
import sys
import tomllib
from pathlib import Path

from faceindex.catalog.catalog import Catalog
from faceindex.errors import ConfigError, FaceIndexError
from faceindex.pipeline.clustering import publish_clusters
from faceindex.pipeline.run import IndexOptions, index_photos


def night(settings: dict[str, object]) -> int:
    """Run one night and print its report; returns the exit code."""
    try:
        catalog, photos = str(settings["catalog"]), [str(root) for root in list(settings["photos"])]  # type: ignore[call-overload]
        options = IndexOptions(**dict(settings.get("index", {})))  # type: ignore[call-overload]
    except (KeyError, TypeError) as error:
        raise ConfigError(
            f"settings of a night need catalog and photos, and know the options of index: {error}"
        ) from error
    report = index_photos(catalog, photos, options)
    states = ", ".join(f"{count:,} {state}" for state, count in sorted(report.photos.items()))
    print(f"{report.embedded:,} photos embedded, {report.unchanged:,} unchanged, {report.removed:,} removed: {states}")
    for row in report.quarantined:
        print(f"{row['state']}: {row['photo']}: {row['detail']}", file=sys.stderr)
    opened = Catalog.open(catalog)
    with opened.lock("jobs/nightly.py"):
        served = opened.current()
        if served is not None and served.face_count:
            found = publish_clusters(opened, served)
            print(f"{found.faces:,} faces in {found.clusters:,} clusters, {found.unclustered:,} by themselves")
            print(f"generation {found.generation.number} is served; the report is {report.path}")
    return 3 if report.quarantined else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", type=Path, help="TOML file")
    try:
        sys.exit(night(tomllib.loads(parser.parse_args().settings.read_text(encoding="utf-8"))))
    except (OSError, tomllib.TOMLDecodeError, FaceIndexError) as error:
        print(f"nightly: {error}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 2))
