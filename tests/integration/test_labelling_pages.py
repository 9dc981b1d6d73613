"""The labelling pages without a browser: what they show, what their forms say, and that hostile text stays text."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

from faceindex.cli.main import cli
from faceindex.service.shown import local
from tests.support.labelling_pages import make_app

PEOPLE, FACES = 6, 5
HOSTILE = '<img src=x onerror="alert(1)">'


def imported(folder: Path) -> Path:
    """Return a clustered catalog of six people with five faces each, without photos."""
    generator = np.random.default_rng(7)
    centres = generator.standard_normal((PEOPLE, 128)) * 0.95 ** np.arange(128)
    centres[:, 0] += 7.0
    people = np.repeat(np.arange(PEOPLE), FACES)
    vectors = centres[people] + 0.1 * generator.standard_normal((len(people), 128))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.savez(folder / "faces.npz", vectors=vectors.astype(np.float32), ids=[f"p{n:03}" for n in range(len(people))])
    catalog = str(folder / "catalog")
    for command in (["import", str(folder / "faces.npz"), "--model", "dlib-resnet29"], ["cluster"]):
        done = CliRunner().invoke(cli, [*command, "-c", catalog], catch_exceptions=False)
        assert done.exit_code == 0, done.stderr
    return folder / "catalog"


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return TestClient(make_app(str(imported(tmp_path))), base_url="http://127.0.0.1")


class Fields(HTMLParser):
    """Collects the hidden fields of the form with the faces, and the faces."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.hidden: dict[str, str] = {}
        self.faces: list[str] = []
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._inside = "data-faces" in found
        if tag == "input" and self._inside and found.get("type") == "hidden":
            self.hidden[found["name"]] = found["value"]
        if tag == "input" and found.get("name") == "face":
            self.faces.append(found["value"])


