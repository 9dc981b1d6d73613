"""Runs a network on whatever this machine has: OpenVINO on CPUs, torch on GPUs.

On a CPU the torch module is converted once and the result kept, so that later processes load neither torch nor the
original weights. One thread always: data files must not depend on the machine's cores or load. A `Network` is used
by one thread at a time.
"""

import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import xxhash
from numpy.typing import NDArray

from faceindex.errors import ConfigError
from faceindex.faces.cache import cache_folder

if TYPE_CHECKING:
    import torch

CONVERSION = 3
"""Raise it when the way of converting or one of our modules changes, so that older conversions are not used."""

CPU_OPTIONS = {
    "INFERENCE_PRECISION_HINT": "f32",
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    # Otherwise the thread of every process is bound to the same first core, and the other cores idle.
    "ENABLE_CPU_PINNING": False,
}

Device = Literal["cpu", "cuda"]


class Network(Protocol):
    """A network ready to run."""

    def __call__(self, x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return the outputs for a batch `x`."""


def load_network(
    name: str,
    digest: str,
    build: Callable[[], "torch.nn.Module"],
    input_shape: tuple[int, ...],
    device: str = "auto",
) -> Network:
    """Return a network that runs on `device`.

    Args:
        name: what the kept conversion is called.
        digest: of the weights.
        build: makes the torch module; called only when it is not converted yet, or on a GPU.
        input_shape: of the batches it takes, -1 for a size that varies.
        device: auto, cpu or cuda.
    """
    if resolve_device(device) == "cuda":
        return TorchNetwork(build(), "cuda")
    return OpenVinoNetwork(_converted(name, digest, build, input_shape))


def resolve_device(device: str) -> Device:
    """Return cpu or cuda; auto is cuda where a GPU can be used.

    Raises:
        ConfigError: cuda was asked for and there is none, or the name is unknown.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device must be auto, cpu or cuda, got {device}")
    # Importing torch takes seconds; without NVIDIA's driver there is no need to ask it.
    if device == "cpu" or (device == "auto" and not Path("/dev/nvidiactl").exists()):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise ConfigError("device cuda asked for, but torch finds no usable GPU; use --device cpu")
    return "cpu"


class TorchNetwork:
    """A torch module in float32; on GPUs without TF32 and always by the same algorithm.

    So results agree with the CPU's, and the same photos give the same bytes again on the same machine.
    """

    def __init__(self, module: "torch.nn.Module", device: Device) -> None:
        import torch

        if device == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cudnn.deterministic = True
        self._module = module.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = device

    def __call__(self, x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return the outputs for `x`."""
        import torch

        with torch.inference_mode():
            outputs = self._module(torch.from_numpy(x).to(self._device))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return [output.float().cpu().numpy() for output in outputs]


class OpenVinoNetwork:
    """A converted network in OpenVINO, float32, one thread."""

    def __init__(self, model: Any) -> None:
        self._request = _openvino().Core().compile_model(model, "CPU", CPU_OPTIONS).create_infer_request()

    def __call__(self, x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return the outputs for `x`."""
        outputs = self._request.infer([np.ascontiguousarray(x)], share_inputs=True)
        return [np.array(output) for output in outputs.values()]


def _openvino() -> Any:
    """Return openvino, kept from reporting its use to Google Analytics, which it does at every import."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None makes importing it fail
    import openvino

    return openvino


def _converted(name: str, digest: str, build: Callable[[], "torch.nn.Module"], input_shape: tuple[int, ...]) -> Any:
    """Return the network as an OpenVINO model, from the cache when it is there and whole."""
    openvino = _openvino()
    made_by = f"{digest} {input_shape} {openvino.__version__} {CONVERSION}"
    path = cache_folder() / "networks" / f"{name}-{xxhash.xxh3_64_hexdigest(made_by.encode())}.network"
    with suppress(OSError):
        if kept := _unpacked(path.read_bytes()):
            return openvino.Core().read_model(*kept)
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
        decoder = TorchScriptPythonDecoder(module, example_input=(example,))  # must outlive the conversion
        model = frontend.convert(frontend.load(decoder))
    model.reshape(list(input_shape))
    return model


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
