"""Small ONNX networks made on the spot."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STRIDES = (8, 16, 32)


def write_scrfd(path: Path, *, landmarks: bool = True, side: int | None = None, seed: int = 0) -> Path:
    """Write a detector with the outputs of SCRFD and random weights; of noise one anchor in 15 sees a face.

    Args:
        path: of the file.
        landmarks: give it the outputs for landmarks.
        side: of the only pictures it takes; None for pictures of any size.
        seed: of the weights.
    """
    rng = np.random.default_rng(seed)
    nodes, weights, outputs = [], [], []
    for name, width in (("score", 1), ("box", 4), ("mark", 10))[: 3 if landmarks else 2]:
        for stride in STRIDES:
            key = f"{name}{stride}"
            kernel = rng.normal(0, 1 / stride, (2 * width, 3, stride, stride)).astype(np.float32)
            bias = np.full(2 * width, -1.5 if name == "score" else 3, np.float32)
            count = -1 if side is None else 2 * (side // stride) ** 2
            weights += [
                numpy_helper.from_array(kernel, f"{key}.kernel"),
                numpy_helper.from_array(bias, f"{key}.bias"),
                numpy_helper.from_array(np.array([count, width]), f"{key}.shape"),
            ]
            nodes += [
                helper.make_node(
                    "Conv", ["input", f"{key}.kernel", f"{key}.bias"], [f"{key}.maps"], strides=[stride] * 2
                ),
                helper.make_node("Transpose", [f"{key}.maps"], [f"{key}.cells"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{key}.cells", f"{key}.shape"], [f"{key}.rows"]),
                helper.make_node("Sigmoid" if name == "score" else "Identity", [f"{key}.rows"], [key]),
            ]
            outputs.append(helper.make_tensor_value_info(key, TensorProto.FLOAT, [None, width]))
    _write(path, nodes, weights, [1, 3, side or "height", side or "width"], outputs)
    return path


def write_embedder(path: Path, dimension: int = 8) -> Path:
    """Write a network that makes `dimension` numbers of the mean colour of pictures of any size."""
    weights = [
        numpy_helper.from_array(np.random.default_rng(0).normal(0, 1, (3, dimension)).astype(np.float32), "weights")
    ]
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["colour"]),
        helper.make_node("MatMul", ["colour", "weights"], ["embedding"]),
    ]
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", dimension])
    _write(path, nodes, weights, ["batch", 3, "height", "width"], [output])
    return path


def _write(
    path: Path,
    nodes: list[onnx.NodeProto],
    weights: list[onnx.TensorProto],
    shape: list[int | str],
    outputs: list[onnx.ValueInfoProto],
) -> None:
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "network", [given], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
