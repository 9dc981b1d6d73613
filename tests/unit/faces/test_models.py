import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from faceindex.config import Settings
from faceindex.errors import ConfigError, WeightsError
from faceindex.faces import loading
from faceindex.faces.dlib_resnet import TEMPLATE, packaged_weights
from faceindex.faces.loading import (
    build_detector,
    build_embedder,
    detector_id,
    embedder_id,
    settled_detector,
    settled_embedder,
)
from faceindex.faces.models import MODELS, fetch, find, verify
from faceindex.faces.onnx_embedder import ARCFACE, RETAIL
from tests.support.downloads import Server, serving
from tests.support.onnx_files import write_embedder, write_scrfd


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
        assert bool(model.files) + bool(model.url) + ("--weights" in model.summary) == 1
        assert model.url is None or model.url.startswith("https://")
        assert model.sha256 or not (model.url or "").endswith(".onnx")
        assert (model.family is not None) == (model.kind == "embedder")
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for _, digest in model.files)


def test_licences_are_stated_as_they_are() -> None:
    allowed = {name: model.commercial_ok for name, model in MODELS.items()}

    assert allowed == {
        "mtcnn": "yes",
        "dlib-resnet29": "yes",
        "facenet-vggface2": "unclear",
        "facenet-casia": "unclear",
        "sface": "unclear",
        "auraface": "yes",
        "omz-0095": "yes",
        "edgeface-xs": "unclear",
        "mobilefacenet": "unclear",
        "buffalo-l": "no",
    }


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("dlib-resnet", "embedder", r"unknown embedder 'dlib-resnet' .*did you mean dlib-resnet29\?"),
        (
            "mtcnn",
            "embedder",
            r"unknown embedder 'mtcnn' \(known: dlib-resnet29, facenet-vggface2, .*, onnx:FILE\) \(emb",
        ),
        ("dlib-resnet29", "detector", r"unknown detector 'dlib-resnet29' \(known: mtcnn, onnx:FILE\)"),
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

    monkeypatch.setattr(loading, "PREPROCESSING", loading.PREPROCESSING + 1)

    assert embedder_id("dlib-resnet29", mirror=True) != model


@pytest.mark.parametrize(
    ("template", "expected"),
    [(TEMPLATE, "756dd897cb26"), (ARCFACE, "1d456f860cd0"), (RETAIL, "6b72af59f1f5")],
    ids=["dlib", "arcface", "omz"],
)
def test_whoever_moves_a_template_is_reminded_to_raise_the_preprocessing_version(
    template: NDArray[np.float64], expected: str
) -> None:
    digest = hashlib.sha256(template.astype("<f8").tobytes()).hexdigest()[:12]

    assert (loading.PREPROCESSING, digest) == (1, expected)


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


def test_a_detector_file_is_named_by_its_place_and_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_scrfd(tmp_path / "scrfd@home.onnx")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    monkeypatch.chdir(tmp_path)

    settled = settled_detector("onnx:scrfd@home.onnx")

    assert settled == f"onnx:{path}@{digest}" == settled_detector(settled)
    assert detector_id(settled) == detector_id(f"onnx:{path}") == build_detector(settled).id
    assert digest in detector_id(settled)
    assert settled_detector("mtcnn") == "mtcnn"


def test_another_detector_under_the_same_name_is_noticed(tmp_path: Path) -> None:
    path = write_scrfd(tmp_path / "scrfd.onnx")
    settled = settled_detector(f"onnx:{path}")
    before = detector_id(settled)
    write_scrfd(path, seed=1)

    for use in (build_detector, detector_id, settled_detector):
        with pytest.raises(
            WeightsError, match=r"scrfd\.onnx has sha256 \w{12}\.\.\., \w{12}\.\.\. wanted; .*put it back"
        ):
            use(settled)
    assert detector_id(f"onnx:{path}") != before


def test_a_detector_id_changes_with_the_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"onnx:{write_scrfd(tmp_path / 'scrfd.onnx')}"
    before = detector_id(name)

    monkeypatch.setattr(loading, "DECODING", loading.DECODING + 1)

    assert detector_id(name) != before


