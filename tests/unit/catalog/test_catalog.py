import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faceindex.catalog.catalog import Catalog
from faceindex.catalog.checksums import TOML_SEAL, seal
from faceindex.catalog.files import open_files
from faceindex.config import Settings
from faceindex.errors import CatalogError, ConfigError, DamagedError, LockedError

SETTINGS = Settings(embedder="facenet-vggface2", crops=False, roots=("/photos/été", 'a "quoted" folder'))


def test_a_catalog_that_was_made_is_opened_with_its_settings(root: str) -> None:
    made = Catalog.create(root, SETTINGS)
    opened = Catalog.open(root)

    assert opened.settings == made.settings == SETTINGS
    assert opened.root == made.root
    assert opened.current() is None


def test_settings_that_were_changed_are_those_opened_next(root: str) -> None:
    changed = replace(SETTINGS, roots=("/photos", "/more"), batch_photos=128)

    assert Catalog.create(root, SETTINGS).with_settings(changed).settings == changed
    assert Catalog.open(root).settings == changed


def test_where_there_is_no_catalog_the_message_says_how_to_make_one(root: str) -> None:
    with pytest.raises(CatalogError, match=r"^no catalog at .*; make one with: faceindex index PHOTOS -c '?\S"):
        Catalog.open(root)
    assert not list(open_files(root).paths()), "opening must not make anything"


def test_a_catalog_is_made_only_once(root: str) -> None:
    Catalog.create(root, SETTINGS)

    with pytest.raises(CatalogError, match=r"there is a catalog at .* already"):
        Catalog.create(root, Settings())
    assert Catalog.open(root).settings == SETTINGS


def test_a_folder_of_photos_does_not_become_a_catalog(root: str) -> None:
    files = open_files(root)
    files.make_root()
    files.write("2019/photo.jpg", b"x")

    with pytest.raises(CatalogError, match=r"holds other files \(2019/photo.jpg\); choose a new folder with -c"):
        Catalog.create(root, SETTINGS)


def test_what_a_killed_creation_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b"{")
    (tmp_path / ".tmp-8afz").write_bytes(b"half")

    Catalog.create(str(tmp_path), SETTINGS)

    assert Catalog.open(str(tmp_path)).settings == SETTINGS


def test_a_file_in_place_of_the_folder_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")

    with pytest.raises(CatalogError, match="Not a directory"):
        Catalog.create(str(tmp_path / "file"), SETTINGS)
    with pytest.raises(CatalogError, match="no catalog at"):
        Catalog.open(str(tmp_path / "file"))


def test_every_flipped_byte_of_the_settings_is_damage_that_names_them(root: str) -> None:
    files = Catalog.create(root, SETTINGS).files
    data = files.read("catalog.toml")
    generator = np.random.default_rng(5)

    for at in range(len(data)):
        files.write("catalog.toml", data[:at] + bytes([data[at] ^ int(generator.integers(1, 256))]) + data[at + 1 :])
        with pytest.raises(DamagedError, match=r"/catalog\.toml is damaged"):
            Catalog.open(root)


def test_a_catalog_of_another_format_is_refused(root: str) -> None:
    files = Catalog.create(root, SETTINGS).files
    files.write("catalog.toml", seal(TOML_SEAL, SETTINGS.to_toml().replace("format = 1", "format = 2").encode()))

    with pytest.raises(ConfigError, match="has format 2, this version of faceindex reads 1"):
        Catalog.open(root)


def test_a_local_catalog_is_private_to_its_owner(tmp_path: Path) -> None:
    Catalog.create(str(tmp_path / "catalog"), SETTINGS)

    assert stat.S_IMODE((tmp_path / "catalog").stat().st_mode) == 0o700
    for path in (tmp_path / "catalog").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_writer_lock_excludes_other_writers_but_not_readers(root: str) -> None:
    catalog = Catalog.create(root, replace(SETTINGS, lock_lease_s=5))

    with catalog.lock("index"), pytest.raises(LockedError), Catalog.open(root).lock("compact"):
        pass
