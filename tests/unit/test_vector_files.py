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
    assert [start for start, _ in batches] == [0, BATCH_ROWS]
    rows = np.concatenate([rows for _, rows in batches])
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

    [(_, rows)] = file.batches()

    np.testing.assert_allclose(rows, UNIT[:4], atol=1e-6)
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
        VectorFile(str(tmp_path / "bad.parquet"), 8)
