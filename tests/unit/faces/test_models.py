import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from faceindex.config import Settings
from faceindex.errors import ConfigError, WeightsError
from faceindex.faces import models
from faceindex.faces.dlib_resnet import TEMPLATE, packaged_weights
from faceindex.faces.models import MODELS, build_embedder, embedder_id, fetch, find, verify
from tests.support.downloads import Server, serving


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("FACEINDEX_CACHE", str(folder))
    return folder


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server with weights of facenet-casia, which the table points to."""
    with serving() as running:
        path = tmp_path / "published.pt"
        torch.save({"weight": torch.arange(5.0)}, path)
        running.files["casia.pt"] = path.read_bytes()
        monkeypatch.setitem(MODELS, "facenet-casia", replace(MODELS["facenet-casia"], url=f"{running.url}/casia.pt"))
        yield running


def test_every_model_says_where_its_weights_come_from_and_what_is_allowed() -> None:
    for name, model in MODELS.items():
        assert model.name == name
        assert model.summary
        assert model.licence
        assert bool(model.files) != bool(model.url)
        assert model.url is None or model.url.startswith("https://")
        assert (model.family is not None) == (model.kind == "embedder")
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for _, digest in model.files)


def test_licences_are_stated_as_they_are() -> None:
    allowed = {name: model.commercial_ok for name, model in MODELS.items()}

    assert allowed == {
        "mtcnn": "yes",
        "dlib-resnet29": "yes",
        "facenet-vggface2": "unclear",
        "facenet-casia": "unclear",
    }


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("dlib-resnet", "embedder", r"unknown embedder 'dlib-resnet' .*did you mean dlib-resnet29\?"),
        ("mtcnn", "embedder", r"unknown embedder 'mtcnn' \(known: dlib-resnet29, facenet-vggface2, facenet-casia\)$"),
        ("dlib-resnet29", "detector", r"unknown detector 'dlib-resnet29' \(known: mtcnn\)"),
        ("", None, r"unknown model ''"),
    ],
)
def test_an_unknown_name_lists_the_known_ones(name: str, kind: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find(name, kind)


def test_the_default_models_come_with_packages_and_are_whole() -> None:
    settings = Settings()

    assert verify(settings.detector) == verify(settings.embedder) == "ready"
    assert fetch(settings.embedder) is None


def test_a_model_id_stands_for_weights_and_mirroring(tmp_path: Path) -> None:
    content = bytearray(packaged_weights().read_bytes())
    copy, other = tmp_path / "copy.dat", tmp_path / "other.dat"
    copy.write_bytes(content)
    content[-2000] ^= 1
    other.write_bytes(content)

    model = embedder_id("dlib-resnet29", mirror=True)

    assert re.fullmatch("dlib-resnet29@[0-9a-f]{12}", model)
    assert embedder_id("dlib-resnet29", mirror=True, weights=str(copy)) == model
    assert (
        len(
            {
                model,
                embedder_id("dlib-resnet29", mirror=False),
                embedder_id("dlib-resnet29", mirror=True, weights=str(other)),
            }
        )
        == 3
    )


def test_a_model_id_changes_with_the_preprocessing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = embedder_id("dlib-resnet29", mirror=True)

    monkeypatch.setattr(models, "PREPROCESSING", models.PREPROCESSING + 1)

    assert embedder_id("dlib-resnet29", mirror=True) != model


def test_whoever_moves_the_template_is_reminded_to_raise_the_preprocessing_version() -> None:
    digest = hashlib.sha256(TEMPLATE.astype("<f8").tobytes()).hexdigest()[:12]

    assert (models.PREPROCESSING, digest) == (1, "756dd897cb26")


def test_the_shipped_thresholds_are_those_of_the_default_embedder() -> None:
    from faceindex.evaluation.thresholds import load_table

    settings = Settings()

    model = embedder_id(settings.embedder, mirror=settings.mirror)

    assert load_table(model).model == model


@pytest.mark.parametrize("name", ["facenet-vggface2", "facenet-casia"])
def test_missing_weights_are_never_fetched_unasked(name: str, server: Server) -> None:
    assert verify(name) == "missing"
    with pytest.raises(WeightsError, match=f"not on this machine; run: faceindex models fetch {name} "):
        build_embedder(name, mirror=True, device="cpu")
    with pytest.raises(WeightsError, match=f"faceindex models fetch {name} "):
        embedder_id(name, mirror=True)
    assert server.requests == []


def test_fetched_weights_are_fetched_once_and_named_by_what_was_published(server: Server, tmp_path: Path) -> None:
    fetched = fetch("facenet-casia")

    assert fetched is not None
    assert fetched.published_sha256 == hashlib.sha256(server.files["casia.pt"]).hexdigest()
    assert verify("facenet-casia") == "ready"
    assert fetch("facenet-casia") == fetched
    assert server.requests == ["casia.pt"]
    assert embedder_id("facenet-casia", mirror=True) == embedder_id(
        "facenet-casia", mirror=True, weights=str(tmp_path / "published.pt")
    )


def test_damaged_weights_are_recognised_refused_and_fetched_again(server: Server) -> None:
    fetched = fetch("facenet-casia")
    assert fetched is not None
    content = bytearray(fetched.path.read_bytes())
    content[-1] ^= 1
    fetched.path.write_bytes(content)

    assert verify("facenet-casia") == "damaged"
    with pytest.raises(WeightsError, match=rf"{fetched.path} has sha256 \w+, {fetched.sha256} wanted"):
        build_embedder("facenet-casia", mirror=True, device="cpu")
    assert fetch("facenet-casia") == fetched
    assert verify("facenet-casia") == "ready"


def test_a_weights_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot read .*absent\.dat"):
        build_embedder("dlib-resnet29", mirror=True, device="cpu", weights=str(tmp_path / "absent.dat"))


def test_damaged_packaged_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(packaged_weights().read_bytes())
    content[-2000] ^= 1
    damaged = tmp_path / "damaged.dat"
    damaged.write_bytes(content)
    model = MODELS["dlib-resnet29"]
    [(_, digest)] = model.files
    monkeypatch.setitem(MODELS, "dlib-resnet29", replace(model, files=((lambda: damaged, digest),)))

    assert verify("dlib-resnet29") == "damaged"
    with pytest.raises(WeightsError, match=f"damaged.dat has sha256 .*{digest} wanted"):
        build_embedder("dlib-resnet29", mirror=True, device="cpu")
