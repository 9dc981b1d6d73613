import numpy as np
import pyarrow as pa
import pytest
from blake3 import blake3

from faceindex.errors import DamagedError, ModelMismatchError
from faceindex.tables import (
    embedding_model,
    face_id,
    faces_tables,
    from_float16_column,
    from_id_column,
    photo_results,
    photos_table,
    require_model,
    to_float16_column,
    to_id_column,
)
from faceindex.types import Detections, ImageFacts, ModelId, PhotoFaces, PhotoRef, PhotoResult, PhotoState

MODEL = ModelId("demo@0123456789ab")


def result_with_faces(boxes: list[list[float]], photo_id: bytes = 16 * b"p") -> PhotoResult:
    count = len(boxes)
    detections = Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.arange(10 * count, dtype=np.float32).reshape(-1, 5, 2),
        np.linspace(1, 0.9, count, dtype=np.float32),
    )
    vectors = np.eye(max(count, 1), 4, dtype=np.float32)[:count]
    crops = [b"jpeg%d" % index for index in range(count)]
    faces = PhotoFaces(detections, np.full(count, 0.5, np.float32), vectors, crops)
    image = ImageFacts("JPEG", 640, 480, 6, "2020-02-02T12:00:00", "Nikon D70")
    ref = PhotoRef(b"/photos/caf\xe9.jpg", 1234, 5678)
    return PhotoResult(ref, PhotoState.OK, "", photo_id, image, count, faces)


def test_photo_rows_come_back_as_the_results_they_were_made_of() -> None:
    done = result_with_faces([[0, 0, 10, 10]])
    failed = PhotoResult(PhotoRef(b"/photos/broken.jpg", 1, 2), PhotoState.DENIED, "permission denied")

    [first, second] = photo_results(photos_table([done, failed]))

    assert (first.ref, first.state, first.photo_id, first.image, first.face_count) == (
        done.ref,
        done.state,
        done.photo_id,
        done.image,
        1,
    )
    assert second == failed


def test_faces_are_stored_with_their_photo_box_and_vector() -> None:
    result = result_with_faces([[1.25, 2, 30, 40], [50, 60, 70, 80]])

    faces, crops = faces_tables([result], 4, MODEL)

    assert faces["face_id"].to_pylist() == [face_id(16 * b"p", box) for box in result.faces.detections.boxes]  # type: ignore[union-attr]
    assert set(faces["photo_id"].to_pylist()) == {16 * b"p"}
    assert faces["x0"].to_pylist() == [1.25, 50]
    assert faces["landmarks"].to_pylist()[1] == [float(value) for value in range(10, 20)]
    assert np.array_equal(from_float16_column(faces["embedding"]), np.eye(2, 4, dtype=np.float16))
    assert embedding_model(faces.schema) == MODEL
    assert crops["face_id"].to_pylist() == faces["face_id"].to_pylist()
    assert crops["jpeg"].to_pylist() == [b"jpeg0", b"jpeg1"]


def test_two_boxes_that_round_to_one_are_one_face() -> None:
    faces, _ = faces_tables([result_with_faces([[1.1, 2, 30, 40], [0.9, 2, 30, 40]])], 4, MODEL)

    assert len(faces) == 1


def test_a_batch_without_faces_gives_empty_tables_of_the_same_schema() -> None:
    some, _ = faces_tables([result_with_faces([[0, 0, 9, 9]])], 4, MODEL)
    none, crops = faces_tables([], 4, MODEL)

    assert none.schema.equals(some.schema, check_metadata=True)
    assert (len(none), len(crops)) == (0, 0)


def test_a_face_id_is_the_hash_of_photo_and_rounded_box() -> None:
    box = np.array([-1.6, 2.4, 30.5, 41.5], np.float32)
    numbers = b"".join(value.to_bytes(4, "little", signed=True) for value in (-2, 2, 30, 42))

    assert face_id(16 * b"p", box) == blake3(16 * b"p" + numbers).digest()[:16]


def test_vectors_and_ids_come_back_from_slices_and_chunks() -> None:
    vectors = np.random.default_rng(0).random((7, 4), np.float32)
    ids = np.frombuffer(bytes(range(112)), "V16")
    table = pa.table({"id": to_id_column(ids), "vector": to_float16_column(vectors)})
    chunked = pa.concat_tables([table.slice(1, 2), table.slice(4, 3)])

    assert np.array_equal(from_float16_column(chunked["vector"]), vectors[[1, 2, 4, 5, 6]].astype(np.float16))
    assert from_id_column(chunked["id"]).tolist() == ids[[1, 2, 4, 5, 6]].tolist()


def test_a_null_where_none_may_be_is_damage() -> None:
    with pytest.raises(DamagedError, match="nulls"):
        from_id_column(pa.array([None, 16 * b"a"], pa.binary(16)))


def test_two_models_are_never_mixed() -> None:
    with pytest.raises(ModelMismatchError, match="a@1 wanted, got a@2"):
        require_model(ModelId("a@1"), ModelId("a@2"))
