from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from faceindex.arrays import ids_array
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.live import BATCH, live_faces, open_view, read_tombstones, rows_of, write_tombstones, write_view
from faceindex.config import Settings
from faceindex.errors import DamagedError, ModelMismatchError, ShapeError
from faceindex.tables import PHOTOS_VIEW, faces_tables
from faceindex.types import ModelId
from tests.support.catalogs import (
    DIMENSION,
    MODEL,
    make_generation,
    photo_result,
    photo_results,
    view_rows,
    write_batch,
)


@pytest.fixture
def catalog(root: str) -> Catalog:
    return Catalog.create(root, Settings())


def test_the_view_is_sorted_by_photo_and_path_with_unread_photos_last(catalog: Catalog) -> None:
    files = catalog.files
    copies = [photo_result(1, b"/z/copy.jpg"), photo_result(1, b"/a/copy.jpg")]
    batches = {"aa": write_batch(files, "aa", photo_results(0, 30)), "bb": write_batch(files, "bb", copies)}
    rows = view_rows(files, batches)
    shuffled = rows.take(np.random.default_rng(3).permutation(len(rows)))
    generation = make_generation(files, batches, None)

    view = open_view(files, replace(generation, view=write_view(files, 9, shuffled)))

    assert view.schema.equals(PHOTOS_VIEW, check_metadata=True)
    keys = [(row["photo_id"] is None, row["photo_id"] or b"", row["path"]) for row in view.to_pylist()]
    assert keys == sorted(keys)
    assert sorted(view.to_pylist(), key=str) == sorted(rows.to_pylist(), key=str)
    assert view.equals(open_view(files, generation)), "the order of rows depends on the order they came in"


def test_a_photo_is_found_by_its_id_and_an_unknown_one_is_not(catalog: Catalog) -> None:
    batches = {"aa": write_batch(catalog.files, "aa", photo_results(0, 40))}
    view = open_view(catalog.files, make_generation(catalog.files, batches, None))
    known = [photo for photo in view["photo_id"].to_pylist() if photo is not None]
    unknown = [bytes(16), b"\xff" * 16, known[3][:15] + b"\0", known[3][:15] + b"\xff"]

    rows = rows_of(view, ids_array(known[::-1] + unknown))

    assert rows.dtype == np.int64
    assert rows.tolist() == [*range(len(known) - 1, -1, -1), -1, -1, -1, -1]


def test_no_photo_is_found_in_an_empty_view(catalog: Catalog) -> None:
    view = open_view(catalog.files, make_generation(catalog.files, {}, None))

    assert rows_of(view, ids_array([b"x" * 16])).tolist() == [-1]
    assert rows_of(view, ids_array([])).tolist() == []
    with pytest.raises(ShapeError, match="photo_ids must be"):
        rows_of(view, np.zeros(3, np.uint8))


def test_live_faces_are_those_of_live_photos_each_once_by_id(catalog: Catalog) -> None:
    files = catalog.files
    results = photo_results(0, 30)
    copies = [photo_result(7, b"/copy/of/7.jpg"), photo_result(8, b"/copy/of/8.jpg")]
    batches = {"bb": write_batch(files, "bb", copies), "aa": write_batch(files, "aa", results)}
    rows = view_rows(files, batches)
    gone = {photo_result(number).photo_id for number in (1, 2, 8)}
    alive = rows.filter(pa.array([photo not in gone for photo in rows["photo_id"].to_pylist()]))
    generation = replace(make_generation(files, batches, None), view=write_view(files, 5, alive))

    faces = live_faces(files, generation)

    expected, _ = faces_tables([one for one in results if one.photo_id not in gone], DIMENSION, MODEL)
    assert faces.equals(expected.sort_by("face_id").combine_chunks())
    assert len(set(faces["face_id"].to_pylist())) == len(faces) > 10


def test_faces_are_read_again_from_their_own_batches_only(catalog: Catalog) -> None:
    files = catalog.files
    batches = {name: write_batch(files, name, photo_results(100 * n, 30)) for n, name in enumerate(("bb", "aa", "cc"))}
    generation = make_generation(files, batches, None)
    found = live_faces(files, generation, ["face_id", BATCH])
    numbers = found[BATCH].to_numpy()
    wanted = ids_array(found.filter(pa.array(numbers == 1))["face_id"].to_pylist())
    whole = live_faces(files, generation, among=wanted)
    for name in ("aa", "cc"):
        files.delete(batches[name].faces.path)

    assert set(numbers) == {0, 1, 2}
    assert live_faces(files, generation, among=wanted, batches=np.array([1], np.int32)).equals(whole)
    assert len(whole) == len(wanted) > 10


def test_columns_come_as_asked_and_in_that_order(catalog: Catalog) -> None:
    batches = {"aa": write_batch(catalog.files, "aa", photo_results(0, 30))}
    generation = make_generation(catalog.files, batches, None)
    whole = live_faces(catalog.files, generation)

    for columns in (["embedding"], ["x0", "face_id"], ["quality", "photo_id", "embedding"]):
        assert live_faces(catalog.files, generation, columns).equals(whole.select(columns))


def test_no_photos_give_no_faces_with_the_right_columns(catalog: Catalog) -> None:
    generation = make_generation(catalog.files, {}, None)

    faces = live_faces(catalog.files, generation)

    assert faces.num_rows == 0
    assert faces.schema.field("embedding").type == pa.binary(2 * DIMENSION)


def test_embeddings_of_another_model_never_join(catalog: Catalog) -> None:
    batches = {"aa": write_batch(catalog.files, "aa", photo_results(0, 30))}
    generation = replace(make_generation(catalog.files, batches, None), model=ModelId("other@ba9876543210"))

    with pytest.raises(ModelMismatchError, match="other@ba9876543210 wanted, got demo@0123456789ab"):
        live_faces(catalog.files, generation, ["embedding"])


def test_a_damaged_faces_file_is_refused(catalog: Catalog) -> None:
    batches = {"aa": write_batch(catalog.files, "aa", photo_results(0, 30))}
    generation = make_generation(catalog.files, batches, None)
    data = catalog.files.read(batches["aa"].faces.path)
    catalog.files.write(batches["aa"].faces.path, data[:-10] + bytes([data[-10] ^ 1]) + data[-9:])

    with pytest.raises(DamagedError, match=r"faces/aa/aa\.parquet is damaged"):
        live_faces(catalog.files, generation, ["face_id"])


def test_tombstones_come_back_sorted(catalog: Catalog) -> None:
    generation = make_generation(catalog.files, {}, None)
    ids = [b"c" * 16, b"a" * 15 + b"\0", b"b" * 16]
    buried = replace(generation, tombstones=write_tombstones(catalog.files, 4, ids_array(ids)))

    assert [bytes(one) for one in read_tombstones(catalog.files, buried)] == sorted(ids)
    assert read_tombstones(catalog.files, buried).dtype == np.dtype("V16")
    assert len(read_tombstones(catalog.files, replace(generation, tombstones=None))) == 0
