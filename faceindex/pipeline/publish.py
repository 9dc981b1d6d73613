"""From finished batches to a served generation: the view of live photos, the gallery over live faces, the manifest."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from faceindex import __version__
from faceindex.catalog import generations
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.checksums import write_entry
from faceindex.catalog.generations import BatchFiles, Generation, seal_json
from faceindex.catalog.layout import plan_path, report_path
from faceindex.catalog.live import open_view, write_view
from faceindex.catalog.parquet import read_table
from faceindex.pipeline.batches import Known
from faceindex.pipeline.plans import Plan
from faceindex.pipeline.report import RunReport
from faceindex.tables import PHOTOS_VIEW, embedding_model, photo_results
from faceindex.types import PhotoState


def known_photos(catalog: Catalog, served: Generation | None) -> dict[bytes, Known]:
    """Return what the served generation says of every live photo, by path."""
    if served is None:
        return {}
    view = open_view(catalog.files, served)
    columns = (view[name].to_pylist() for name in ("path", "size_bytes", "mtime_ns", "state"))
    return {path: Known(size, mtime, PhotoState(state)) for path, size, mtime, state in zip(*columns, strict=True)}
