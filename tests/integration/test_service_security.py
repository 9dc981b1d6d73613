"""Who is let in to the labelling service, and what requests of others come to."""

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import HTTPCookieProcessor, build_opener

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

from faceindex.catalog.catalog import Catalog
from faceindex.cli.main import cli
from faceindex.service import security
from faceindex.service.access import COOKIE, Access, Caller
from faceindex.service.app import create_app
from faceindex.service.archive import Archive
from faceindex.service.tokens import Scope
from tests.integration.test_labelling_pages import imported

HOST = "127.0.0.1:8642"
KEY = "a key of these tests"
PAGES = ("/", "/unknown", "/unknown/1", "/people", "/find", "/history", "/runs", "/settings")
FORMS = ("/say", "/rename", "/merge", "/undo", "/redo", "/answer", "/find")


class Client(TestClient):
    """Has the key, and sends what a page of the service sends."""

    def __init__(self, catalog: str) -> None:
        self.service = create_app(Archive(Catalog.open(catalog)), Access("me", key=KEY))
        self.token = self.service.state.forms.word(Caller("me", Scope.ADMIN, "cookie"))
        super().__init__(self.service, f"http://{HOST}", cookies={COOKIE: KEY}, headers={"origin": f"http://{HOST}"})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(imported(tmp_path_factory.mktemp("service")))


@pytest.fixture
def client(shared: str) -> Client:
    return Client(shared)


def said(client: Client) -> int:
    return client.get("/history").text.count("<li")


@pytest.mark.parametrize("path", [*PAGES, "/api/v1/faces/00/crop", "/api/v1/photos/00/picture", "/openapi.json"])
def test_without_the_key_nothing_is_shown(client: Client, path: str) -> None:
    client.cookies.clear()

    for cookies in ({}, {COOKIE: ""}, {COOKIE: KEY[:-1]}, {COOKIE: KEY + "x"}):
        answer = TestClient(client.service, base_url=f"http://{HOST}", cookies=cookies).get(path)
        assert answer.status_code == 403
        assert answer.headers["cache-control"] == "no-store"


def test_the_key_becomes_a_cookie_that_scripts_and_other_sites_do_not_get(client: Client) -> None:
    client.cookies.clear()

    answer = client.get("/", params={"key": KEY}, follow_redirects=False)

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/").status_code == 200
    client.cookies.clear()
    assert client.get("/", params={"key": "guess"}).status_code == 403


@pytest.mark.parametrize("host", ["example.org", "example.org:8765", "169.254.1.1:8765", ""])
def test_a_foreign_name_for_this_machine_is_refused(client: Client, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 400


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://example.org"},
        {"origin": "null"},
        {"origin": f"http://{HOST}.example.org"},
    ],
)
def test_a_form_of_another_site_does_nothing(client: Client, path: str, headers: dict[str, str]) -> None:
    before = said(client)

    assert client.post(path, data={"csrf_token": client.token, "name": "x"}, headers=headers).status_code == 403
    assert said(client) == before


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("token", [None, "", "token", "ä" * 32])
def test_a_form_without_our_token_does_nothing(client: Client, path: str, token: str | None) -> None:
    data = {"question": "0", "answer": "yes", "person": "x", "name": "x", "kind": "faces", "act": "name"}

    answer = client.post(path, data=data if token is None else {**data, "csrf_token": token})

    assert answer.status_code in (403, 422)
    assert "named" not in answer.text


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE"])
def test_other_methods_are_not_known(client: Client, method: str) -> None:
    assert client.request(method, "/unknown").status_code in (403, 405, 411)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_forbids_scripts_frames_and_caches(client: Client, path: str) -> None:
    headers = client.get(path).headers

    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/%2e%2e/config.py",
        "/static//etc/passwd",
        "/static/%00",
        "/api/v1/photos/..%2f..%2fetc%2fpasswd/picture",
        "/api/v1/photos/%2fetc%2fpasswd/picture",
        "/api/v1/faces/..%2fCURRENT/crop",
        "/photos/..%2f..%2fcatalog.toml",
        "/unknown/../../catalog.toml",
        "/person?name=../../etc/passwd",
    ],
)
def test_no_path_leads_to_a_file(client: Client, path: str) -> None:
    answer = client.get(path)

    assert 400 <= answer.status_code < 500
    assert "root:" not in answer.text
    assert "import" not in answer.text
    assert "xxh3" not in answer.text


def test_a_request_that_is_too_large_is_refused_whatever_its_head_says(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(security, "MAX_UPLOAD", 1_000)
    large = {"picture": ("a.jpg", b"x" * 5_000)}

    assert client.post("/find", data={"csrf_token": client.token}, files=large).status_code == 413
    head = {"content-type": "multipart/form-data; boundary=b"}
    assert client.post("/find", content=iter([b"x" * 900, b"x" * 900]), headers=head).status_code == 411


def test_a_picture_that_is_none_is_told_in_a_line(client: Client) -> None:
    for payload in (b"", b"no picture", b"\xff\xd8\xff" + b"\0" * 100):
        answer = client.post("/find", data={"csrf_token": client.token}, files={"picture": ("<b>.jpg", payload)})
        assert answer.status_code == 422
        assert "<b>.jpg" not in answer.text


def test_what_is_said_at_once_by_several_windows_is_all_kept(tmp_path: Path) -> None:
    catalog = str(imported(tmp_path))
    client = Client(catalog)
    rows = client.service.state.archive.snapshot().people.rows
    faces = [bytes(face).hex() for face in rows.ids(rows.places)[:8]]

    windows = [Client(catalog) for _ in faces]
    statuses: list[int] = []

    def name(window: Client, face: str) -> None:
        form = {"csrf_token": window.token, "kind": "faces", "act": "name", "name": f"name of {face}", "face": face}
        statuses.append(window.post("/say", data=form).status_code)

    threads = [threading.Thread(target=name, args=pair) for pair in zip(windows, faces, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert statuses == [200] * len(faces)
    text = client.get("/people").text
    assert [face for face in faces if f"name of {face}" not in text] == []


def test_the_command_serves_this_computer_alone_to_who_has_its_key_and_ends_when_told(shared: str) -> None:
    command = [sys.executable, "-m", "faceindex.cli.main", "label", "--no-browser", "--port", "0", "-c", shared]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        address = process.stdout.readline().strip()
        try:
            with pytest.raises(HTTPError, match="403"):
                opened(address.partition("?")[0])
            opener = build_opener(HTTPCookieProcessor())
            assert b"5 faces" in opener.open(address).read()
            assert b"5 faces" in opener.open(address.partition("?")[0] + "unknown").read()
        finally:
            process.send_signal(signal.SIGINT)
        process.wait(20)
        assert process.stderr
        assert "Traceback" not in process.stderr.read()


def test_a_port_that_is_taken_is_told_in_a_line(shared: str) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = str(held.getsockname()[1])
        done = CliRunner().invoke(cli, ["label", "--no-browser", "--port", port, "-c", shared])

    assert done.exit_code == 2
    assert "--port" in done.stderr


def opened(address: str) -> bytes:
    """Return a page once somebody listens."""
    for _ in range(100):
        try:
            answer: bytes = build_opener().open(address).read()
            return answer
        except HTTPError:
            raise
        except URLError:
            time.sleep(0.1)
    raise AssertionError(f"nobody listens at {address}")
