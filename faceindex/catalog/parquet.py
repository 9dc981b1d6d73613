"""Arrow tables as files of a catalog: Parquet for what batches hold, Arrow files for what is memory-mapped.

The same table gives the same bytes: nothing of the clock, the host or the run goes in.
"""

import pyarrow as pa
import pyarrow.parquet as pq

from faceindex.catalog.checksums import entry_of, read_verified, verified_path, write_entry
from faceindex.catalog.files import Files, reading
from faceindex.errors import DamagedError
from faceindex.tables import map_arrow
from faceindex.types import FileEntry


def write_table(files: Files, path: str, table: pa.Table) -> FileEntry:
    """Write a table as Parquet and return what a generation records of it.

    Dictionaries and statistics are off: they make batches of photo rows larger and slower to read, and they cost
    most on ids and embeddings. Page checksums are on, which costs nothing. Rows of photos shrink to two fifths by
    zstd; embeddings, coordinates and JPEG by 6 % at the price of half the reading speed, so they stay as they are.
    """
    return write_entry(files, path, _encoded(table))


def entry_of_whole(files: Files, path: str) -> FileEntry:
    """Return what a generation will record of a file that none names yet, once it is known to be as it was written.

    Its own checksums cover the pages only. But the same table gives the same bytes, which leaves the texts of its
    metadata; those of embeddings are compared when they are published.

    Raises:
        DamagedError: the file is missing, or differs from what writing its table again gives.
    """
    if _encoded(read_table(files, path)) != files.read(path):
        raise DamagedError(f"{files.root}/{path} is damaged: its table would be written otherwise")
    return entry_of(files, path)


def _encoded(table: pa.Table) -> memoryview:
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd" if "path" in table.column_names else "none",
        use_dictionary=False,
        write_statistics=False,
        write_page_checksum=True,
    )
    return memoryview(sink.getvalue()).cast("B")  # Arrow's bytes have signs, and would equal none of those read


def read_table(files: Files, source: FileEntry | str, columns: list[str] | None = None) -> pa.Table:
    """Return a Parquet file's columns, all of them by default.

    Args:
        source: what a generation recorded, and every byte is checked; or the path of a file that no generation names
            yet, and the checksums of its pages are.

    Raises:
        DamagedError: the file is missing, differs, or is not Parquet.
    """
    if isinstance(source, str):
        path, data = source, files.read(source)
    else:
        path, data = source.path, read_verified(files, source)
    try:
        # ParquetFile, not read_table: the latter sets up a dataset, which takes longer than reading a small file.
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        return file.read(columns=columns, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        line = str(error).partition("\n")[0]
        raise DamagedError(f"{files.root}/{path} is damaged: {line}; run `faceindex check`") from error


def write_arrow(files: Files, path: str, table: pa.Table) -> FileEntry:
    """Write a table as an Arrow file, uncompressed, to be memory-mapped."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return write_entry(files, path, memoryview(sink.getvalue()))


def open_arrow(files: Files, entry: FileEntry) -> pa.Table:
    """Return an Arrow file's table, memory-mapped once its bytes are known to be those recorded.

    Raises:
        DamagedError: the file is missing or differs.
    """
    path = verified_path(files, entry)
    with reading(path):
        return map_arrow(path)
