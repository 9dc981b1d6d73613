"""Tokens: who is let in where, what is kept of them, and what wrong ones come to."""

import signal
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner
from fastapi import FastAPI
from fastapi.routing import APIRoute

from faceindex.cli.main import cli
from faceindex.service.limits import Rate
from faceindex.service.tokens import Scope
from tests.integration.test_labelling_pages import imported
from tests.support.service import HOST, Service

OPEN = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/login"), ("POST", "/login")}
SEARCH = {
    ("POST", "/api/v1/search"),
    ("POST", "/api/v1/verify"),
    ("GET", "/api/v1/status"),
    ("GET", "/api/v1/openapi.json"),
    ("POST", "/logout"),
}
ADMIN = {("GET", path) for path in ("/api/v1/audit", "/metrics", "/runs", "/settings")}
"""All other routes need label."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(imported(tmp_path_factory.mktemp("tokens")))


@pytest.fixture(scope="module")
def service(shared: str) -> Service:
    return Service(shared)


def routes(app: FastAPI) -> set[tuple[str, str]]:
    found = {(method, route.path) for route in all_routes(app.routes) for method in route.methods}
    return found | {("GET", "/api/v1/openapi.json")}


def all_routes(among: list[object]) -> list[APIRoute]:
    found: list[APIRoute] = []
    for route in among:
        if isinstance(route, APIRoute):
            found.append(route)
        elif inside := getattr(route, "original_router", None):
            found += [one for one in inside.routes if isinstance(one, APIRoute)]
    return found


def test_every_route_opens_to_the_scopes_it_needs_and_to_no_other(service: Service) -> None:
    table = routes(service.app)
    assert table >= OPEN | SEARCH | ADMIN
    assert len(table) > 40
    wrong = []
    for method, path in sorted(table - OPEN):
        needed = Scope.SEARCH if (method, path) in SEARCH else Scope.ADMIN if (method, path) in ADMIN else Scope.LABEL
        url = path.replace("{name:path}", "x").replace("{cluster}", "1")
        for part in ("{face_id}", "{photo_id}"):
            url = url.replace(part, "0" * 32)
        for scope in (None, *Scope):
            answer = service.client(scope).request(method, url, follow_redirects=False, content=b"")
            status = answer.status_code
            as_wanted = status == 401 if scope is None else (status != 403) == (scope >= needed) and status != 401
            if not as_wanted or status >= 500:
                wrong.append((method, path, scope, status))
    assert wrong == []


@pytest.mark.parametrize("method_path", sorted(OPEN))
def test_what_is_open_tells_strangers_nothing(service: Service, method_path: tuple[str, str]) -> None:
    answer = service.client().request(*method_path, data={"token": "x"})

    assert answer.status_code in (200, 401)
    assert "faces" not in answer.text.replace("faceindex", "")


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer x", "Basic eDp4", "Bearer faceindex_", "bearer " + "x" * 5000]
)
def test_a_wrong_token_opens_nothing(service: Service, header: str) -> None:
    answer = service.client().get("/api/v1/status", headers={"Authorization": header})

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert list(answer.json()) == ["error"]


def test_no_file_of_the_catalog_holds_a_token(service: Service, shared: str) -> None:
    secrets = [token.removeprefix("faceindex_").encode() for token in service.tokens.values()]
    files = [path for path in Path(shared).rglob("*") if path.is_file()]

    assert [path for path in files if any(secret in path.read_bytes() for secret in secrets)] == []
    kept = [path for path in files if path.parent.name == "tokens"]
    assert len(kept) >= len(secrets)
    assert {path.stat().st_mode & 0o777 for path in [*kept, kept[0].parent]} == {0o600, 0o700}


def test_the_command_makes_lists_and_revokes_tokens(tmp_path: Path) -> None:
    catalog = str(imported(tmp_path))

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, ["token", *arguments, "-c", catalog])
        return done.exit_code, done.stdout.strip()

    code, text = run("create", "laptop", "--scope", "search")
    assert (code, text[:10], len(text)) == (0, "faceindex_", 53)
    assert run("create", "laptop", "--scope", "admin")[0] == 2
    assert run("create", "../laptop", "--scope", "admin")[0] == 2
    assert "laptop" in run("list")[1]
    assert text not in run("list", "--json")[1]
    assert run("revoke", "phone")[0] == 4
    assert run("revoke", "../../catalog")[0] == 4
    assert run("revoke", "laptop")[0] == 0
    assert '"tokens": []' in run("list", "--json")[1]
    assert "token" not in CliRunner().invoke(cli, ["check", "-c", catalog]).stdout


def test_a_revoked_token_opens_nothing_any_more_nor_does_its_session(tmp_path: Path) -> None:
    service = Service(str(imported(tmp_path)))
    program, person = service.client(Scope.LABEL), service.client()
    assert logged_in(person, service.tokens[Scope.LABEL]) == 303
    assert (program.get("/api/v1/people").status_code, person.get("/people").status_code) == (200, 200)

    service.store.revoke(service.names[Scope.LABEL])

    assert (program.get("/api/v1/people").status_code, person.get("/people").status_code) == (401, 401)


def logged_in(client: object, token: str) -> int:
    answer = client.post("/login", data={"token": token}, follow_redirects=False)  # type: ignore[attr-defined]
    cookie = answer.headers.get("set-cookie", "").lower()
    if cookie:
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert token.lower() not in cookie
    status: int = answer.status_code
    return status


def test_people_log_in_to_the_pages_with_a_token_and_out_again(service: Service) -> None:
    person = service.client()
    assert person.get("/", headers={"Accept": "text/html"}).url.path == "/login"
    assert logged_in(person, "x") == 401
    assert logged_in(person, service.tokens[Scope.SEARCH]) == 401
    assert logged_in(person, service.tokens[Scope.LABEL]) == 303

    page = person.get("/")

    assert page.status_code == 200
    assert "/runs" not in page.text
    assert person.get("/runs").status_code == 403
    word = page.text.partition('name="csrf_token" value="')[2].partition('"')[0]
    assert person.post("/logout", data={"csrf_token": "x"}).status_code == 403
    assert person.post("/logout", data={"csrf_token": word}, follow_redirects=False).status_code == 303
    assert person.get("/").status_code == 401


def test_the_word_of_one_persons_forms_is_no_others(service: Service) -> None:
    anna, ben = service.client(), service.client()
    for person, scope in ((anna, Scope.LABEL), (ben, Scope.ADMIN)):
        assert logged_in(person, service.tokens[scope]) == 303
    word = anna.get("/").text.partition('name="csrf_token" value="')[2].partition('"')[0]

    assert anna.post("/undo", data={"csrf_token": word}).status_code == 404
    assert ben.post("/undo", data={"csrf_token": word}).status_code == 403


def test_a_cookie_changes_nothing_through_the_api_unless_our_own_page_asks(service: Service) -> None:
    person = service.client()
    assert logged_in(person, service.tokens[Scope.LABEL]) == 303

    for headers in ({}, {"Origin": "http://other.example"}, {"Origin": "null"}):
        assert person.post("/api/v1/acts/undo", json={}, headers=headers).status_code == 403
    assert person.post("/api/v1/acts/undo", json={}, headers={"Origin": f"http://{HOST}"}).status_code == 404
    program = service.client(Scope.LABEL)
    assert program.post("/api/v1/acts/undo", json={}).status_code == 404
    assert program.post("/undo", data={}).status_code == 404


@pytest.mark.parametrize("path", ["/", "/api/v1/status", "/metrics", "/login"])
def test_another_name_is_refused_with_a_token_too(service: Service, path: str) -> None:
    assert service.client(Scope.ADMIN).get(path, headers={"host": "other.example"}).status_code == 400


def test_who_asks_too_often_is_told_when_to_come_back(shared: str) -> None:
    service = Service(shared, requests=Rate(0.01, 3), failures=Rate(0.01, 2))
    busy, calm, wrong = service.client(Scope.SEARCH), service.client(Scope.LABEL), service.client()

    assert [busy.get("/api/v1/status").status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    answer = busy.get("/api/v1/status")
    assert 90 <= int(answer.headers["retry-after"]) <= 101
    assert list(answer.json()) == ["error"]
    assert calm.get("/api/v1/status").status_code == 200
    bad = {"Authorization": "Bearer x"}
    assert [wrong.get("/api/v1/status", headers=bad).status_code for _ in range(4)] == [401, 401, 429, 429]
    assert wrong.post("/login", data={"token": "x"}).status_code == 429
    assert calm.get("/api/v1/status").status_code == 200


def test_searches_are_limited_harder_than_other_requests(shared: str) -> None:
    client = Service(shared, searches=Rate(0.01, 2)).client(Scope.SEARCH)

    assert [client.post("/api/v1/search").status_code for _ in range(3)] == [422, 422, 429]
    assert client.get("/api/v1/status").status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.2", "::"])
def test_another_address_needs_a_token_before_it_is_served(tmp_path: Path, host: str) -> None:
    done = CliRunner().invoke(cli, ["serve", "--host", host, "--port", "0", "-c", str(imported(tmp_path))])

    assert done.exit_code == 2
    assert "faceindex token create" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_service_for_other_computers_answers_nobody_without_a_token_and_ends_when_told(service: Service) -> None:
    root = service.archive.snapshot().catalog.root
    command = [sys.executable, "-m", "faceindex.cli.main", "serve", "--host", "0.0.0.0", "--port", "0", "-c", root]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            address = process.stdout.readline().strip().replace("0.0.0.0", "127.0.0.1")
            statuses = {path: status(address + path) for path in ("", "people", "api/v1/status", "metrics", "healthz")}
            assert statuses == {"": 401, "people": 401, "api/v1/status": 401, "metrics": 401, "healthz": 200}
            assert status(address + "api/v1/status", service.tokens[Scope.SEARCH]) == 200
            assert status(address + "api/v1/people", service.tokens[Scope.SEARCH]) == 403
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stderr
        assert "Traceback" not in process.stderr.read()


def status(url: str, token: str = "") -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urlopen(Request(url, headers=headers), timeout=20) as answer:
            return int(answer.status)
    except HTTPError as error:
        error.close()
        return error.code


def test_on_this_computer_no_token_is_needed_until_there_is_one(tmp_path: Path) -> None:
    from fastapi.testclient import TestClient

    from faceindex.catalog.catalog import Catalog
    from faceindex.service.access import Access
    from faceindex.service.app import create_app
    from faceindex.service.archive import Archive
    from faceindex.service.tokens import TokenStore

    catalog = Catalog.open(str(imported(tmp_path)))
    store = TokenStore(catalog.files)
    client = TestClient(create_app(Archive(catalog), Access("me", tokens=store)), base_url="http://127.0.0.1")
    assert client.get("/api/v1/audit").status_code == 200

    store.create("laptop", Scope.SEARCH)
    assert client.get("/api/v1/audit").status_code == 401
    store.revoke("laptop")
    assert client.get("/api/v1/audit").status_code == 401
