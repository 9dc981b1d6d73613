import stat
from pathlib import Path

import PIL.Image
import pytest

from faceindex import sheet
from faceindex.errors import ConfigError, FaceIndexError
from faceindex.sheet import require_sheet_format, write_sheet
from tests.support.answers import Photos, document, face

ANSWERS = [document(face([0.95, 0.5])), document()]


@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.JPEG", "JPEG")])
def test_the_extension_decides_the_kind_of_picture(tmp_path: Path, name: str, kind: str) -> None:
    write_sheet(ANSWERS, str(tmp_path / name), Photos())

    with PIL.Image.open(tmp_path / name) as picture:
        picture.load()
        assert picture.format == kind


def test_html_is_one_page(tmp_path: Path) -> None:
    write_sheet(ANSWERS, str(tmp_path / "a.html"), Photos())

    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert text.count("<section>") == 2


@pytest.mark.parametrize("name", ["a.pdf", "a", "a.png.txt"])
def test_other_extensions_are_refused_and_the_known_ones_named(tmp_path: Path, name: str) -> None:
    for refuse in (require_sheet_format, lambda path: write_sheet(ANSWERS, path, Photos())):
        with pytest.raises(ConfigError, match=r"\.png, \.jpg, \.jpeg, \.html, got .*"):
            refuse(str(tmp_path / name))

    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_noticed_before_photos_are_loaded(tmp_path: Path) -> None:
    photos = Photos()

    with pytest.raises(ConfigError, match=r"there is no folder .*gone to write a sheet in"):
        write_sheet(ANSWERS, str(tmp_path / "gone" / "a.png"), photos)

    assert photos.loaded == []


@pytest.mark.parametrize("name", ["a.png", "a.html"])
def test_a_sheet_is_readable_by_its_owner_alone_even_in_place_of_a_public_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("older")
    path.chmod(0o644)

    write_sheet(ANSWERS, str(path), Photos())

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() != b"older"


def test_the_same_answers_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "a.html", "b.html"):
        write_sheet(ANSWERS, str(tmp_path / name), Photos())

    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_a_sheet_that_cannot_be_written_leaves_the_older_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.html"
    path.write_text("older")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sheet.Path, "replace", full)
    with pytest.raises(FaceIndexError, match=r"cannot write the sheet .*a\.html: No space left on device"):
        write_sheet(ANSWERS, str(path), Photos())

    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]
