"""Embedders from ONNX files made on the spot; onnxruntime is the oracle of what a network computes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from faceindex.errors import WeightsError
from faceindex.faces.chips import Aligned
from faceindex.faces.onnx_embedder import (
    ARCFACE,
    CENTRED,
    IMAGENET,
    RAW,
    RETAIL,
    RETAIL_FAMILY,
    OnnxNetwork,
    Scale,
    arcface_family,
    family_of,
)

KERNEL = 16
Node = onnx.NodeProto


def write(
    folder: Path,
    *,
    shape: Sequence[int | str] = ("n", 3, 112, 112),
    dimension: int = 7,
    before: Sequence[str] = (),
    end: Sequence[Node] | None = None,
    output: Sequence[int | str] | None = None,
) -> Path:
    """Write a network: mean of maps of a convolution, or what `end` makes of them.

    Args:
        folder: where it is put.
        shape: of its input.
        dimension: channels of the convolution.
        before: operators with a constant that come before the convolution.
        end: nodes from "maps" to "vectors".
        output: shape that the file states.
    """
    constants = {
        "kernel": np.random.default_rng(0).normal(0, 1, (dimension, 3, KERNEL, KERNEL)),
        "mean": np.full((1, 3, 1, 1), 127.5),
        "channels last": [0, 3, 1, 2],
        "n rows": [-1, dimension],
        "one row": [1, -1],
        "one face": [1, dimension],
    }
    tensors = [
        numpy_helper.from_array(np.asarray(value, np.float32 if np.ndim(value) > 1 else np.int64), name)
        for name, value in constants.items()
    ]
    nodes, last = [], "faces"
    for number, operator in enumerate(before):
        nodes.append(helper.make_node(operator, [last, "mean"], [f"scaled{number}"]))
        last = f"scaled{number}"
    nodes.append(helper.make_node("Conv", [last, "kernel"], ["convolved"], strides=[KERNEL, KERNEL]))
    nodes.append(helper.make_node("GlobalAveragePool", ["convolved"], ["maps"]))
    nodes += end or [helper.make_node("Flatten", ["maps"], ["vectors"])]
    given = helper.make_tensor_value_info("faces", TensorProto.FLOAT, shape)
    made = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, output or (shape[0], dimension))
    graph = helper.make_graph(nodes, "network", [given], [made], tensors)
    path = folder / "network.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def faces(count: int, size: int = 112) -> NDArray[np.float32]:
    return np.random.default_rng(count).integers(0, 256, (count, 3, size, size)).astype(np.float32)


def by_onnxruntime(path: Path, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the vectors of faces that go through one by one."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"faces": face[None]})[0].reshape(1, -1) for face in x])


def cutter_of(path: Path) -> Aligned:
    cutter = family_of(path).cutter
    assert isinstance(cutter, Aligned)
    return cutter


def test_pixels_are_scaled_channel_by_channel() -> None:
    pixels = np.array([[[[10.0]], [[20.0]], [[30.0]]]], np.float32)

    scaled = Scale((1, 2, 3), (3, 2, 1))(pixels)
    turned = Scale((1, 2, 3), (3, 2, 1), bgr=True)(pixels)

    assert scaled.ravel().tolist() == [3, 9, 27]
    assert turned.ravel().tolist() == [27, 9, 3]
    assert turned.dtype == np.float32
    assert turned.flags.c_contiguous


def test_the_usual_scales_are_those_the_networks_were_trained_with() -> None:
    ends = np.repeat(np.array([0.0, 255.0], np.float32), 3).reshape(2, 3, 1, 1)

    assert CENTRED(ends).ravel().tolist() == [-1, -1, -1, 1, 1, 1]
    assert np.array_equal(RAW(ends), ends)
    imagenet = (ends.reshape(2, 3) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(IMAGENET(ends).reshape(2, 3), imagenet, rtol=1e-5)


def test_a_file_that_says_nothing_else_follows_arcface(tmp_path: Path) -> None:
    path = write(tmp_path)

    family = family_of(path)

    assert family.dimension == 7
    assert family.scale is CENTRED
    assert cutter_of(path).size == 112
    assert np.array_equal(cutter_of(path).template, ARCFACE)


@pytest.mark.parametrize("shape", [("n", 3, "height", "width"), ("n", 3, -1, -1), (1, 3, "height", "width")])
def test_pictures_of_any_size_are_given_as_112_pixels(tmp_path: Path, shape: tuple[int | str, ...]) -> None:
    assert cutter_of(write(tmp_path, shape=shape)).size == 112


@pytest.mark.parametrize("size", [96, 128, 160])
def test_the_template_grows_with_the_input(tmp_path: Path, size: int) -> None:
    cutter = cutter_of(write(tmp_path, shape=("n", 3, size, size)))

    assert cutter.size == size
    np.testing.assert_allclose(cutter.template / size, ARCFACE / 112)


@pytest.mark.parametrize("before", [["Sub"], ["Sub", "Mul"], ["Mul", "Add"], ["Div"]])
def test_a_network_that_scales_pixels_itself_gets_them_as_they_are(tmp_path: Path, before: list[str]) -> None:
    assert family_of(write(tmp_path, before=before)).scale is RAW


def test_open_model_zoos_network_is_known_by_its_shape(tmp_path: Path) -> None:
    shape, pooled = ("n", 3, 128, 128), [helper.make_node("Identity", ["maps"], ["vectors"])]

    family = family_of(
        write(tmp_path, shape=shape, dimension=256, before=["Mul", "Add"], end=pooled, output=("n", 256, 1, 1))
    )

    assert family is RETAIL_FAMILY
    assert isinstance(family.cutter, Aligned)
    assert np.array_equal(family.cutter.template, RETAIL)
    assert family_of(write(tmp_path, shape=shape, dimension=256)).scale is CENTRED
    assert family_of(write(tmp_path, shape=shape, dimension=128, before=["Mul"])).scale is RAW


@pytest.mark.parametrize(
    "made",
    [
        {"shape": ("n", 3, 112, 96)},
        {"shape": ("n", 3, 112, "width")},
        {"end": [helper.make_node("Identity", ["convolved"], ["vectors"])], "output": ("n", 7, 7, 7)},
        {"end": [helper.make_node("ReduceMean", ["maps"], ["vectors"], keepdims=0)], "output": ()},
    ],
)
def test_what_is_no_embedder_is_refused_in_one_line(tmp_path: Path, made: dict[str, Any]) -> None:
    file = write(tmp_path, **made)

    with pytest.raises(
        WeightsError, match=r"must take faces \(n, 3, s, s\) and give vectors \(n, d\); it takes"
    ) as caught:
        family_of(file)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no network", bytes(1000)])
def test_what_is_no_network_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.onnx"
    path.write_bytes(content)

    with pytest.raises(WeightsError, match=f"{path} "):
        family_of(path)


def test_vectors_are_those_of_onnxruntime(tmp_path: Path) -> None:
    path = write(tmp_path, before=["Sub"])
    x = faces(5)

    [vectors] = OnnxNetwork(path, family_of(path))(x)

    expected = by_onnxruntime(path, x)
    assert vectors.shape == (5, 7)
    np.testing.assert_allclose(vectors, expected, atol=1e-4 * np.abs(expected).max())


ONE_ROW = [helper.make_node("Reshape", ["maps", "one row"], ["vectors"])]
ONE_FACE = [helper.make_node("Reshape", ["maps", "one face"], ["vectors"])]
MIXED = [
    helper.make_node("Flatten", ["maps"], ["flat"]),
    helper.make_node("ReduceMax", ["flat"], ["largest"], axes=[0], keepdims=1),
    helper.make_node("Div", ["flat", "largest"], ["vectors"]),
]


@pytest.mark.parametrize(
    ("end", "in_batches"),
    [(None, True), (ONE_ROW, True), (ONE_FACE, False), (MIXED, False)],
    ids=["free", "one row of all vectors", "fixed", "mixing the faces of a batch"],
)
def test_a_network_made_for_one_face_at_a_time_works(tmp_path: Path, end: list[Node] | None, in_batches: bool) -> None:
    path = write(tmp_path, shape=(1, 3, 112, 112), end=end)
    x = CENTRED(faces(5))

    network = OnnxNetwork(path, family_of(path))
    [vectors] = network(x)

    assert network.in_batches == in_batches
    expected = by_onnxruntime(path, x)
    np.testing.assert_allclose(vectors, expected, atol=1e-4 * np.abs(expected).max())


def test_the_network_of_another_family_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="gives vectors of 7 numbers, 512 wanted; it is another network"):
        OnnxNetwork(write(tmp_path), arcface_family(512))
    with pytest.raises(WeightsError, match="cannot be read as an ONNX network"):
        OnnxNetwork(write(tmp_path, shape=("n", 1, 112, 112)), arcface_family(7))