class Tags(HTMLParser):
    """Collects what a browser would take for attributes and pictures."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.attributes: set[str] = set()
        self.pictures: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes |= {name for name, _ in attrs}
        self.pictures |= {value or "" for name, value in attrs if tag == "img" and name == "src"}


def token(client: TestClient) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/").text)
    assert found
    return found[1]


def form_of(client: TestClient, url: str) -> Fields:
    page = client.get(url)
    assert page.status_code == 200, page.text
    return Fields(page.text)


def first_group(client: TestClient) -> str:
    found = re.search(r'href="(/unknown/\d+)"', client.get("/unknown").text)
    assert found
    return found[1]


def test_a_group_is_named_and_the_next_one_follows(client: TestClient) -> None:
    url = first_group(client)
    form = form_of(client, url)
    assert len(form.faces) == FACES

    named = client.post("/say", data={**form.hidden, "act": "name", "name": "Anna"})

    assert "5 faces named Anna" in named.text
    assert named.url.path.startswith("/unknown/")
    assert named.url.path != url
    assert len(form_of(client, "/person?name=Anna").faces) == FACES
    undo = client.post("/undo", data={"csrf_token": token(client), "at": "/people"})
    assert "undone" in undo.text
    assert client.get("/person?name=Anna").status_code == 404
    assert client.post("/redo", data={"csrf_token": token(client)}).status_code == 200
    assert client.get("/person?name=Anna").status_code == 200


def test_faces_taken_out_of_a_group_become_a_group_of_their_own(client: TestClient) -> None:
    url = first_group(client)
    form = form_of(client, url)

    client.post("/say", data={**form.hidden, "act": "split", "face": form.faces[:2]})

    assert sorted(form_of(client, url).faces) == sorted(form.faces[2:])
    others = [
        form_of(client, found).faces for found in re.findall(r'href="(/unknown/\d+)"', client.get("/unknown").text)
    ]
    assert sorted(form.faces[:2]) in [sorted(faces) for faces in others]
    client.post("/undo", data={"csrf_token": token(client)})
    assert len(form_of(client, url).faces) == FACES


def test_a_question_is_skipped_answered_and_asked_again_when_that_is_undone(client: TestClient) -> None:
    form = form_of(client, first_group(client))
    client.post("/say", data={**form.hidden, "act": "name", "name": "Anna", "face": form.faces[:2]})
    page = client.get("/questions").text
    assert "Are these 3 faces Anna?" in page
    found = re.search(r'name="question" value="([0-9a-f]+)"', page)
    assert found
    said = {"csrf_token": token(client), "question": found[1], "at": "/questions"}

    assert "Are these 3 faces Anna?" not in client.post("/answer", data={**said, "answer": "skip"}).text
    assert "3 faces named Anna" in client.post("/answer", data={**said, "answer": "yes"}).text

    assert len(form_of(client, "/person?name=Anna").faces) == FACES
    assert client.post("/answer", data={**said, "answer": "yes"}).status_code == 404
    client.post("/undo", data={"csrf_token": token(client)})
    client.post("/answer", data={**said, "answer": "no"})
    assert len(form_of(client, "/person?name=Anna").faces) == 2


def test_what_is_said_of_a_group_that_has_changed_is_refused(client: TestClient) -> None:
    url = first_group(client)
    form = form_of(client, url)
    client.post("/say", data={**form.hidden, "act": "ignore", "face": form.faces[:1]})

    late = client.post("/say", data={**form.hidden, "act": "name", "name": "Anna"})

    assert late.status_code == 422
    assert "has changed since it was shown" in late.text
    assert client.get("/person?name=Anna").status_code == 404


def test_a_persons_faces_are_moved_refused_renamed_and_merged(client: TestClient) -> None:
    for name in ("Anna", "Bea"):
        client.post("/say", data={**form_of(client, first_group(client)).hidden, "act": "name", "name": name})
    form = form_of(client, "/person?name=Anna")

    client.post("/say", data={**form.hidden, "act": "split", "face": form.faces[:1], "name": "bea"})
    client.post("/say", data={**form.hidden, "act": "not", "face": form.faces[1:2]})
    assert len(form_of(client, "/person?name=Anna").faces) == FACES - 2
    assert len(form_of(client, "/person?name=Bea").faces) == FACES + 1
    rest = client.post("/rename", data={"person": "Anna", "name": "Anna Smith", "csrf_token": token(client)})
    assert rest.url.params["name"] == "Anna Smith"
    client.post("/merge", data={"person": "Anna Smith", "name": "Bea", "csrf_token": token(client)})

    assert len(form_of(client, "/person?name=Bea").faces) == 2 * FACES - 1
    assert "These too?" not in client.get(first_group(client)).text, "it was said not to be Anna, who is Bea now"


@pytest.mark.parametrize(
    "name", [HOSTILE, "x" * 200, "'; DROP TABLE--", "{{ 7*7 }}", "../..", "a/b?c#d&e=f", "אבג abc"]
)
def test_hostile_names_are_shown_as_text_on_every_page(client: TestClient, name: str) -> None:
    client.post("/say", data={**form_of(client, first_group(client)).hidden, "act": "name", "name": name})

    person = client.get(f"/person?name={quote(name, safe='')}")
    assert person.status_code == 200
    for url in ("/", "/people", "/history", first_group(client), person.url):
        page = client.get(url)
        assert page.status_code == 200
        tags = Tags(page.text)
        assert not [one for one in tags.attributes if one == "style" or one.startswith("on")]
        assert "x" not in tags.pictures
    assert len(Fields(person.text).faces) == FACES


def test_direction_marks_are_refused_in_names_and_shown_as_codes_elsewhere(client: TestClient) -> None:
    form = form_of(client, first_group(client))

    refused = client.post("/say", data={**form.hidden, "act": "name", "name": "a\u202eb"})

    assert refused.status_code == 422
    assert "\u202e" not in refused.text


def test_mistakes_of_a_script_leave_the_page_as_it_is(client: TestClient) -> None:
    form = form_of(client, first_group(client))

    answer = client.post("/say", data={**form.hidden, "act": "name", "name": " "}, headers={"HX-Request": "true"})

    assert (answer.status_code, answer.headers["HX-Reswap"]) == (422, "none")
    assert 'class="mistake"' in answer.text


@pytest.mark.parametrize(
    "url", ["/unknown/999999", "/unknown/0", "/person?name=Nobody", "/photos/00", "/people?page=9"]
)
def test_what_is_not_there_is_a_page_that_says_so(client: TestClient, url: str) -> None:
    answer = client.get(url)

    assert answer.status_code == 404
    assert 'role="alert"' in answer.text


@pytest.mark.parametrize(
    "url", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "x\n"]
)
def test_forms_lead_nowhere_else(client: TestClient, url: str) -> None:
    assert local(url) == "/"
    form = form_of(client, first_group(client))
    said = {**form.hidden, "act": "ignore", "face": form.faces[:1], "kind": "faces", "at": url}
    answer = client.post("/say", data=said, follow_redirects=False)
    assert answer.headers["location"].startswith("/?said=")


@pytest.mark.parametrize("url", ["/", "/unknown", "/questions", "/people", "/find", "/history", "/runs", "/settings"])
def test_every_page_answers_in_an_empty_ledger(client: TestClient, url: str) -> None:
    page = client.get(url)

    assert page.status_code == 200
    assert 'lang="en"' in page.text
    assert page.text.count("<h1") == page.text.count("<main") == 1


def test_forms_of_other_sites_names_and_sizes_are_refused(client: TestClient) -> None:
    form = form_of(client, first_group(client))
    said = {**form.hidden, "act": "name", "name": "Anna"}

    assert client.post("/say", data={**said, "csrf_token": "guessed"}).status_code == 403
    assert (
        client.post("/say", data={name: value for name, value in said.items() if name != "csrf_token"}).status_code
        == 403
    )
    assert client.post("/say", data=said, headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.post("/say", data=said, headers={"Host": "evil.example"}).status_code == 400
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert client.post("/find", headers={"Content-Length": "99999999999"}).status_code == 413
    assert client.get("/person?name=Anna").status_code == 404
    assert "unsafe" not in client.get("/").headers["Content-Security-Policy"]
    assert client.get("/").headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path", ["faces/../../catalog.toml", "faces/..%2f..%2fcatalog.toml/crop", "photos/%2e%2e/picture"]
)
def test_pictures_are_given_by_id_alone(client: TestClient, path: str) -> None:
    assert client.get(f"/api/v1/{path}").status_code in (404, 422)
    assert client.get(f"/static/{path}").status_code == 404
