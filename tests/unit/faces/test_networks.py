from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from faceindex.errors import ConfigError
from faceindex.faces.networks import TorchNetwork, load_network, resolve_device
from tests.support.disk import small_disk

SHAPE = (-1, 3, 10, 12)


class Small(torch.nn.Module):
    """A network with two outputs."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.convolution = torch.nn.Conv2d(3, 5, 3)
        self.projection = torch.nn.Linear(5, 700)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = torch.relu(self.convolution(x))
        return maps, self.projection(maps.mean((2, 3)))


class Builder:
    """Makes the network and counts how often it was asked to."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.count = 0

    def __call__(self) -> torch.nn.Module:
        self.count += 1
        return Small(self.seed)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "not yet there" / "cache"
    monkeypatch.setenv("FACEINDEX_CACHE", str(folder))
    return folder


def batch(count: int = 4, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(seed).random((count, 3, 10, 12), np.float32)


def outputs(build: Callable[[], torch.nn.Module], digest: str = "d") -> list[np.ndarray]:  # type: ignore[type-arg]
    return load_network("small", digest, build, SHAPE, "cpu")(batch())


def kept(cache: Path) -> list[Path]:
    return sorted((cache / "networks").iterdir())


def assert_equal(found: list[np.ndarray], expected: list[np.ndarray]) -> None:  # type: ignore[type-arg]
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def test_a_converted_network_gives_what_the_torch_module_gives() -> None:
    with torch.inference_mode():
        expected = [output.numpy() for output in Small()(torch.from_numpy(batch()))]

    assert_equal(outputs(Builder()), expected)
    assert_equal(TorchNetwork(Small(), "cpu")(batch()), expected)


@pytest.mark.parametrize("count", [1, 2, 33])
def test_batches_may_have_any_size(count: int) -> None:
    network = load_network("small", "d", Builder(), SHAPE, "cpu")

    maps, vectors = network(batch(count))

    assert (len(maps), len(vectors)) == (count, count)
    assert_equal([maps, vectors], TorchNetwork(Small(), "cpu")(batch(count)))


def test_outputs_stay_as_they_were_when_the_network_runs_again() -> None:
    network = load_network("small", "d", Builder(), SHAPE, "cpu")

    first = network(batch(4, 1))
    before = [output.copy() for output in first]
    network(batch(4, 2))

    for output, expected in zip(first, before, strict=True):
        np.testing.assert_array_equal(output, expected)


def test_a_network_is_built_once_and_then_read_from_the_cache(cache: Path) -> None:
    build = Builder()

    first, second = outputs(build), outputs(build)

    assert build.count == 1
    assert len(kept(cache)) == 1
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_weights_are_another_network() -> None:
    outputs(Builder(seed=0), digest="zero")

    found = outputs(Builder(seed=1), digest="one")

    assert_equal(found, TorchNetwork(Small(seed=1), "cpu")(batch()))


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:10],
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-1],
        lambda whole: whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
        lambda whole: whole[:20] + bytes([whole[20] ^ 128]) + whole[21:],
    ],
    ids=["empty", "a few bytes", "half", "a byte short", "a bit of the weights", "a bit of the length"],
)
def test_a_damaged_conversion_is_made_again(cache: Path, damage: Callable[[bytes], bytes]) -> None:
    build = Builder()
    expected = outputs(build)
    [path] = kept(cache)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))

    assert_equal(outputs(build), expected)

    assert build.count == 2
    assert_equal(outputs(build), expected)
    assert build.count == 2


def test_what_an_interrupted_conversion_left_behind_is_passed_over(cache: Path) -> None:
    half = cache / "networks" / ".tmp-left"
    half.mkdir(parents=True)
    (half / "model.xml").write_text("<half")

    assert_equal(outputs(Builder()), outputs(Builder()))


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FACEINDEX_CACHE", str(tmp_path / "file" / "cache"))
    build = Builder()

    assert_equal(outputs(build), TorchNetwork(Small(), "cpu")(batch()))
    assert_equal(outputs(build), TorchNetwork(Small(), "cpu")(batch()))

    assert build.count == 2


def test_a_full_disk_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(tmp_path / "small", "16k"):
        monkeypatch.setenv("FACEINDEX_CACHE", str(tmp_path / "small" / "cache"))

        assert_equal(outputs(Builder()), TorchNetwork(Small(), "cpu")(batch()))

        assert list((tmp_path / "small" / "cache" / "networks").iterdir()) == []


def test_conversions_are_private_to_the_user(cache: Path) -> None:
    outputs(Builder())

    assert (cache / "networks").stat().st_mode & 0o777 == 0o700


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(ConfigError, match="device must be auto, cpu or cuda, got gpu"):
        resolve_device("gpu")


def test_cuda_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")

    with pytest.raises(ConfigError, match="use --device cpu"):
        resolve_device("cuda")
    assert resolve_device("auto") == "cpu"
    assert resolve_device("cpu") == "cpu"


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives() -> None:
    if not torch.cuda.is_available():
        pytest.skip("this machine has no GPU")

    assert resolve_device("auto") == "cuda"
    assert_equal(load_network("small", "d", Builder(), SHAPE, "cuda")(batch()), outputs(Builder()))
