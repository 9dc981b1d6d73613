import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from onnx.external_data_helper import set_external_data
from safetensors.torch import save_file

from faceindex.errors import WeightsError
from faceindex.faces.weights import check_sha256, fetch, fetched, load_state_dict, sha256_of, sha256_of_onnx
from tests.support.downloads import Server, serving

STATE = {"first.weight": torch.arange(6.0).reshape(2, 3).T, "first.bias": torch.ones(3), "steps": torch.tensor(7)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("FACEINDEX_CACHE", str(folder))
    return folder


@pytest.fixture
def published(tmp_path: Path) -> Path:
    path = tmp_path / "published.pt"
    torch.save(STATE, path)
    return path


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def same(state: dict[str, torch.Tensor]) -> bool:
    return state.keys() == STATE.keys() and all(torch.equal(state[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_parameters_are_read_from_both_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save(STATE, path)
    else:
        save_file({name: value.contiguous() for name, value in STATE.items()}, path)

    assert same(load_state_dict(path))
    assert same(load_state_dict(path, sha256_of(path)))


class Dangerous:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_code_in_a_file_is_never_run(tmp_path: Path) -> None:
    path, made = tmp_path / "weights.pt", tmp_path / "made"
    torch.save({"first.bias": Dangerous(made)}, path)

    with pytest.raises(WeightsError, match="not a file of weights"):
        load_state_dict(path)
    assert not made.exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 half a zip file", bytes(64)])
def test_files_that_are_no_weights_are_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)

    with pytest.raises(WeightsError, match=str(path)):
        load_state_dict(path)


@pytest.mark.parametrize("value", [[1, 2], torch.ones(2), {"epoch": 3}, {1: torch.ones(2)}, {"model": dict(STATE)}])
def test_anything_but_a_state_dict_is_refused(tmp_path: Path, value: object) -> None:
    path = tmp_path / "weights.pt"
    torch.save(value, path)

    with pytest.raises(WeightsError, match="no state dict"):
        load_state_dict(path)


def test_a_missing_or_changed_file_is_named(tmp_path: Path, published: Path) -> None:
    digest = sha256_of(published)
    content = bytearray(published.read_bytes())
    content[len(content) // 2] ^= 1
    published.write_bytes(content)

    with pytest.raises(WeightsError, match=f"{published} has sha256 .* {digest} wanted"):
        load_state_dict(published, digest)
    with pytest.raises(WeightsError, match=r"absent\.pt"):
        load_state_dict(tmp_path / "absent.pt")
    with pytest.raises(WeightsError, match=r"absent\.safetensors"):
        load_state_dict(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("known", [True, False])
def test_fetched_weights_are_checked_converted_and_private(server: Server, published: Path, known: bool) -> None:
    server.files["net.pt"] = published.read_bytes()

    made = fetch("net", f"{server.url}/net.pt", sha256_of(published) if known else None)

    assert made == fetched("net", f"{server.url}/net.pt")
    assert made.path.suffix == ".safetensors"
    assert made.published_sha256 == sha256_of(published)
    assert same(load_state_dict(made.path, made.sha256))
    assert sorted(path.name for path in made.path.parent.iterdir()) == ["net.json", "net.safetensors"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made.path.parent.iterdir()} == {0o600}


def test_another_checksum_than_the_table_has_is_refused(server: Server, published: Path, cache: Path) -> None:
    server.files["net.pt"] = published.read_bytes()

    with pytest.raises(WeightsError, match=f"has sha256 {sha256_of(published)}, {'0' * 64} wanted; nothing was kept"):
        fetch("net", f"{server.url}/net.pt", "0" * 64)

    assert fetched("net", f"{server.url}/net.pt") is None
    assert list((cache / "weights").iterdir()) == []


def test_a_later_download_must_equal_the_first(server: Server, published: Path) -> None:
    server.files["net.pt"] = published.read_bytes()
    first = fetch("net", f"{server.url}/net.pt", None)
    torch.save(STATE | {"first.bias": torch.zeros(3)}, published)
    server.files["net.pt"] = published.read_bytes()

    with pytest.raises(WeightsError, match=f"{first.published_sha256} wanted; .*delete {first.path} first"):
        fetch("net", f"{server.url}/net.pt", None)
    assert same(load_state_dict(first.path, first.sha256))

    first.path.unlink()
    assert fetch("net", f"{server.url}/net.pt", None).published_sha256 == sha256_of(published)


@pytest.mark.parametrize("name", ["half-net.pt", "chunked-net.pt"])
def test_a_connection_that_breaks_off_leaves_nothing(server: Server, published: Path, cache: Path, name: str) -> None:
    server.files["net.pt"] = published.read_bytes()

    with pytest.raises(WeightsError, match=rf"{name}.*fetch it again"):
        fetch("net", f"{server.url}/{name}", None)

    assert fetched("net", f"{server.url}/net.pt") is None
    assert list((cache / "weights").iterdir()) == []


def test_a_failed_download_leaves_earlier_weights_as_they_were(server: Server, published: Path) -> None:
    server.files["net.pt"] = published.read_bytes()
    before = fetch("net", f"{server.url}/net.pt", None)

    with pytest.raises(WeightsError):
        fetch("net", f"{server.url}/half-net.pt", None)

    assert fetched("net", f"{server.url}/net.pt") == before
    assert same(load_state_dict(before.path, before.sha256))


def test_an_answer_of_404_is_reported(server: Server) -> None:
    with pytest.raises(WeightsError, match=r"absent.pt: the server answered 404 Not Found"):
        fetch("net", f"{server.url}/absent.pt", None)


def test_a_server_that_is_not_there_is_reported(server: Server) -> None:
    with pytest.raises(WeightsError, match=r"cannot fetch http://127.0.0.1:1/net.pt: .*refused"):
        fetch("net", "http://127.0.0.1:1/net.pt", None)


def test_a_download_that_is_no_state_dict_is_not_kept(server: Server, cache: Path) -> None:
    server.files["net.pt"] = b"<html>please log in</html>"

    with pytest.raises(WeightsError, match=r"net.pt gives no PyTorch file with a state dict"):
        fetch("net", f"{server.url}/net.pt", None)

    assert list((cache / "weights").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_reported(server: Server, published: Path, cache: Path) -> None:
    server.files["net.pt"] = published.read_bytes()
    cache.write_text("a file where the folder should be")

    with pytest.raises(WeightsError, match=f"cannot fetch .*net.pt to {cache}"):
        fetch("net", f"{server.url}/net.pt", None)


@pytest.mark.parametrize("note", ["", "{", "[]", "{}", '{"sha256": "0"}'])
def test_weights_whose_checksums_are_lost_count_as_not_fetched(server: Server, published: Path, note: str) -> None:
    server.files["net.pt"] = published.read_bytes()
    made = fetch("net", f"{server.url}/net.pt", None)
    made.path.with_suffix(".json").write_text(note)

    assert fetched("net", f"{server.url}/net.pt") is None
    assert fetch("net", f"{server.url}/net.pt", None) == made


def test_an_onnx_file_is_kept_as_it_is(server: Server) -> None:
    server.files["net.onnx"] = b"a network"
    url = f"{server.url}/net.onnx"

    made = fetch("net", url, None)

    assert made == fetched("net", url)
    assert made.path.read_bytes() == b"a network"
    assert made.path.suffix == ".onnx"
    assert made.sha256 == made.published_sha256 == sha256_of(made.path)
    with pytest.raises(WeightsError, match="wanted; nothing was kept"):
        fetch("net", url, "0" * 64)


def external_network(folder: Path, *names: str) -> Path:
    """Write an ONNX file with a tensor in each of the files named."""
    tensors = []
    for name in names:
        values = numpy_helper.from_array(np.arange(300, dtype=np.float32), name)
        set_external_data(values, name)
        (folder / name).write_bytes(values.raw_data)
        values.ClearField("raw_data")
        values.data_location = onnx.TensorProto.EXTERNAL
        tensors.append(values)
    path = folder / "network.onnx"
    path.write_bytes(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], tensors)).SerializeToString())
    return path


def test_an_onnx_file_by_itself_has_its_own_checksum(tmp_path: Path) -> None:
    for content in (b"", b"location", bytes(100)):
        path = tmp_path / "network.onnx"
        path.write_bytes(content)

        assert sha256_of_onnx(path) == sha256_of(path)


@pytest.mark.parametrize("names", [["a.data"], ["b.data", "a.data"], ["x" * 200]])
def test_every_file_an_onnx_network_consists_of_counts(tmp_path: Path, names: list[str]) -> None:
    path = external_network(tmp_path, *names)
    whole = sha256_of_onnx(path)
    check_sha256(path, whole)

    seen = {sha256_of(path), whole}
    for name in names:
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[:-1] + b"\1")
        seen.add(sha256_of_onnx(path))
        with pytest.raises(WeightsError, match="is damaged or another file"):
            check_sha256(path, whole)
        (tmp_path / name).write_bytes(content)

    assert len(seen) == 2 + len(names)
    assert sha256_of_onnx(path) == whole
    (tmp_path / names[0]).unlink()
    with pytest.raises(WeightsError, match=f"cannot read .*{names[0]}: No such file"):
        sha256_of_onnx(path)
