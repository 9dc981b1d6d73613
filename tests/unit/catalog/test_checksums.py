from pathlib import Path

import pytest

from faceindex.catalog import files as files_module
from faceindex.catalog.checksums import (
    JSON_SEAL,
    TOML_SEAL,
    digest,
    entry_of,
    read_verified,
    seal,
    unseal,
    verified_path,
    verify,
    write_entry,
)
from faceindex.catalog.files import LocalFiles
from faceindex.errors import DamagedError
from faceindex.types import FileEntry


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    return LocalFiles(tmp_path)


def test_digest_is_xxh3_128_as_published() -> None:
    # Test vector of the reference implementation, xxHash 0.8: the empty input with seed 0.
    assert digest() == "99aa06d3014798d86001c324468d497f"
    assert digest(b"ab", b"", memoryview(b"c")) == digest(b"abc")


def test_an_entry_is_the_same_whether_written_or_found(files: LocalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "BLOCK_BYTES", 10)
    data = bytes(range(256))
    entry = write_entry(files, "shards/s1/a", data[:100], memoryview(data)[100:])

    assert entry == FileEntry("shards/s1/a", 256, digest(data))
    assert entry_of(files, "shards/s1/a") == entry
    verify(files, entry)
    assert read_verified(files, entry) == data
    assert verified_path(files, entry).read_bytes() == data


@pytest.mark.parametrize("damaged", [b"", b"01234567", b"012345678", b"01234567890", b"0123456788", b"\0" * 10])
def test_any_difference_is_damage_that_names_file_and_remedy(files: LocalFiles, damaged: bytes) -> None:
    entry = write_entry(files, "faces/ab/one.parquet", b"0123456789")
    files.write(entry.path, damaged)

    for check in (verify, read_verified):
        with pytest.raises(DamagedError) as caught:
            check(files, entry)
        message = str(caught.value)
        assert f"{files.root}/faces/ab/one.parquet is damaged: 10 bytes with xxh3 {entry.xxh3} recorded" in message
        assert f"{len(damaged)} bytes with xxh3 {digest(damaged)} found" in message
        assert message.endswith("; run `faceindex check`")


def test_swapped_files_are_damage(files: LocalFiles) -> None:
    one, two = write_entry(files, "one", b"aaaa"), write_entry(files, "two", b"bbbb")
    files.write("one", b"bbbb")
    files.write("two", b"aaaa")

    for entry in (one, two):
        with pytest.raises(DamagedError):
            verify(files, entry)


@pytest.mark.parametrize("line", [JSON_SEAL, TOML_SEAL])
def test_a_seal_shows_every_flipped_bit_every_cut_and_every_added_byte(line: str) -> None:
    body = b'"name": "value"}\nand more \xff\n'
    sealed = seal(line, body)
    assert unseal(line, sealed, "x") == body

    flipped = [
        sealed[:at] + bytes([sealed[at] ^ 1 << bit]) + sealed[at + 1 :] for at in range(len(sealed)) for bit in range(8)
    ]
    cut = [sealed[:at] for at in range(len(sealed))]
    for damaged in [*flipped, *cut, sealed + b"\n", sealed + sealed, b"\n" + sealed]:
        with pytest.raises(DamagedError, match="CURRENT is damaged"):
            unseal(line, damaged, "CURRENT")
