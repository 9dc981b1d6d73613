"""The page of a run: true, harmless whatever photos are called, and small."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from faceindex.catalog.generations import load
from faceindex.catalog.layout import page_path
from faceindex.pipeline.report import CHANGES, RunReport
from faceindex.pipeline.run import IndexOptions, index_photos
from faceindex.pipeline.run_page import MOST_LISTED, run_page
from tests.support.archives import make_archive
from tests.support.catalogs import make_catalog

HOSTILE = "/p/<script>alert(1)</script>\u202egpj.\x1b[31m\" onerror='x'.jpg"


def document(**more: Any) -> dict[str, Any]:
    report = RunReport(catalog="/c", run="20261123-010203-abc", photos={"ok": 1200})
    report.changes.update(dict.fromkeys(CHANGES[:2], 3))
    return {**report.to_json(), **more}


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


@pytest.fixture
def generation(tmp_path: Path) -> Any:
    catalog = make_catalog(str(tmp_path / "catalog"))
    return load(catalog.files, 2)


def test_the_page_fetches_nothing_and_runs_nothing_whatever_photos_are_called(generation: Any) -> None:
    rows = [{"photo": HOSTILE, "state": "truncated", "detail": "<img src=//x>"}]

    page = run_page(document(quarantined=rows, unlisted=[HOSTILE]), replace(generation, faceindex="<b>"), [])

    names = {tag for tag, _ in Tags(page).seen}
    assert not names & {"script", "link", "iframe", "img", "b"}
    assert not [key for _, attributes in Tags(page).seen for key in attributes if key.startswith("on")]
    assert "http" not in re.sub("http-equiv", "", page)
    assert "\u202e" not in page
    assert "\x1b" not in page


def test_the_page_says_what_the_run_did(generation: Any) -> None:
    page = run_page(document(), generation, [(1.0, 64), (2.0, 128), (3.0, 256), (4.0, 300)])

    assert "1,200" in page
    assert "<polyline" in page
    assert "at most 128.0" in page


def test_of_very_many_quarantined_photos_some_are_listed_and_the_rest_counted(generation: Any) -> None:
    rows = [{"photo": f"/p/{number}.jpg", "state": "truncated", "detail": "cut"} for number in range(MOST_LISTED + 7)]

    page = run_page(document(quarantined=rows), generation, [])

    assert page.count("<tr><td>") == MOST_LISTED
    assert "and 7 more" in page
    assert len(page.encode()) < 1_000_000


def test_a_run_leaves_a_page_that_shows_what_is_left_of_a_broken_photo(tmp_path: Path) -> None:
    photos, catalog = make_archive(tmp_path / "photos", count=2), tmp_path / "catalog"

    report = index_photos(str(catalog), [str(photos)], IndexOptions(workers=0))

    assert report.run
    file = catalog / page_path(report.run)
    assert file.stat().st_mode & 0o777 == 0o600
    [picture] = [attributes["src"] for tag, attributes in Tags(file.read_text("utf-8")).seen if tag == "img"]
    assert picture
    shown = PIL.Image.open(io.BytesIO(base64.b64decode(picture.removeprefix("data:image/jpeg;base64,"))))
    assert max(shown.size) <= 96
