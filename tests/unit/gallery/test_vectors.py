"""No byte of a vector is used that is not what was written, and none is read before it is wanted."""

from pathlib import Path

import numpy as np
import pytest

from faceindex.errors import DamagedError
from faceindex.gallery import vectors as vectors_module
from faceindex.gallery.vectors import PAGE_BYTES, StoredVectors, page_sums

ROWS = np.random.default_rng(1).standard_normal((200, 100)).astype(np.float16)
"""200 bytes a row: some stand on two pages."""


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path]:
    path, sums = tmp_path / "vectors.npy", tmp_path / "vectors.xxh3"
    np.save(path, ROWS)
    sums.write_bytes(page_sums(memoryview(path.read_bytes())))
    return path, sums


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def first_byte(path: Path) -> int:
    return path.stat().st_size - ROWS.nbytes


def test_rows_masks_and_slices_give_what_was_stored(paths: tuple[Path, Path]):
    mask = np.arange(200) % 3 == 0
    for stored in (StoredVectors(*paths), StoredVectors(paths[0])):
        assert (stored.shape, len(stored), stored.dtype) == ((200, 100), 200, np.float16)
        for rows in (np.array([7, 199, 0, 7]), mask, slice(20, 63), slice(0, 0), slice(190, 999), np.empty(0, int)):
            np.testing.assert_array_equal(stored[rows], ROWS[rows])
        np.testing.assert_array_equal(stored.with_rows(np.array([5, -1, 8]))[[5, 8]], ROWS[[5, 8]])


@pytest.mark.parametrize("at", [*range(128), *range(128, 40_128, 997), PAGE_BYTES - 1, PAGE_BYTES, 40_127])
def test_a_flipped_bit_is_damage_to_the_rows_on_its_page_and_to_no_others(paths: tuple[Path, Path], at: int):
    flip(paths[0], at)
    if at < PAGE_BYTES:  # where the header stands
        with pytest.raises(DamagedError, match=r"vectors\.npy"):
            StoredVectors(*paths)
        return
    stored = StoredVectors(*paths)

    for row in range(200):
        start = first_byte(paths[0]) + 200 * row
        on_page = start // PAGE_BYTES <= at // PAGE_BYTES <= (start + 199) // PAGE_BYTES
        for rows in (np.array([row]), slice(row, row + 1), np.arange(200) == row):
            if on_page:
                with pytest.raises(DamagedError, match=rf"vectors\.npy is damaged: page {at // PAGE_BYTES} is not"):
                    stored[rows]
            else:
                np.testing.assert_array_equal(stored[rows], ROWS[rows])


def test_a_page_is_read_when_it_is_wanted_and_once(paths: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch):
    read = []
    hashed = vectors_module.xxhash.xxh3_64_intdigest
    monkeypatch.setattr(vectors_module.xxhash, "xxh3_64_intdigest", lambda data: read.append(len(data)) or hashed(data))
    stored = StoredVectors(*paths)
    assert len(read) == 1, "the page with the header"

    for _ in range(2):
        stored[np.array([150, 150, 151])]
        stored[150:152]

    assert len(read) == 2


def test_checksums_of_another_file_are_damage(paths: tuple[Path, Path]):
    paths[1].write_bytes(paths[1].read_bytes()[:-8])

    with pytest.raises(DamagedError, match="10 pages, 9 recorded"):
        StoredVectors(*paths)
