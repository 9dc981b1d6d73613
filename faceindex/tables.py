"""Arrow schemas of everything the catalog stores as a table; the only module that names columns.

`schemas/*.v1.json` publish the same fields for others, kept equal by a contract test.
Rows are built and read here and in `catalog`; no other module spells a column's type.
"""

from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from blake3 import blake3
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES
from faceindex.errors import DamagedError, ModelMismatchError
from faceindex.types import ImageFacts, ModelId, PhotoFaces, PhotoRef, PhotoResult, PhotoState

ID = pa.binary(ID_BYTES)

PHOTOS = pa.schema(
    [
        pa.field("path", pa.binary(), nullable=False),
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("mtime_ns", pa.int64(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("photo_id", ID),
        pa.field("format", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("orientation", pa.int8()),
        pa.field("captured_at", pa.string()),
        pa.field("camera", pa.string()),
        pa.field("face_count", pa.int32(), nullable=False),
        pa.field("person", pa.string()),
    ],
    metadata={"faceindex.table": "photos.v1"},
)
"""One row per photo seen, whatever became of it. photo_id is null when the bytes could not be read."""

IMPORTED = b"import:"
"""How the paths of embeddings begin that were made elsewhere; they are of no photo on any disk."""

PHOTOS_VIEW = pa.schema(
    [
        PHOTOS.field("photo_id"),
        PHOTOS.field("path"),
        PHOTOS.field("size_bytes"),
        PHOTOS.field("mtime_ns"),
        PHOTOS.field("state"),
        PHOTOS.field("detail"),
        PHOTOS.field("width"),
        PHOTOS.field("height"),
        PHOTOS.field("captured_at"),
        PHOTOS.field("face_count"),
        PHOTOS.field("person"),
        pa.field("batch", pa.string(), nullable=False),
    ],
    metadata={"faceindex.table": "photos_view.v1"},
)
"""The photos that are in the archive now: one row per path, by photo id and path, photos never read last."""

MISSING = pa.schema(
    [*PHOTOS_VIEW, pa.field("since", pa.int64(), nullable=False)], metadata={"faceindex.table": "missing.v1"}
)
"""Photos that are gone, and since when, in seconds since 1970: rows as they last stood in the view."""

PLAN = pa.schema(
    [
        pa.field("batch", pa.string()),
        pa.field("path", pa.binary(), nullable=False),
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("mtime_ns", pa.int64(), nullable=False),
    ],
    metadata={"faceindex.table": "plan.v1"},
)
"""What a run will do: photos with the batch they are done in; batch is null for photos that are gone."""

FACE_FIELDS = [
    pa.field("face_id", ID, nullable=False),
    pa.field("photo_id", ID, nullable=False),
    pa.field("x0", pa.float32(), nullable=False),
    pa.field("y0", pa.float32(), nullable=False),
    pa.field("x1", pa.float32(), nullable=False),
    pa.field("y1", pa.float32(), nullable=False),
    pa.field("confidence", pa.float32(), nullable=False),
    pa.field("quality", pa.float32(), nullable=False),
]

FACE_ROWS = pa.schema(FACE_FIELDS, metadata={"faceindex.table": "face_rows.v1"})
"""What a shard keeps of each of its faces, in the order of its vectors (faces.arrow)."""

CLUSTERS = pa.schema(
    [pa.field("face_id", ID, nullable=False), pa.field("cluster", pa.int64(), nullable=False)],
    metadata={"faceindex.table": "clusters.v1"},
)
"""The faces that were clustered, by face id; UNCLUSTERED for a face by itself."""

UNCLUSTERED = 0

LINKS = pa.schema(
    [
        pa.field("face_id", ID, nullable=False),
        pa.field("other_id", ID, nullable=False),
        pa.field("log_odds", pa.float32(), nullable=False),
        pa.field("inside", pa.bool_(), nullable=False),
    ],
    metadata={"faceindex.table": "links.v1"},
)
"""How likely faces of different clusters are one person, and the parts of clusters that may be two people's."""

CROPS = pa.schema(
    [pa.field("face_id", ID, nullable=False), pa.field("jpeg", pa.binary(), nullable=False)],
    metadata={"faceindex.table": "crops.v1"},
)
"""A small JPEG of each face, for labelling pages and sheets."""


def faces_schema(dimension: int, model: ModelId) -> pa.Schema:
    """Return the schema of `faces`: FACE_FIELDS, landmarks, and the embedding as little-endian float16 bytes.

    A fixed-size binary column reads some thirty times faster than a fixed-size list of the same numbers;
    dimension, dtype and model stand in the field's metadata so that other readers can view it.
    """
    embedding = pa.field(
        "embedding",
        pa.binary(2 * dimension),
        nullable=False,
        metadata={
            "faceindex.dimension": str(dimension),
            "faceindex.dtype": "float16",
            "faceindex.model": str(model),
        },
    )
    # "element" is what Parquet calls it; under another name the column would come back changed.
    landmarks = pa.field("landmarks", pa.list_(pa.field("element", pa.float32()), 10), nullable=False)
    return pa.schema([*FACE_FIELDS, landmarks, embedding], metadata={"faceindex.table": "faces.v1"})


def completed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the columns of a schema; null where a table lacks one that was added after it was written."""
    for field in schema:
        if field.nullable and field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(schema.names).cast(schema)


def embedding_model(schema: pa.Schema) -> ModelId:
    """Return the model whose embeddings a `faces` table holds."""
    metadata = schema.field("embedding").metadata or {}
    if b"faceindex.model" not in metadata:
        raise DamagedError("a faces table has no model id in its embedding column; run `faceindex check`")
    return ModelId(metadata[b"faceindex.model"].decode())


def require_model(wanted: ModelId, got: ModelId) -> None:
    """Raise `ModelMismatchError` unless both are the same model."""
    if wanted != got:
        raise ModelMismatchError(
            f"embeddings of {wanted} wanted, got {got}; index the photos again into a new catalog to change models"
        )


def to_float16_column(vectors: NDArray[np.float32]) -> pa.Array:
    """Return float32 (n, d) vectors as a fixed-size binary column of little-endian float16."""
    halves = np.ascontiguousarray(vectors, dtype="<f2")
    buffers = [None, pa.py_buffer(halves)]
    return pa.Array.from_buffers(pa.binary(2 * vectors.shape[1]), len(halves), buffers)


def from_float16_column(column: pa.Array | pa.ChunkedArray) -> NDArray[np.float16]:
    """Return an embedding column as a float16 (n, d) array, without a copy when it is one chunk."""
    return _fixed_width(column, "<f2")


def to_id_column(ids: NDArray[np.void]) -> pa.Array:
    """Return V16 ids as a fixed-size binary column."""
    return pa.Array.from_buffers(ID, len(ids), [None, pa.py_buffer(np.ascontiguousarray(ids))])


def from_id_column(column: pa.Array | pa.ChunkedArray) -> NDArray[np.void]:
    """Return an id column without nulls as a V16 (n,) array."""
    return _fixed_width(column, f"V{ID_BYTES}").reshape(-1)


def _fixed_width(column: pa.Array | pa.ChunkedArray, dtype: str) -> NDArray[Any]:
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    width = column.type.byte_width
    parts = []
    for chunk in chunks:
        if chunk.null_count:
            raise DamagedError(f"a column of {column.type} holds nulls where none may be; run `faceindex check`")
        buffer = chunk.buffers()[1]
        data = np.frombuffer(buffer or b"", np.uint8, len(chunk) * width, chunk.offset * width if buffer else 0)
        parts.append(data)
    joined = parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.uint8), *parts])
    return joined.view(dtype).reshape(len(column), width // np.dtype(dtype).itemsize)


def photos_table(results: Sequence[PhotoResult]) -> pa.Table:
    """Return one row of `photos` for each result, in order."""
    rows = [
        {
            "path": result.ref.path,
            "size_bytes": result.ref.size_bytes,
            "mtime_ns": result.ref.mtime_ns,
            "state": str(result.state),
            "detail": result.detail,
            "photo_id": result.photo_id,
            "format": result.image.format if result.image else None,
            "width": result.image.width if result.image else None,
            "height": result.image.height if result.image else None,
            "orientation": result.image.orientation if result.image else None,
            "captured_at": result.image.captured_at if result.image else None,
            "camera": result.image.camera if result.image else None,
            "face_count": result.face_count,
            "person": None,
        }
        for result in results
    ]
    return pa.Table.from_pylist(rows, schema=PHOTOS)


def face_id(photo_id: bytes, box: NDArray[np.float32]) -> bytes:
    """Return the id of a face: the first 16 bytes of BLAKE3 over its photo's id and its box rounded to pixels."""
    rounded = np.rint(box).astype("<i4").tobytes()
    return blake3(photo_id + rounded).digest(ID_BYTES)


def without_erased(results: Sequence[PhotoResult], erased: Container[bytes]) -> list[PhotoResult]:
    """Return what became of photos without the faces, by their ids, that are not to be stored again."""
    kept = [_without_erased(result, erased) for result in results]
    whole = {result.photo_id: result for result in kept if result.faces is not None}
    # Copies, which came without faces, are as the photo that was read.
    return [
        replace(result, state=whole[result.photo_id].state, face_count=whole[result.photo_id].face_count)
        if result.faces is None and result.photo_id in whole
        else result
        for result in kept
    ]


def _without_erased(result: PhotoResult, erased: Container[bytes]) -> PhotoResult:
    faces, photo = result.faces, result.photo_id
    if faces is None or photo is None:
        return result
    kept = np.array([face_id(photo, box) not in erased for box in faces.detections.boxes], bool)
    if kept.all():
        return result
    crops = [crop for crop, keep in zip(faces.crops, kept, strict=True) if keep] if faces.crops else ()
    left = PhotoFaces(faces.detections.chosen(kept), faces.qualities[kept], faces.vectors[kept], crops)
    state = PhotoState.OK if kept.any() else PhotoState.NO_FACE
    return replace(result, state=state, face_count=int(kept.sum()), faces=left)


def faces_tables(results: Sequence[PhotoResult], dimension: int, model: ModelId) -> tuple[pa.Table, pa.Table]:
    """Return the `faces` and `crops` tables of a batch; two faces with one id (the same rounded box) count once."""
    rows: dict[bytes, tuple[bytes, int, PhotoFaces]] = {}
    for result in results:
        if result.faces is not None and result.photo_id is not None:
            for index, box in enumerate(result.faces.detections.boxes):
                rows.setdefault(face_id(result.photo_id, box), (result.photo_id, index, result.faces))
    boxes = np.array([faces.detections.boxes[i] for _, i, faces in rows.values()], np.float32).reshape(-1, 4)
    landmarks = np.array([faces.detections.landmarks[i] for _, i, faces in rows.values()], np.float32).reshape(-1, 10)
    vectors = np.array([faces.vectors[i] for _, i, faces in rows.values()], np.float32).reshape(-1, dimension)
    schema = faces_schema(dimension, model)
    faces_table = pa.table(
        [
            pa.array(list(rows), ID),
            pa.array([photo for photo, _, _ in rows.values()], ID),
            *(pa.array(boxes[:, edge]) for edge in range(4)),
            pa.array([faces.detections.confidences[i] for _, i, faces in rows.values()], pa.float32()),
            pa.array([faces.qualities[i] for _, i, faces in rows.values()], pa.float32()),
            pa.FixedSizeListArray.from_arrays(pa.array(landmarks.reshape(-1)), 10),
            to_float16_column(vectors),
        ],
        schema=schema,
    )
    crops = [(identity, faces.crops[i]) for identity, (_, i, faces) in rows.items() if faces.crops]
    crops_table = pa.table(
        [pa.array([c[0] for c in crops], ID), pa.array([c[1] for c in crops], pa.binary())], schema=CROPS
    )
    return faces_table, crops_table


def photo_results(table: pa.Table) -> list[PhotoResult]:
    """Return the rows of `photos` as results, without their faces."""
    return [
        PhotoResult(
            ref=PhotoRef(row["path"], row["size_bytes"], row["mtime_ns"]),
            state=PhotoState(row["state"]),
            detail=row["detail"],
            photo_id=row["photo_id"],
            image=ImageFacts(
                row["format"], row["width"], row["height"], row["orientation"], row["captured_at"], row["camera"]
            )
            if row["format"] is not None
            else None,
            face_count=row["face_count"],
        )
        for row in table.to_pylist()
    ]


def map_arrow(path: Path) -> pa.Table:
    """Return the table in an Arrow file, memory-mapped; by numpy, because Arrow takes no path that is not UTF-8."""
    return pa.ipc.open_file(pa.py_buffer(np.memmap(path, np.uint8, "r"))).read_all()
