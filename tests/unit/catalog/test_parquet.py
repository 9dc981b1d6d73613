import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceindex.catalog.files import Files, open_files
from faceindex.catalog.parquet import entry_of_whole, open_arrow, read_table, write_arrow, write_table
from faceindex.errors import DamagedError
from faceindex.tables import PLAN, embedding_model, faces_tables, from_float16_column, photos_table
from tests.support.catalogs import DIMENSION, MODEL, photo_results


@pytest.fixture
def files(root: str) -> Files:
    opened = open_files(root)
    opened.make_root()
    return opened


def tables() -> dict[str, pa.Table]:
    results = photo_results(0, 50)
    faces, crops = faces_tables(results, DIMENSION, MODEL)
    photos = photos_table(results)
    plan = photos.select(["path", "size_bytes", "mtime_ns"]).add_column(0, "batch", pa.array(["ab"] * 50)).cast(PLAN)
    return {"photos": photos, "faces": faces, "crops": crops, "plan": plan, "none": faces.slice(0, 0)}


@pytest.mark.parametrize("kind", ["photos", "faces", "crops", "plan", "none"])
@pytest.mark.parametrize(("write", "read"), [(write_table, read_table), (write_arrow, open_arrow)])
def test_a_table_comes_back_with_its_schema_and_metadata(files: Files, kind: str, write, read) -> None:
    table = tables()[kind]
    entry = write(files, f"{kind}/file", table)

    back = read(files, entry)

    assert back.equals(table, check_metadata=True)
    assert back.schema.equals(table.schema, check_metadata=True)
    back.validate(full=True)


def test_embeddings_keep_their_model_and_bits(files: Files) -> None:
    faces = tables()["faces"]
    back = read_table(files, write_table(files, "faces/file", faces), ["embedding"])

    assert back.column_names == ["embedding"]
    assert embedding_model(back.schema) == MODEL
    np.testing.assert_array_equal(from_float16_column(back["embedding"]), from_float16_column(faces["embedding"]))


@pytest.mark.parametrize("write", [write_table, write_arrow])
def test_the_same_rows_give_the_same_bytes_however_they_are_chunked(files: Files, write) -> None:
    for name, table in tables().items():
        halves = pa.concat_tables([table.slice(0, len(table) // 2), table.slice(len(table) // 2)])
        entries = [write(files, f"{name}/{number}", one) for number, one in enumerate((table, table, halves))]
        assert len({(entry.size_bytes, entry.xxh3) for entry in entries}) == 1, name


def test_the_same_rows_give_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    script = (
        "from tests.unit.catalog.test_parquet import *\n"
        "files = open_files(sys.argv[1])\n"
        "print([write(files, n, t).xxh3 for n, t in tables().items() for write in (write_table, write_arrow)])\n"
    )
    runs = [
        subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]

    assert runs[0] == runs[1]


def test_embeddings_and_ids_have_no_dictionary_and_pages_have_checksums(files: Files) -> None:
    entry = write_table(files, "faces/file", tables()["faces"])
    group = pq.ParquetFile(files.local_path(entry.path)).metadata.row_group(0)

    for index in range(group.num_columns):
        column = group.column(index)
        assert not column.has_dictionary_page
        assert column.compression == "UNCOMPRESSED"


def test_a_flipped_byte_in_a_page_is_seen_before_any_generation_names_the_file(files: Files) -> None:
    faces = tables()["faces"]
    entry = write_table(files, "faces/file", faces)
    data = files.read(entry.path)
    at = data.index(np.ascontiguousarray(from_float16_column(faces["embedding"])).tobytes())
    files.write(entry.path, data[: at + 100] + bytes([data[at + 100] ^ 1]) + data[at + 101 :])

    with pytest.raises(DamagedError, match=r"faces/file is damaged: .*; run `faceindex check`"):
        read_table(files, entry.path)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"not a table at all, but long enough to hold a footer", b"\0" * 1000])
def test_a_file_that_is_no_parquet_is_damage_that_names_it(files: Files, data: bytes) -> None:
    files.write("photos/file", data)

    with pytest.raises(DamagedError, match="photos/file is damaged") as caught:
        read_table(files, "photos/file")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("write", "read"), [(write_table, read_table), (write_arrow, open_arrow)])
def test_a_recorded_file_is_compared_byte_by_byte_before_use(files: Files, write, read) -> None:
    entry = write(files, "photos/file", tables()["photos"])
    data = files.read(entry.path)

    for at in np.random.default_rng(7).integers(0, len(data), 50):
        files.write(entry.path, data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        with pytest.raises(DamagedError, match="photos/file is damaged"):
            read(files, entry)


def test_an_arrow_file_is_mapped_not_read_into_memory(files: Files) -> None:
    table = pa.table({"path": pa.array([b"x" * 1000] * 4000, pa.binary())})
    entry = write_arrow(files, "view", table)
    before = pa.total_allocated_bytes()

    opened = open_arrow(files, entry)

    assert opened.num_rows == 4000
    assert pa.total_allocated_bytes() - before < 100_000


@pytest.mark.parametrize("kind", ["photos", "crops", "plan"])
def test_a_file_that_nothing_records_is_known_to_be_whole_or_not(files: Files, kind: str) -> None:
    entry = write_table(files, "file", tables()[kind])
    data = files.read("file")
    assert entry_of_whole(files, "file") == entry

    for place in np.random.default_rng(3).integers(0, len(data), 100).tolist():
        files.write("file", data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(DamagedError, match="file"):
            entry_of_whole(files, "file")
