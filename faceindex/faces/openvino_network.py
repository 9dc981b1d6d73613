"""Networks in OpenVINO, on the CPU: conversion from torch or ONNX, kept conversions.

One thread always: data files must not depend on the machine's cores or load.

bfloat16 where the processor multiplies it (AMX, AVX512-BF16), five times as fast as float32 there and the same faces:
the cosine between both embeddings of a face is at least 0.999, which the tests hold. float32 elsewhere.
"""

import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from faceindex.errors import WeightsError
from faceindex.faces.cache import cache_folder

if TYPE_CHECKING:
    import torch

CONVERSION = 5
"""Raise it when the way of converting or one of our modules changes, so that older conversions are not used."""

OPTIONS = {
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    # Otherwise the thread of every process is bound to the same first core, and the other cores idle.
    "ENABLE_CPU_PINNING": False,
}


def load_network(
    name: str, digest: str, build: Callable[[], "torch.nn.Module"], input_shape: tuple[int, ...]
) -> "OpenVinoNetwork":
    """Return a torch module as a network on the CPU.

    It is converted once and the result kept, so that later processes load neither torch nor the original weights.

    Args:
        name: what the kept conversion is called.
        digest: of the weights.
        build: makes the torch module; called only when it is not converted yet.
        input_shape: of the batches it takes, -1 for a size that varies.
    """
    return OpenVinoNetwork(converted(name, digest, build, input_shape))


class OpenVinoNetwork:
    """A network in OpenVINO, one thread; `precision` is bf16 or f32, by default what the processor is best at."""

    def __init__(self, model: Any, precision: str | None = None) -> None:
        options = {**OPTIONS, "INFERENCE_PRECISION_HINT": precision or best_precision()}
        self._request = _core().compile_model(model, "CPU", options).create_infer_request()

    def __call__(self, x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return the outputs for `x`."""
        outputs = self._request.infer([np.ascontiguousarray(x)], share_inputs=True)
        return list(outputs.values())


def _openvino() -> Any:
    """Return openvino, kept from reporting its use to Google Analytics, which it does at every import."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None makes importing it fail
    import openvino

    return openvino


@cache
def _core() -> Any:
    return _openvino().Core()


@cache
def best_precision() -> str:
    """Return bf16 where the processor multiplies it, f32 elsewhere."""
    return "bf16" if "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"


def read_onnx(path: Path, input_shape: tuple[int, ...] | None = None) -> Any:
    """Return the network of an ONNX file as an OpenVINO model, by default for the shapes the file states.

    Raises:
        WeightsError: it is no ONNX network, or not one for `input_shape`.
    """
    try:
        model = _core().read_model(path)
        if input_shape is not None:
            model.reshape(list(input_shape))
    except RuntimeError as error:
        detail = str(error).strip().splitlines()[-1]
        raise WeightsError(f"{path} cannot be read as an ONNX network: {detail}") from error
    return model


def converted(name: str, digest: str, build: Callable[[], "torch.nn.Module"], input_shape: tuple[int, ...]) -> Any:
    """Return the network as an OpenVINO model, from the cache when it is there and whole."""
    made_by = f"{digest} {input_shape} {_openvino().__version__} {CONVERSION}"
    path = cache_folder() / "networks" / f"{name}-{xxhash.xxh3_64_hexdigest(made_by.encode())}.network"
    with suppress(OSError):
        if kept := _unpacked(path.read_bytes()):
            return _core().read_model(*kept)
    model = _convert(build().eval(), input_shape)
    with suppress(OSError, RuntimeError):  # a cache that cannot be written costs time, nothing else
        _keep(model, path)
    return model


def _convert(module: "torch.nn.Module", input_shape: tuple[int, ...]) -> Any:
    import torch

    _openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    example = torch.zeros([2 if size == -1 else size for size in input_shape])
    frontend = FrontEndManager().load_by_framework("pytorch")
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns that shapes become constants, which is what we want
        decoder = TorchScriptPythonDecoder(
            module, example_input=(example,), shared_memory=False
        )  # must outlive the conversion
        model = frontend.convert(frontend.load(decoder))
    _forget_maxima(model)
    model.reshape(list(input_shape))
    return model


def _forget_maxima(model: Any) -> None:
    """Make every pooling one that does not tell where its maxima are.

    torch's becomes an operation with that as a second output; OpenVINO fills and reorders it even when nobody reads it,
    which takes a tenth of MTCNN's time.
    """
    from openvino import opset1

    for node in model.get_ops():
        if node.get_type_name() != "MaxPool" or node.get_output_size() == 1 or node.output(1).get_target_inputs():
            continue
        told = node.get_attributes()
        # What the simpler operation lacks, or rounds in another way.
        if set(told["dilations"]) != {1} or any(told["pads_begin"]) or any(told["pads_end"]):
            continue
        pooled = opset1.max_pool(
            node.input_value(0),
            strides=told["strides"],
            pads_begin=told["pads_begin"],
            pads_end=told["pads_end"],
            kernel_shape=told["kernel"],
            rounding_type="ceil" if told["rounding_type"].startswith("ceil") else "floor",
        )
        node.output(0).replace(pooled.output(0))


def _keep(model: Any, path: Path) -> None:
    """Write a conversion beside its place and rename it, so that other processes see a whole one or none."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".tmp-") as folder:
        xml, packed = Path(folder) / "model.xml", Path(folder) / "packed"
        _openvino().save_model(model, xml, compress_to_fp16=False)
        packed.write_bytes(_packed(xml.read_bytes(), xml.with_suffix(".bin").read_bytes()))
        packed.replace(path)


def _packed(xml: bytes, weights: bytes) -> bytes:
    """Return the two files of an OpenVINO model as one: checksum, length of the first, first, second."""
    content = len(xml).to_bytes(8, "little") + xml + weights
    return xxhash.xxh3_128_digest(content) + content


def _unpacked(packed: bytes) -> tuple[bytes, bytes] | None:
    """Return what was packed, or None when it is damaged."""
    checksum, content = packed[:16], packed[16:]
    if xxhash.xxh3_128_digest(content) != checksum:
        return None
    end = 8 + int.from_bytes(content[:8], "little")
    return content[8:end], content[end:]
