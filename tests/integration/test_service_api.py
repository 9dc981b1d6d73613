"""The HTTP API: answers as the command line gives them, pictures that are none, changes, the audit and the figures."""

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from blake3 import blake3
from fastapi.testclient import TestClient
from PIL import Image as Pillow

from faceindex.cli.main import cli
from faceindex.service.tokens import Scope
from tests.integration.test_labelling_pages import FACES, HOSTILE, PEOPLE, imported
from tests.support.service import Service, astronaut, encoded

SCHEMAS = Path(__file__).parents[2] / "schemas"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    return Service(str(imported(tmp_path_factory.mktemp("api"))))


@pytest.fixture
def admin(service: Service) -> TestClient:
    return service.client(Scope.ADMIN)


def valid(answer: Any, kind: str) -> dict[str, Any]:
    """Return the document of an answer that is what its schema says."""
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    jsonschema.Draft202012Validator(json.loads((SCHEMAS / f"{kind}.v1.json").read_text())).validate(document)
    return document


def bomb() -> bytes:
    """Return a PNG of a few kilobytes that says it is 60,000 pixels wide and high."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 10**6)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("status", "status"),
        ("faces", "face_list"),
        ("people", "people"),
        ("clusters", "cluster_list"),
        ("clusters/1", "person"),
        ("suggestions", "suggestions"),
        ("audit", "audit"),
    ],
)
def test_every_list_is_the_document_its_schema_describes(admin: TestClient, path: str, kind: str) -> None:
    valid(admin.get(f"/api/v1/{path}"), kind)


def test_a_search_answers_what_the_command_line_answers(admin: TestClient, service: Service, tmp_path: Path) -> None:
    from click.testing import CliRunner

    (tmp_path / "a.jpg").write_bytes(astronaut())
    root = service.archive.snapshot().catalog.root
    done = CliRunner().invoke(cli, ["search", str(tmp_path / "a.jpg"), "-k", "3", "--json", "-c", root])
    wanted = json.loads(done.stdout)

    got = valid(admin.post("/api/v1/search", params={"k": 3}, files={"image": ("x/a.jpg", astronaut())}), "search")

    assert got["query"].pop("image") == "a.jpg"
    wanted["query"].pop("image")
    assert got == wanted
    assert [len(face["candidates"]) for face in got["faces"]] == [3]


def test_two_pictures_are_compared(admin: TestClient) -> None:
    pictures = {"a": ("a.jpg", astronaut()), "b": ("b.jpg", astronaut())}

    answer = valid(admin.post("/api/v1/verify", files=pictures), "verify")

    assert (answer["decision"], answer["a"]["image"], answer["b"]["image"]) == ("same", "a.jpg", "b.jpg")


@pytest.mark.parametrize(
    ("name", "payload", "said"),
    [
        ("empty", b"", "empty"),
        ("text", b"no picture", "unsupported"),
        ("half", lambda: astronaut()[:9000], "truncated"),
        ("zeros", b"\xff\xd8\xff" + b"\0" * 1000, ""),
        ("bomb", bomb, "too_large"),
        ("grey", lambda: encoded(Pillow.new("RGB", (200, 200), "grey"), "PNG"), "no face"),
        ("dot", lambda: encoded(Pillow.new("RGB", (1, 1)), "PNG"), ""),
        ("svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "unsupported"),
        ("script", b"GIF89a" + b"<script>" * 50, ""),
    ],
)
@pytest.mark.parametrize("route", ["search", "verify"])
def test_a_picture_that_cannot_be_searched_is_told_in_a_line(
    admin: TestClient, route: str, name: str, payload: Any, said: str
) -> None:
    data = payload() if callable(payload) else payload
    files = {"image": (f"{name}.jpg", data)} if route == "search" else {"a": ("a.jpg", astronaut()), "b": (name, data)}

    answer = admin.post(f"/api/v1/{route}", files=files)

    assert answer.status_code == 422
    assert list(answer.json()) == ["error"]
    line = answer.json()["error"]
    assert said in line
    assert name in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "params",
    [{"k": 0}, {"k": 10**9}, {"k": "x"}, {"fpir": 0}, {"fpir": "nan"}, {"threshold": 2}, {"since": "x"}, {"with": "x"}],
)
def test_an_option_that_cannot_be_used_is_told_in_a_line(admin: TestClient, params: dict[str, Any]) -> None:
    answer = admin.post("/api/v1/search", params=params, files={"image": ("a.jpg", astronaut())})

    assert answer.status_code in (404, 422)
    assert list(answer.json()) == ["error"]


def test_each_search_is_noted_with_who_asked_and_never_with_the_picture(tmp_path: Path) -> None:
    service = Service(str(imported(tmp_path)))
    searcher, admin = service.client(Scope.SEARCH), service.client(Scope.ADMIN)
    for _ in range(2):
        assert searcher.post("/api/v1/search", files={"image": ("a.jpg", astronaut())}).status_code == 200
    named = admin.post("/api/v1/acts/name", json={"faces": ["cluster:1"], "name": "Anna"})
    assert named.status_code == 200

    entries = valid(admin.get("/api/v1/audit"), "audit")["entries"]

    digest = blake3(astronaut()).hexdigest(16)
    assert [(one["who"], one["act"]) for one in entries] == [
        (service.names[Scope.ADMIN], "name"),
        *[(service.names[Scope.SEARCH], "search")] * 2,
    ]
    assert [(one["query"], one["faces"]) for one in entries[1:]] == [(digest, 1)] * 2
    assert (tmp_path / "catalog" / "audit.sqlite").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "catalog" / "audit.sqlite").stat().st_size < 20_000
    import sqlite3

    with sqlite3.connect(tmp_path / "catalog" / "audit.sqlite") as connection:
        for statement in ("DELETE FROM searches", "UPDATE searches SET who = 'nobody'"):
            with pytest.raises(sqlite3.IntegrityError, match="never"):
                connection.execute(statement)
    connection.close()


def test_a_search_that_cannot_be_noted_is_not_answered(tmp_path: Path) -> None:
    service = Service(str(imported(tmp_path)))
    (tmp_path / "catalog" / "audit.sqlite").mkdir()

    answer = service.client(Scope.SEARCH).post("/api/v1/search", files={"image": ("a.jpg", astronaut())})

    assert answer.status_code == 503
    assert "faces" not in answer.json()


def test_what_a_labeller_says_over_the_api_holds_and_is_taken_back(tmp_path: Path) -> None:
    service = Service(str(imported(tmp_path)))
    client = service.client(Scope.LABEL)

    def act(kind: str, **said: Any) -> dict[str, Any]:
        return valid(client.post(f"/api/v1/acts/{kind}", json=said), "event")

    def counts() -> dict[str, int]:
        return {one["person"]: one["faces"] for one in client.get("/api/v1/people").json()["people"]}

    faces = [one["face_id"] for one in client.get("/api/v1/clusters/2").json()["faces"]]
    assert act("name", faces=["cluster:1"], name="Anna")["author"] == service.names[Scope.LABEL]
    act("name", faces=faces[:2], name=HOSTILE)
    assert counts() == {"Anna": FACES, HOSTILE: 2}
    act("rename", person=HOSTILE, name="Ben/../ö")
    act("name", faces=faces[2:], name="Cara")
    act("merge", who="Cara", into="Ben/../ö")
    assert counts() == {"Anna": FACES, "Ben/../ö": FACES}
    shown = valid(client.get("/api/v1/people/Ben%2F..%2F%C3%B6"), "person")
    assert {one["face_id"] for one in shown["faces"]} == set(faces)
    act("split", who="Ben/../ö", faces=faces[:1], to="Dora")
    act("reject", person="Anna", faces=faces[1:2])
    act("ignore", faces=["cluster:3"])
    last = act("not-a-face", faces=["cluster:4"])
    assert client.get("/api/v1/clusters").json()["total"] == PEOPLE - 2
    assert act("undo")["event"] == last["event"]
    assert client.get("/api/v1/clusters").json()["total"] == PEOPLE - 1
    assert act("redo")["event"] == last["event"]
    assert client.get("/api/v1/clusters").json()["total"] == PEOPLE - 2
    assert valid(client.get(f"/api/v1/faces/{faces[0]}"), "person")["faces"][0]["person"] == "Dora"


@pytest.mark.parametrize(
    ("act", "said"),
    [
        ("name", {"faces": ["nobody"], "name": "x"}),
        ("name", {"faces": [], "name": "x"}),
        ("name", {"faces": ["cluster:1"], "name": ""}),
        ("name", {"faces": ["cluster:1"], "name": "a\0b"}),
        ("name", {"faces": ["cluster:1"], "name": "\ud800"}),
        ("name", {"faces": ["\ud800", "\0", "../../etc/passwd"], "name": "x"}),
        ("name", {"faces": ["cluster:1"], "name": "x" * 10_000}),
        ("name", {"faces": ["cluster:" + "9" * 4000], "name": "x"}),
        ("name", {"faces": ["cluster:1"], "name": "x", "more": 1}),
        ("name", []),
        ("merge", {"who": "a", "into": "b"}),
        ("split", {"who": "cluster:1", "faces": ["cluster:1"]}),
        ("undo", {"event": "ffffffff"}),
        ("undo", {"event": "%"}),
    ],
)
def test_an_act_that_makes_no_sense_says_so_and_does_nothing(admin: TestClient, act: str, said: Any) -> None:
    before = admin.get("/api/v1/people").json()

    headers = {"content-type": "application/json"}
    answer = admin.post(f"/api/v1/acts/{act}", content=json.dumps(said), headers=headers)

    assert answer.status_code in (404, 422)
    assert list(answer.json()) == ["error"]
    assert "\n" not in answer.json()["error"]
    assert admin.get("/api/v1/people").json() == before


@pytest.mark.parametrize(
    "path",
    [
        "faces/../../etc/passwd",
        "faces/..%2f..%2fcatalog.toml",
        "faces/..%2f..%2fcatalog.toml/crop",
        "people/..%2f..%2fcatalog.toml",
        "people/..%2ftokens",
        "people/%00",
        "people/%ed%a0%80",
        "clusters/..%2f1",
        "clusters/99999999999999999999999",
        "clusters/0",
        "photos/%2fetc%2fpasswd/picture",
        "faces?page=0",
        "audit?page=999999",
        "nothing",
    ],
)
def test_no_address_leads_to_a_file_or_an_error_of_ours(admin: TestClient, path: str) -> None:
    answer = admin.get(f"/api/v1/{path}")

    assert 400 <= answer.status_code < 500
    assert list(answer.json()) == ["error"]
    assert answer.headers["content-type"] == "application/json"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_an_upload_that_is_too_large_is_refused_before_it_is_read(
    admin: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceindex.service.security.MAX_UPLOAD", 1000)

    answer = admin.post("/api/v1/search", files={"image": ("a.jpg", io.BytesIO(b"x" * 5000))})

    assert answer.status_code == 413
    assert list(answer.json()) == ["error"]


def test_figures_tell_of_requests_by_route_and_of_the_generation(admin: TestClient, service: Service) -> None:
    for name in ("Anna", "Ben"):
        assert admin.get(f"/api/v1/people/{name}").status_code == 404

    text = admin.get("/metrics").text

    assert 'faceindex_http_requests_total{method="GET",route="/api/v1/people/{name:path}",status="404"}' in text
    assert "Anna" not in text
    assert f"faceindex_generation {float(service.archive.generation().number)}" in text
    assert f"faceindex_faces {float(PEOPLE * FACES)}" in text
    assert "faceindex_photos_quarantined 0.0" in text
    assert "faceindex_generation_age_seconds" in text


def test_a_probe_by_any_name_learns_only_whether_it_is_well(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    from faceindex.errors import CatalogError

    stranger = TestClient(service.app, base_url="http://10.0.0.7")
    assert stranger.get("/healthz").json() == {"status": "ok"}
    assert stranger.get("/readyz").json() == {"status": "ready"}

    def gone() -> None:
        raise CatalogError("/home/anna/catalog has no published generation any more")

    monkeypatch.setattr(service.archive, "generation", gone)
    assert stranger.get("/readyz").status_code == 503
    assert "anna" not in stranger.get("/readyz").text
    assert stranger.get("/healthz").status_code == 200
