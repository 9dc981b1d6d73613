import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceindex.errors import ConfigError
from faceindex.vector_files import BATCH_ROWS, VectorFile

VECTORS = np.random.default_rng(0).normal(size=(BATCH_ROWS + 7, 8))
UNIT = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)


def saved(folder: Path, array: Any, name: str = "v.npy") -> str:
    np.save(folder / name, array)
    return str(folder / name)


@pytest.mark.parametrize("dtype", ["f2", "<f4", ">f4", "f8"])
def test_vectors_of_any_floats_come_in_batches_in_order_and_of_unit_length(tmp_path: Path, dtype: str) -> None:
    file = VectorFile(saved(tmp_path, (3 * VECTORS).astype(dtype)), 8)

    batches = list(file.batches())

    assert len(file) == len(VECTORS)
    assert [batch.start for batch in batches] == [0, BATCH_ROWS]
    rows = np.concatenate([batch.vectors for batch in batches])
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, UNIT, atol=1e-3 if dtype == "f2" else 1e-6)
    assert file.renormalised


def test_what_float16_makes_of_unit_length_is_no_reason_for_a_notice(tmp_path: Path) -> None:
    file = VectorFile(saved(tmp_path, UNIT.astype("f2")), 8)

    list(file.batches())

    assert not file.renormalised


def test_npz_gives_its_vectors_and_one_vector_may_stand_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "named.npz", vectors=UNIT[:3], other=np.zeros(2))
    np.savez(tmp_path / "only.npz", UNIT[:2])

    counts = [len(VectorFile(str(tmp_path / name), 8)) for name in ("named.npz", "only.npz")]

    assert counts == [3, 2]
    assert len(VectorFile(saved(tmp_path, UNIT[0]), 8)) == 1


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (UNIT[:, :5], r"an array of shape \(n, 8\) wanted, got \(4103, 5\)"),
        (UNIT[None], r"an array of shape \(n, 8\) wanted"),
        (np.float32(1), r"an array of shape \(n, 8\) wanted, got \(\)"),
        (np.empty((0, 8), np.float32), "holds no vectors"),
        (np.ones((3, 8), np.int32), "floating-point vectors wanted, got int32"),
        (np.array([{}], object), "holds Python objects, which are never loaded"),
    ],
)
def test_other_arrays_are_refused_in_one_line(tmp_path: Path, array: Any, message: str) -> None:
    path = saved(tmp_path, array)

    with pytest.raises(ConfigError, match=message) as caught:
        VectorFile(path, 8)

    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_numpys_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 and no more")
    np.savez(tmp_path / "two.npz", a=UNIT, b=UNIT)

    for name, message in {
        "text.npy": "holds no array that can be read",
        "empty.npy": "holds no array that can be read",
        "cut.npz": "holds no array that can be read",
        "two.npz": "holds a, b; an array called `vectors` is wanted",
        "none.npy": "does not exist",
    }.items():
        with pytest.raises(ConfigError, match=message):
            VectorFile(str(tmp_path / name), 8)


@pytest.mark.parametrize(("value", "message"), [(np.nan, "holds NaN"), (np.inf, "holds NaN"), (0.0, "is zero")])
def test_a_row_that_has_no_direction_is_named(tmp_path: Path, value: float, message: str) -> None:
    vectors = UNIT.copy()
    vectors[BATCH_ROWS + 3] = value
    file = VectorFile(saved(tmp_path, vectors), 8)

    with pytest.raises(ConfigError, match=f"row {BATCH_ROWS + 3} {message}"):
        list(file.batches())


def test_vectors_of_any_length_are_scaled(tmp_path: Path) -> None:
    vectors = UNIT[:4].astype(np.float64) * np.array([[1e-200], [1e200], [3.0], [1.0]])
    file = VectorFile(saved(tmp_path, vectors), 8)

    [rows] = file.batches()

    np.testing.assert_allclose(rows.vectors, UNIT[:4], atol=1e-6)
    assert file.renormalised


@pytest.mark.parametrize(
    ("column", "message"),
    [
        # As many numbers in all as two vectors have.
        (pa.array([[1.0] * 7, [1.0] * 9], pa.list_(pa.float32())), "vectors of one length wanted"),
        (pa.array([[1.0] * 8, None], pa.list_(pa.float32())), "vectors of one length wanted"),
        (pa.array(["a", "b"]), "lists of floats wanted in column vectors, got string"),
    ],
)
def test_columns_that_are_no_vectors_are_refused_in_one_line(tmp_path: Path, column: pa.Array, message: str) -> None:
    pq.write_table(pa.table({"vectors": column}), tmp_path / "bad.parquet")

    with pytest.raises(ConfigError, match=message):
        list(VectorFile(str(tmp_path / "bad.parquet"), None).batches())


def bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """Return files that cannot be used, and what is said of them."""
    objects = np.array([{"a": 1}] * 7, object)
    rows = UNIT[:7].astype(np.float32)
    ids = np.array([f"id {row}" for row in range(7)])

    def npz(name: str, **arrays: Any) -> Path:
        np.savez(folder / name, **arrays)
        return folder / name

    def parquet(name: str, **columns: Any) -> Path:
        pq.write_table(pa.table(columns), folder / name)
        return folder / name

    np.save(folder / "whole.npy", rows)
    (folder / "cut.npy").write_bytes((folder / "whole.npy").read_bytes()[:-100])
    (folder / "header.npy").write_bytes((folder / "whole.npy").read_bytes()[:20])
    (folder / "cut.npz").write_bytes(npz("whole.npz", vectors=rows).read_bytes()[:300])
    flipped = bytearray((folder / "whole.npz").read_bytes())
    flipped[250] ^= 1
    (folder / "flipped.npz").write_bytes(flipped)
    with zipfile.ZipFile(folder / "members.npz", "w") as archive:
        archive.writestr("vectors.npy", "no array")
    whole = parquet("whole.parquet", vectors=list(rows)).read_bytes()
    (folder / "cut.parquet").write_bytes(whole[:90])
    # The second batch has vectors of another length than the first.
    late = pa.array([[1.0, 2.0]] * BATCH_ROWS + [[1.0]], pa.list_(pa.float32()))
    unread = "holds no array that can be read"
    return {
        "no numbers": (npz("numbers.npz", vectors=rows[:, :0]), "holds no vectors"),
        "no rows of Parquet": (parquet("rows.parquet", vectors=pa.array([], pa.list_(pa.float32()))), "no vectors"),
        "cut": (folder / "cut.npy", unread),
        "header": (folder / "header.npy", unread),
        "cut archive": (folder / "cut.npz", unread),
        "archive with another byte": (folder / "flipped.npz", unread),
        "member that is no array": (folder / "members.npz", unread),
        "objects in an archive": (npz("objects.npz", vectors=rows, ids=objects), "holds Python objects"),
        "too few ids": (npz("ids.npz", vectors=rows, ids=ids[:-1]), "7 ids wanted, one for each vector"),
        "ids of two columns": (npz("ids2.npz", vectors=rows, ids=np.array([ids, ids])), "7 ids wanted"),
        "no column": (parquet("column.parquet", x=[1, 2], y=[1, 2]), "holds x, y; a column called `vectors`"),
        "a late vector of another length": (parquet("late.parquet", vectors=late), "vectors of one length wanted"),
        "whole numbers": (parquet("whole_numbers.parquet", vectors=[[1, 2], [3, 4]]), "floating-point vectors wanted"),
        "cut Parquet": (folder / "cut.parquet", unread),
    }


def test_a_file_that_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    for name, (path, message) in bad_files(tmp_path).items():
        with pytest.raises(ConfigError) as caught:
            list(VectorFile(str(path), None).batches())
        assert message in str(caught.value), name
        assert str(path) in str(caught.value), name
        assert "\n" not in str(caught.value), name


@pytest.mark.parametrize("kind", ["npz", "npz compressed", "npz by columns", "parquet lists", "parquet fixed lists"])
def test_every_format_gives_the_same_rows(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    count = BATCH_ROWS + 5
    rows = UNIT[:count].astype(np.float32)
    columns = {
        "ids": [f"id {row}" for row in range(count)],
        "people": ["Émile" if row % 3 else "" for row in range(count)],
        "dates": ["2020-01-02" if row % 2 else "" for row in range(count)],
    }
    if kind.startswith("npz"):
        save = np.savez_compressed if "compressed" in kind else np.savez
        vectors = np.asfortranarray(rows) if "columns" in kind else rows
        with path.open("wb") as file:
            save(file, vectors=vectors, **{name: np.array(cells) for name, cells in columns.items()})
    else:
        fixed = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 8)
        nulls = {name: [cell or None for cell in cells] for name, cells in columns.items()}
        pq.write_table(
            pa.table({"vectors": fixed if "fixed" in kind else fixed.cast(pa.list_(pa.float32())), **nulls}), path
        )

    found = list(VectorFile(str(path), 8).batches())

    assert [(batch.start, len(batch.vectors)) for batch in found] == [(0, BATCH_ROWS), (BATCH_ROWS, 5)]
    np.testing.assert_allclose(np.concatenate([batch.vectors for batch in found]), rows, atol=1e-6)
    for name, cells in columns.items():
        assert [cell for batch in found for cell in getattr(batch, name)] == [cell or None for cell in cells]


def test_ids_and_dates_may_be_numbers_and_times(tmp_path: Path) -> None:
    days = np.datetime64("2020-01-01") + np.arange(3)
    days[1] = np.datetime64("NaT")
    np.savez(tmp_path / "a.npz", vectors=UNIT[:3], ids=np.arange(3), dates=days)
    ids = pa.array([bytes([row]) * 16 for row in range(3)], pa.binary(16))
    pq.write_table(
        pa.table({"embedding": list(UNIT[:3]), "face_id": ids, "captured_at": pa.array(days.astype("M8[us]"))}),
        tmp_path / "a.parquet",
    )

    [numpy] = VectorFile(str(tmp_path / "a.npz"), 8).batches()
    [parquet] = VectorFile(str(tmp_path / "a.parquet"), 8).batches()

    assert numpy.ids == ["0", "1", "2"]
    assert parquet.ids == ["00" * 16, "01" * 16, "02" * 16]
    assert numpy.dates == parquet.dates == ["2020-01-01T00:00:00", None, "2020-01-03T00:00:00"]


@pytest.mark.parametrize("name", ["a.npz", "a.parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    rows = np.random.default_rng(0).normal(size=(40 * BATCH_ROWS, 64)).astype(np.float32)
    if name == "a.npz":
        np.savez(tmp_path / name, vectors=rows)
    else:
        fixed = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 64)
        pq.write_table(pa.table({"vectors": fixed}), tmp_path / name)
    size, most = rows.nbytes, 0
    del rows
    before = pa.total_allocated_bytes()

    tracemalloc.start()
    for _ in VectorFile(str(tmp_path / name), 64).batches():
        most = max(most, pa.total_allocated_bytes() - before)
    most += tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert most < 0.4 * size
