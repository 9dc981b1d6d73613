"""Runs a network on whatever this machine has: OpenVINO on CPUs, torch on GPUs.

On a CPU the torch module is converted once and the result kept, so that later processes load neither torch nor the
original weights. One thread always: data files must not depend on the machine's cores or load. A `Network` is used
by one thread at a time.
"""

import os
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

if TYPE_CHECKING:
    import torch

CONVERSION = 1
"""Raise it when the way of converting changes, so that networks kept by older versions are not used."""

CPU_OPTIONS = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}

Device = Literal["cpu", "cuda"]


class Network(Protocol):
    """A network ready to run."""

    def __call__(self, x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return the outputs for `x`, float32 (n, channels, height, width)."""


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
        digest: of the weights and everything else that shapes the module.
        build: makes the torch module; called only when it is not converted yet, or on a GPU.
        input_shape: (n, channels, height, width) with -1 for a size that varies.
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
    """A torch module in float32; on GPUs without TF32, so that results agree with the CPU's."""

    def __init__(self, module: "torch.nn.Module", device: Device) -> None:
        import torch

        if device == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
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
        self._request = _core().compile_model(model, "CPU", CPU_OPTIONS).create_infer_request()

    def __call__(self, x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return the outputs for `x`."""
        outputs = self._request.infer([np.ascontiguousarray(x)], share_inputs=True)
        return [np.array(output) for output in outputs.values()]


def cache_folder() -> Path:
    """Return where conversions and downloads are kept: FACEINDEX_CACHE, or the user's cache folder."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("FACEINDEX_CACHE") or user_cache_path("faceindex"))


def _core() -> Any:
    import openvino

    return openvino.Core()


def _converted(name: str, digest: str, build: Callable[[], "torch.nn.Module"], input_shape: tuple[int, ...]) -> Any:
    """Return the network as an OpenVINO model, from the cache when it is there and whole."""
    import openvino

    version = openvino.__version__.partition("-")[0]
    folder = cache_folder() / "networks" / f"{name}-{digest[:16]}-{version}-{CONVERSION}"
    try:
        xml, weights = (folder / "model.xml").read_bytes(), (folder / "model.bin").read_bytes()
        if (folder / "xxh3").read_text() == _checksum(xml, weights):
            return _core().read_model(xml, weights)
    except OSError:
        pass
    model = _convert(build().eval(), input_shape)
    with suppress(OSError):  # a cache that cannot be written costs time, nothing else
        _keep(model, folder)
    return model


def _convert(module: "torch.nn.Module", input_shape: tuple[int, ...]) -> Any:
    # Not openvino.convert_model, which reports its use over the network.
    import torch
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


def _keep(model: Any, folder: Path) -> None:
    """Write a conversion beside its place and rename it, so that half of one is never read."""
    import openvino

    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".tmp-") as temporary:
        made = Path(temporary) / "made"
        made.mkdir(mode=0o700)
        openvino.save_model(model, made / "model.xml", compress_to_fp16=False)
        xml, weights = (made / "model.xml").read_bytes(), (made / "model.bin").read_bytes()
        (made / "xxh3").write_text(_checksum(xml, weights))
        for stale in folder.glob("*"):  # a damaged conversion; a whole one was returned before
            stale.unlink()
        made.replace(folder)


def _checksum(xml: bytes, weights: bytes) -> str:
    return str(xxhash.xxh3_128_hexdigest(xml + weights))