def test_a_file_that_is_no_usable_detector_is_refused_in_one_line(tmp_path: Path) -> None:
    text, fixed = tmp_path / "text.onnx", write_scrfd(tmp_path / "fixed.onnx", side=64)
    text.write_text("no network")
    other = tmp_path / "other.onnx"
    write_embedder(other)

    for path, message in (
        (tmp_path / "absent.onnx", r"^cannot read .*absent\.onnx: No such file"),
        (text, r"text\.onnx cannot be read as an ONNX network"),
        (fixed, r"fixed\.onnx \(SCRFD\) takes pictures of one size only; export it with free height and width$"),
        (other, r"other\.onnx is no detector of a known kind \(YuNet, SCRFD, .*BlazeFace\): its outputs are \[\?,8\]$"),
    ):
        with pytest.raises(WeightsError, match=message) as caught:
            settled_detector(f"onnx:{path}")
        assert "\n" not in str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An embedder with 8 dimensions that no table knows."""
    return write_embedder(tmp_path / "mine.onnx")


def test_an_onnx_file_is_an_embedder_named_by_its_content_wherever_it_is(tmp_path: Path, file: Path) -> None:
    copy = tmp_path / "other.onnx"
    copy.write_bytes(file.read_bytes())

    model = embedder_id(f"onnx:{file}", mirror=True)

    assert re.fullmatch("onnx@[0-9a-f]{12}", model)
    assert embedder_id(f"onnx:{copy}", mirror=True) == model
    assert embedder_id(f"onnx:{file}", mirror=False) != model
    assert embedder_id(f"onnx:{write_embedder(copy, 9)}", mirror=True) != model
    assert find(f"onnx:{file}", "embedder").dimension == 8
    assert build_embedder(f"onnx:{file}", mirror=True).model == model


def test_the_name_that_is_kept_finds_the_same_file_from_any_folder(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    settled = settled_embedder("onnx:mine.onnx")

    monkeypatch.chdir("elsewhere")

    assert settled == f"onnx:{file}@{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"
    assert settled_embedder(settled) == settled_embedder("onnx:../mine.onnx") == settled
    assert embedder_id(settled, mirror=True) == embedder_id("onnx:../mine.onnx", mirror=True)
    assert settled_embedder("dlib-resnet29") == "dlib-resnet29"


def test_a_changed_file_is_refused_and_a_moved_one_is_found_again(file: Path, tmp_path: Path) -> None:
    settled = settled_embedder(f"onnx:{file}")
    model, moved = embedder_id(settled, mirror=True), tmp_path / "moved.onnx"
    file.rename(moved)

    with pytest.raises(WeightsError, match=f"cannot read {file}: No such file"):
        build_embedder(settled, mirror=True)
    assert embedder_id(settled, mirror=True, weights=str(moved)) == model
    assert build_embedder(settled, mirror=True, weights=str(moved)).model == model

    write_embedder(moved, 9)
    with pytest.raises(WeightsError, match=rf"{moved} has sha256 \w+\.\.\., \w+\.\.\. wanted; .* put it back"):
        build_embedder(settled, mirror=True, weights=str(moved))


def test_a_file_the_table_knows_is_that_model(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = replace(MODELS["omz-0095"], family=find(f"onnx:{file}", "embedder").family)
    monkeypatch.setitem(MODELS, "omz-0095", replace(known, sha256=hashlib.sha256(file.read_bytes()).hexdigest()))

    named = embedder_id("omz-0095", mirror=True, weights=str(file))

    assert named.startswith("omz-0095@")
    assert embedder_id(f"onnx:{file}", mirror=True) == named
    assert find(f"onnx:{file}", "embedder").licence == known.licence


@pytest.mark.parametrize("name", ["omz-0095", "edgeface-xs", "mobilefacenet", "buffalo-l"])
def test_models_nobody_may_fetch_ask_for_their_file(name: str) -> None:
    message = f"the weights of {name} cannot be fetched; give the ONNX file with --weights FILE"

    assert verify(name) == "missing"
    for attempt in (lambda: fetch(name), lambda: embedder_id(name, mirror=True)):
        with pytest.raises(WeightsError, match=message):
            attempt()


def test_a_fetched_onnx_network_is_checked_before_it_is_used(
    server: Server, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["sface.onnx"] = file.read_bytes()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    family = find(f"onnx:{file}", "embedder").family
    entry = replace(MODELS["sface"], url=f"{server.url}/sface.onnx", sha256=digest, family=family)
    monkeypatch.setitem(MODELS, "sface", entry)
    fetched = fetch("sface")

    assert fetched is not None
    assert verify("sface") == "ready"
    assert build_embedder("sface", mirror=True).model == embedder_id(f"onnx:{file}", mirror=True)
    fetched.path.write_bytes(file.read_bytes() + b" ")
    assert verify("sface") == "damaged"
    with pytest.raises(WeightsError, match=f"{fetched.path} has sha256 .*{digest} wanted"):
        build_embedder("sface", mirror=True)


def test_what_is_no_embedder_is_refused_before_work_begins(tmp_path: Path) -> None:
    path = tmp_path / "text.onnx"
    path.write_text("no network")

    for attempt in (settled_embedder, lambda name: embedder_id(name, mirror=True), lambda name: find(name, "embedder")):
        with pytest.raises(WeightsError, match=f"{path} cannot be read as an ONNX network"):
            attempt(f"onnx:{path}")
