import base64
import io
from html.parser import HTMLParser

import PIL.Image

from faceindex.sheet.page import page
from faceindex.sheet.strips import TILE_PX, cut, strips_of
from tests.support.answers import Photos, candidate, document, face

EMBEDDED = {"section", "figure", "img", "div", "figcaption", "bdi"}


class Reader(HTMLParser):
    """Keeps what a browser would see: elements with their attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(*documents: dict, photos: Photos | None = None, heading: str = "searched") -> str:
    strips = [strip for one in documents for strip in strips_of(one)]
    return page(strips, cut(strips, photos or Photos()), heading)


def test_probe_and_candidates_are_embedded_as_pictures() -> None:
    reader = Reader(page_of(document(face([0.95, 0.5]))))

    sources = [attributes["src"] or "" for tag, attributes in reader.elements if tag == "img"]
    assert len(sources) == 3
    for source in sources:
        kind, data = source.split(",")
        assert kind == "data:image/jpeg;base64"
        assert PIL.Image.open(io.BytesIO(base64.b64decode(data))).size == (TILE_PX, TILE_PX)


def test_a_page_fetches_nothing_and_runs_nothing() -> None:
    reader = Reader(page_of(document(face([0.95], identified=False), face([0.5])), document()))

    tags = {tag for tag, _ in reader.elements}
    assert tags <= {"html", "head", "meta", "title", "style", "body", "p"} | EMBEDDED
    assert not [name for _, attributes in reader.elements for name in attributes if name.startswith("on")]
    policy = next(a["content"] for _, a in reader.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_names_are_text_whatever_they_hold() -> None:
    hostile = "/p/<script>alert(1)</script>\"' onerror=x\u202e\udcff.jpg"
    found = candidate(1, 0.95, hostile, person="<img src=x>")
    calm = Reader(page_of(document(face([0.95]))))

    text = page_of(document(face(candidates=[found], person="<b>"), image=hostile), heading="<i>")
    reader = Reader(text)

    assert [tag for tag, _ in reader.elements] == [*(tag for tag, _ in calm.elements), "bdi"]
    assert "alert(1)" in reader.text
    assert "<img src=x>" in reader.text
    assert "<b>" in reader.text
    assert "<i>" in reader.text
    titles = {attributes["title"] for tag, attributes in reader.elements if tag == "img"}
    assert titles == {"/p/<script>alert(1)</script>\"' onerror=x\\x202e\\xdcff.jpg"}
    assert "\u202e" not in text
    text.encode()


def test_the_reason_stands_where_a_photo_is_gone() -> None:
    gone = candidate(1, 0.95, "/photos/<s>.jpg")

    reader = Reader(page_of(document(face(candidates=[gone])), photos=Photos("/photos/<s>.jpg", why="<s> is gone")))

    assert len([tag for tag, _ in reader.elements if tag == "img"]) == 1
    assert "<s> is gone" in reader.text
    assert "s" not in {tag for tag, _ in reader.elements}


def test_verdicts_are_written_and_only_accepted_faces_are_green() -> None:
    reader = Reader(page_of(document(face([0.95, 0.5])), document(face([0.5], identified=False))))

    assert [a.get("class") for tag, a in reader.elements if tag == "figure"] == ["green", "green", None, None, None]
    assert "identified" in reader.text
    assert "not recognised" in reader.text
    assert "searched" in reader.text
