from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from faceindex.errors import WeightsError
from faceindex.faces.openvino_network import OpenVinoNetwork, best_precision, converted, read_onnx
from tests.support.disk import small_disk
from tests.support.onnx_files import write_embedder, write_scrfd
from tests.support.small_network import SHAPE, Builder, Floats, assert_close, batch, by_torch


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "not yet there" / "cache"
    monkeypatch.setenv("FACEINDEX_CACHE", str(folder))
    return folder


def network(build: Builder, digest: str = "d", precision: str | None = "f32") -> OpenVinoNetwork:
    return OpenVinoNetwork(converted("small", digest, build, SHAPE), precision)


def outputs(build: Builder, digest: str = "d") -> list[Floats]:
    return network(build, digest)(batch())


def kept(cache: Path) -> list[Path]:
    return sorted((cache / "networks").iterdir())


def test_a_converted_network_gives_what_the_torch_module_gives() -> None:
    assert_close(outputs(Builder()), by_torch(batch()))


@pytest.mark.parametrize(
    ("pooling", "outputs"),
    [
        (torch.nn.MaxPool2d(3, 2, ceil_mode=True), 1),
        (torch.nn.MaxPool2d(2, 2, ceil_mode=True), 1),
        (torch.nn.MaxPool2d(2, 2), 1),
        (torch.nn.MaxPool2d(3, 2, 1), 2),
        (torch.nn.MaxPool2d(3, 1, dilation=2), 2),
    ],
)
def test_poolings_do_not_tell_where_their_maxima_are_if_they_stay_the_same(
    pooling: torch.nn.MaxPool2d, outputs: int
) -> None:
    model = converted("pooling", str(pooling), lambda: torch.nn.Sequential(pooling), (-1, 3, 23, 22))
    x = np.random.default_rng(0).normal(size=(2, 3, 23, 22)).astype(np.float32)

    [found] = OpenVinoNetwork(model, "f32")(x)

    np.testing.assert_array_equal(found, pooling(torch.from_numpy(x)).numpy())
    assert [node.get_output_size() for node in model.get_ops() if node.get_type_name() == "MaxPool"] == [outputs]


@pytest.mark.parametrize("count", [1, 2, 33])
def test_batches_may_have_any_size(count: int) -> None:
    assert_close(network(Builder())(batch(count)), by_torch(batch(count)))


def test_inputs_may_be_views_in_any_memory_order() -> None:
    turned = batch(4)[::-1, :, ::-1].transpose(0, 1, 3, 2).copy().transpose(0, 1, 3, 2)

    assert_close(network(Builder())(turned), by_torch(turned.copy()))


@pytest.mark.parametrize("precision", ["f32", None])
def test_outputs_stay_as_they_were_when_the_network_runs_again(precision: str | None) -> None:
    small = network(Builder(), precision=precision)

    first = small(batch(4, 1))
    before = [output.copy() for output in first]
    small(batch(4, 2))

    for output, expected in zip(first, before, strict=True):
        np.testing.assert_array_equal(output, expected)


def test_the_input_is_left_as_it_is() -> None:
    x = batch()
    x.flags.writeable = False

    network(Builder())(x)

    np.testing.assert_array_equal(x, batch())


