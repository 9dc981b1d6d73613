"""Faces for other programs: a file of all of them, with who they are, written part by part."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from faceindex.arrays import l2_normalize
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import Generation
from faceindex.catalog.live import rows_of
from faceindex.errors import ConfigError
from faceindex.gallery.opening import open_gallery
from faceindex.identities.opening import clusters_of
from faceindex.identities.people import EDGES, PeopleOf
from faceindex.outputs import private_file
from faceindex.tables import IMPORTED, from_id_column
from faceindex.wording import visible

PART_ROWS = 65_536

EXPORT = pa.schema(
    [
        pa.field("face_id", pa.string(), nullable=False),
        pa.field("photo", pa.string(), nullable=False),
        pa.field("box", pa.list_(pa.float32(), 4)),
        pa.field("confidence", pa.float32(), nullable=False),
        pa.field("quality", pa.float32(), nullable=False),
        pa.field("captured_at", pa.string()),
        pa.field("cluster", pa.int64()),
        pa.field("person", pa.string()),
    ]
)
"""One row per face. Box: x0, y0, x1, y1 in pixels of the upright photo, null for an imported embedding."""

Write = Callable[[pa.Table], None]


def export_faces(catalog: Catalog, generation: Generation, path: str, *, vectors: bool = False) -> int:
    """Write every live face of a generation to a file, private to its owner; return how many.

    Args:
        catalog: with its ledger, which says who they are now.
        generation: which.
        path: ends in .csv, .jsonl or .parquet; replaced as a whole.
        vectors: whether the embeddings are written too, float32, unit length, in the column `vector`.

    Raises:
        ConfigError: another extension.
        FaceIndexError: the file cannot be written.
    """
    writers = {".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}
    suffix = Path(path).suffix.lower()
    if suffix not in writers:
        raise ConfigError(f"faces are exported to a file ending in {', '.join(writers)}, got {visible(path)}")
    schema = EXPORT
    if vectors:
        schema = EXPORT.append(pa.field("vector", pa.list_(pa.float32(), generation.dimension), nullable=False))
    count = 0
    with private_file(Path(path), "export") as file, writers[suffix](file, schema) as write:
        for part in _parts(catalog, generation, schema):
            write(part)
            count += len(part)
    return count


def _parts(catalog: Catalog, generation: Generation, schema: pa.Schema) -> Iterator[pa.Table]:
    people = PeopleOf(catalog, generation).now()
    clusters = clusters_of(catalog, generation, people)
    cluster_of = {place: cluster for cluster, places in clusters.items() for place in places}
    shards = open_gallery(catalog.files, generation).shards if "vector" in schema.names else []
    starts = np.cumsum([0, *(len(shard.ids) for shard in shards)])
    for first in range(0, len(people.rows.places), PART_ROWS):
        places = people.rows.places[first : first + PART_ROWS]
        rows = people.rows.take(places)
        photos = people.view.select(["path", "captured_at"]).take(
            rows_of(people.view, from_id_column(rows["photo_id"]))
        )
        paths = photos["path"].to_pylist()
        boxes = np.column_stack([rows[edge].to_numpy() for edge in EDGES]).astype(np.float32)
        unseen = np.array([path.startswith(IMPORTED) for path in paths], bool)
        columns = {
            "face_id": [face.hex() for face in rows["face_id"].to_pylist()],
            "photo": [path.decode("utf-8", "backslashreplace") for path in paths],
            "box": pa.FixedSizeListArray.from_arrays(pa.array(boxes.reshape(-1)), 4, mask=pa.array(unseen)),
            "confidence": rows["confidence"],
            "quality": rows["quality"],
            "captured_at": photos["captured_at"],
            "cluster": [cluster_of.get(place) for place in places.tolist()],
            "person": people.name_of(from_id_column(rows["face_id"])),
        }
        if shards:
            found = [
                shard.vectors[places[(places >= start) & (places < end)] - start]
                for shard, start, end in zip(shards, starts, starts[1:], strict=False)
            ]
            columns["vector"] = _lists(l2_normalize(np.concatenate(found)))
        yield pa.table(columns, schema=schema)


def _lists(vectors: NDArray[np.float32]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with the digits that mean something."""
    if row["box"]:
        row["box"] = [round(edge, 1) for edge in row["box"]]
    for name in ("confidence", "quality"):
        row[name] = round(row[name], 4)
    if "vector" in row:
        row["vector"] = [round(number, 6) for number in row["vector"]]
    return row


@contextmanager
def _parquet(file: BinaryIO, schema: pa.Schema) -> Iterator[Write]:
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        yield writer.write_table


@contextmanager
def _json_lines(file: BinaryIO, _: pa.Schema) -> Iterator[Write]:
    def write(part: pa.Table) -> None:
        file.writelines(json.dumps(_short(row), ensure_ascii=False).encode() + b"\n" for row in part.to_pylist())

    yield write


@contextmanager
def _csv(file: BinaryIO, schema: pa.Schema) -> Iterator[Write]:
    """Write lists as JSON in their column, and nothing where there is no value."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.DictWriter(text, schema.names)
    writer.writeheader()

    def write(part: pa.Table) -> None:
        for row in part.to_pylist():
            writer.writerow({k: json.dumps(v) if isinstance(v, list) else v for k, v in _short(row).items()})

    yield write
    text.detach()
