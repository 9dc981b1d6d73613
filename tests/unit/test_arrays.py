import numpy as np
import pytest

from faceindex.arrays import hex_id, ids_array, l2_normalize, require
from faceindex.errors import ShapeError


def test_require_names_what_was_wanted_and_what_came() -> None:
    with pytest.raises(ShapeError, match=r"vectors must be float32 \(2, n\), got float64 \(3, 5\)"):
        require("vectors", np.zeros((3, 5)), np.float32, (2, None))


def test_require_takes_any_length_where_none_is_given() -> None:
    require("boxes", np.zeros((7, 4), np.float32), np.float32, (None, 4))


def test_normalised_rows_have_unit_length_and_their_direction() -> None:
    rows = l2_normalize(np.array([[3.0, 4.0], [0.0, -5.0]]))

    assert rows.dtype == np.float32
    assert np.allclose(rows, [[0.6, 0.8], [0.0, -1.0]])


@pytest.mark.parametrize("row", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_a_row_without_direction_is_refused_by_its_number(row: list[float]) -> None:
    with pytest.raises(ShapeError, match="row 1 has"):
        l2_normalize(np.array([[1.0, 0.0], row]))


def test_ids_keep_their_trailing_zeros() -> None:
    ids = ids_array([b"\x01" + 15 * b"\x00", 16 * b"\xff"])

    assert [hex_id(value) for value in ids] == ["01" + 30 * "0", 32 * "f"]