def test_the_best_precision_is_one_of_two_and_the_default() -> None:
    best = best_precision()
    built = converted("small", "d", Builder(), SHAPE)

    assert best in ("bf16", "f32")
    for ours, expected in zip(OpenVinoNetwork(built)(batch()), OpenVinoNetwork(built, best)(batch()), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_bfloat16_keeps_the_direction_of_outputs_and_gives_float32() -> None:
    """Where the processor has no bfloat16, OpenVINO runs float32, and this holds all the more."""
    found = network(Builder(), precision="bf16")(batch(7))

    for ours, expected in zip(found, by_torch(batch(7)), strict=True):
        assert ours.dtype == np.float32
        a, b = (values.reshape(7, -1) for values in (ours, expected))
        cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        assert cosines.min() >= 0.999
        np.testing.assert_allclose(ours, expected, rtol=0, atol=0.02 * np.abs(expected).max())


def test_a_row_does_not_depend_on_its_batch() -> None:
    """In whatever this machine runs: data files would depend on what is processed with a photo."""
    small = network(Builder(), precision=None)
    together = small(batch(9))

    for row in range(9):
        for all_rows, [alone] in zip(together, small(batch(9)[row : row + 1]), strict=True):
            np.testing.assert_array_equal(all_rows[row], alone)


def test_a_network_is_built_once_and_then_read_from_the_cache(cache: Path) -> None:
    build = Builder()

    first, second = outputs(build), outputs(build)

    assert build.count == 1
    assert len(kept(cache)) == 1
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_weights_are_another_network() -> None:
    outputs(Builder(seed=0), digest="zero")

    assert_close(outputs(Builder(seed=1), digest="one"), by_torch(batch(), seed=1))


def test_another_shape_of_inputs_is_another_conversion(cache: Path) -> None:
    converted("small", "d", Builder(), SHAPE)
    fixed = OpenVinoNetwork(converted("small", "d", Builder(), (4, *SHAPE[1:])), "f32")

    assert len(kept(cache)) == 2
    assert_close(fixed(batch()), by_torch(batch()))


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

    assert_close(outputs(build), expected)

    assert build.count == 2
    assert_close(outputs(build), expected)
    assert build.count == 2


def test_what_an_interrupted_conversion_left_behind_is_passed_over(cache: Path) -> None:
    half = cache / "networks" / ".tmp-left"
    half.mkdir(parents=True)
    (half / "model.xml").write_text("<half")

    assert_close(outputs(Builder()), outputs(Builder()))


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FACEINDEX_CACHE", str(tmp_path / "file" / "cache"))
    build = Builder()

    assert_close(outputs(build), by_torch(batch()))
    assert_close(outputs(build), by_torch(batch()))

    assert build.count == 2


def test_a_full_disk_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(tmp_path / "small", "16k"):
        monkeypatch.setenv("FACEINDEX_CACHE", str(tmp_path / "small" / "cache"))

        assert_close(outputs(Builder()), by_torch(batch()))

        assert list((tmp_path / "small" / "cache" / "networks").iterdir()) == []


def test_conversions_are_private_to_the_user(cache: Path) -> None:
    outputs(Builder())

    assert (cache / "networks").stat().st_mode & 0o777 == 0o700


def test_an_onnx_network_takes_the_shapes_asked_for(tmp_path: Path) -> None:
    path = write_embedder(tmp_path / "embedder.onnx")

    for shape in ((-1, 3, 112, 112), (1, 3, 8, 9)):
        assert [size.get_max_length() for size in read_onnx(path, shape).input(0).get_partial_shape()] == list(shape)


def test_an_onnx_network_keeps_the_shapes_of_its_file_by_default(tmp_path: Path) -> None:
    fixed, free = (
        read_onnx(write_scrfd(tmp_path / "fixed.onnx", side=64)),
        read_onnx(write_scrfd(tmp_path / "free.onnx")),
    )

    assert list(fixed.input(0).get_shape()) == [1, 3, 64, 64]
    assert free.input(0).get_partial_shape().is_dynamic


@pytest.mark.parametrize("content", [b"", b"no network", bytes(1000)], ids=["empty", "text", "zeros"])
def test_what_is_no_onnx_network_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)

    with pytest.raises(WeightsError, match=r"a\.onnx cannot be read as an ONNX network: \S") as error:
        read_onnx(path)
    assert "\n" not in str(error.value)


def test_a_network_cut_short_is_refused(tmp_path: Path) -> None:
    path = write_embedder(tmp_path / "embedder.onnx")
    path.write_bytes(path.read_bytes()[:-40])

    with pytest.raises(WeightsError, match="cannot be read as an ONNX network"):
        read_onnx(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"missing\.onnx cannot be read as an ONNX network"):
        read_onnx(tmp_path / "missing.onnx")


@pytest.mark.parametrize("shape", [(1, 4, 64, 64), (1, 3, 64), (1, 3, 64, 64, 1)])
def test_a_network_that_takes_other_inputs_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = write_scrfd(tmp_path / "scrfd.onnx", side=64)

    with pytest.raises(WeightsError, match=r"scrfd\.onnx cannot be read as an ONNX network"):
        read_onnx(path, shape)
