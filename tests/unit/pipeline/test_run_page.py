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
    page = run_page(document(), generation, [])

    assert "1,200" in page
    assert "<svg" not in page


def test_the_course_of_a_run_is_shown_and_two_batches_that_end_together_are_no_rate(generation: Any) -> None:
    timeline = [(2.0 * (number // 2 + 1) + 0.001 * (number % 2), 64 * (number + 1)) for number in range(40)]

    page = run_page(document(), generation, timeline)

    rates = re.search(r"over 40 s, between ([\d.]+) and ([\d.]+)<", page)
    assert rates
    assert [float(rate) for rate in rates.groups()] == pytest.approx([64, 64], rel=0.35)
    assert page.count("<rect ") == 13


def test_quarantined_photos_stand_together_by_what_became_of_them(generation: Any) -> None:
    states = ["truncated", "unsupported", "truncated", "unsupported", "unsupported"]
    rows = [{"photo": f"/p/{number}.jpg", "state": state, "detail": "why"} for number, state in enumerate(states)]

    page = run_page(document(quarantined=rows), generation, [])

    shown = re.sub(r"<[^>]+>", " ", page.split("Quarantined photos")[1]).split()
    assert [word for word in shown if word != "why"] == [
        *("unsupported", ",", "3", "/p/1.jpg", "/p/3.jpg", "/p/4.jpg"),
        *("truncated", ",", "2", "/p/0.jpg", "/p/2.jpg"),
    ]


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
