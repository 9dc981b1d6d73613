"""What a catalog and its photos in a bucket cost in requests, as the server counts them.

python -m benchmarks.s3_requests lfw-dev
"""

import argparse
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.report import machine, publish
from benchmarks.s3_server import Server, s3_server

BUCKET = "archive"
BATCH_PHOTOS = 8
SIZES = (32, 128)
FILLERS = 2000
"""Small files that are no photos, as many again as make the listing take several pages."""


def rows_of(server: Server, photos: Sequence[Path], *, fillers: int) -> list[dict[str, Any]]:
    """Return what each operation asked of the server."""
    import s3fs

    import faceindex
    from faceindex.catalog.catalog import Catalog
    from faceindex.config import Settings
    from faceindex.pipeline.run import IndexOptions, index_photos

    bucket = f"{BUCKET}-{len(photos)}-{fillers}"
    store = s3fs.S3FileSystem(use_listings_cache=False)
    store.mkdir(bucket)
    for photo in photos[:-1]:
        store.put(str(photo), f"{bucket}/photos/{photo.parent.name}/{photo.name}")
    store.pipe({f"{bucket}/photos/text/{number % 100}/{number}.jpg": b"no picture" for number in range(fillers)})
    catalog = f"s3://{bucket}/catalog"
    Catalog.create(catalog, replace(Settings(), batch_photos=BATCH_PHOTOS if not fillers else 512))
    rows: list[dict[str, Any]] = []

    def counted(operation: str) -> None:
        asked = server.new_requests()
        count = Counter(method for method, _ in asked)
        own = sum(method != "LIST" and f"/{bucket}/photos/" in path for method, path in asked)
        rows.append(
            {
                "operation": operation,
                "photos": len(photos) + fillers,
                "batches": -(-(len(photos) - 1) // BATCH_PHOTOS) if not fillers else 5,
                **{method: count[method] for method in ("LIST", "HEAD", "GET", "PUT", "DELETE")},
                "all": len(asked),
                "of photos": own,
            }
        )

    def run() -> None:
        index_photos(catalog, [f"s3://{bucket}/photos"], IndexOptions(workers=0))

    server.new_requests()
    run()
    counted("first run")
    run()
    counted("unchanged second run")
    store.put(str(photos[-1]), f"{bucket}/photos/{photos[-1].name}")
    server.new_requests()
    run()
    counted("run with one new photo")
    opened = faceindex.open(catalog)
    counted("open")
    opened.search(str(photos[0]))
    counted("first search")
    opened.search(str(photos[1]))
    counted("second search")
    return rows


def main() -> None:
    """Count, print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    options = parser.parse_args()
    about = machine()
    photos = sorted(options.photos.rglob("*.jpg"))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, s3_server(Path(folder) / "log") as server:
        os.environ.update(server.environment)
        for size in SIZES:
            rows += rows_of(server, photos[:size], fillers=0)
        rows += rows_of(server, photos[: SIZES[0]], fillers=FILLERS)
    publish(
        "s3_requests",
        "Requests to an object store",
        f"Photos of LFW in a folder for each person, batches of {BATCH_PHOTOS}, photos and catalog in one bucket of "
        f"moto's server; in the last rows with {FILLERS:,} more files in 100 folders, and batches of 512. `of photos`: "
        f"requests for one photo, which listings are not. A run holds a lease, renewed every 5 s.",
        rows,
        about,
    )


if __name__ == "__main__":
    main()
