"""What a network is, and where networks run: OpenVINO on CPUs, torch on GPUs."""

import os
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from faceindex.errors import ConfigError

Device = Literal["cpu", "cuda"]


class Network(Protocol):
    """A network ready to run, by one thread at a time."""

    def __call__(self, x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return the outputs for a batch `x`."""


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


def gpu_names(device: str) -> tuple[str, ...]:
    """Return the GPUs of this machine that may be used, as CUDA_VISIBLE_DEVICES names them; none for a CPU."""
    if resolve_device(device) == "cpu":
        return ()
    import torch

    chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name.strip() for name in chosen.split(",")] if chosen else []
    count = torch.cuda.device_count()
    return tuple(names[:count]) if len(names) >= count else tuple(map(str, range(count)))


def free_gpu_bytes(gpu: int) -> int:
    """Return how much memory of a GPU nobody uses."""
    import torch

    return int(torch.cuda.mem_get_info(gpu)[0])
