"""A network in torch, on a GPU: in bfloat16 where that is good enough, in batches of few sizes, replayed as graphs."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from faceindex.faces.networks import Device
from faceindex.faces.portions import Portions

SIZES = (1, 4, 16, 32, 64, 96, 128, 192, 256, 384, 512)
"""Items that go through a network at once; a batch is filled up to the next of these, and the largest is the limit."""

LEAST_COSINE = 0.999
"""Between outputs in bfloat16 and in float32, for the first to be used."""

WARM_UPS = 2
"""Runs before a graph is recorded, in which libraries choose algorithms and get their workspaces."""

_log = logging.getLogger(__name__)

Outputs = tuple[torch.Tensor, ...]


class TorchNetwork:
    """A torch module, its batch normalisations folded into the layers before them; used by one thread at a time.

    In float32 without TF32 unless `example` is given, and always by the same algorithm. So results agree with the
    CPU's, and the same batches give the same bytes again on the same machine. On a GPU the work of each batch size is
    recorded once and replayed (a CUDA graph), because starting hundreds of small kernels takes longer than they do.

    Args:
        module: takes one tensor and returns one or several, with an item in each row.
        device: where it runs; cpu is for tests.
        example: a batch that decides on bfloat16: used when it changes no output's direction, see `LEAST_COSINE`.
    """

    def __init__(self, module: nn.Module, device: Device, *, example: NDArray[Any] | None = None) -> None:
        be_exact()
        self._device = torch.device(device)
        module = folded(module.eval())
        self._module = module.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._portions = Portions(SIZES[-1])
        self._graphs: dict[int, _Graph] | None = {} if device == "cuda" else None
        self._pool = torch.cuda.graph_pool_handle() if device == "cuda" else None
        self._half = False
        if example is not None:
            self._half = self._agrees(torch.from_numpy(example).to(self._device))

    @property
    def precision(self) -> str:
        """bf16 or f32."""
        return "bf16" if self._half else "f32"

    @torch.inference_mode()
    def __call__(self, x: NDArray[Any]) -> list[NDArray[np.float32]]:
        """Return the outputs for `x`, of any number of items; halves the batches when the GPU's memory is exhausted."""
        source = torch.from_numpy(x)
        if self._device.type == "cuda":
            source = source.pin_memory()
        if len(x) == 0:
            return [output.cpu().numpy() for output in self._batch(source, 0, 0)]
        parts = self._portions.run(lambda part: self._batch(source, part.start, part.stop), [1] * len(x))
        return [torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True)]

    def _batch(self, source: torch.Tensor, start: int, end: int) -> Outputs:
        count = end - start
        size = next(size for size in SIZES if size >= count)
        graph = self._graph(size, source)
        if graph is not None:
            return graph(source[start:end])
        x = source.new_zeros((size, *source.shape[1:]), device=self._device)
        x[:count].copy_(source[start:end], non_blocking=True)
        return tuple(output[:count] for output in self._run(x))

    def _run(self, x: torch.Tensor) -> Outputs:
        return run(self._module, x, half=self._half)

    def _graph(self, size: int, source: torch.Tensor) -> "_Graph | None":
        """Return the recorded work for a batch of this size; None where that is not possible."""
        if self._graphs is None:
            return None
        if size not in self._graphs:
            x = source.new_zeros((size, *source.shape[1:]), device=self._device)
            warm_up(self._run, x)
            try:
                self._graphs[size] = _Graph(self._run, x, self._pool)
            except RuntimeError as error:
                first = str(error).strip().splitlines()[0]
                _log.warning("the network cannot be recorded as a CUDA graph and runs slower: %s", first)
                self._graphs = None
                return None
        return self._graphs[size]

    @torch.inference_mode()
    def _agrees(self, example: torch.Tensor) -> bool:
        exact, fast = (run(self._module, example, half=half) for half in (False, True))
        cosine = min(float(cosines(a, b).min()) for a, b in zip(exact, fast, strict=True))
        if cosine >= LEAST_COSINE:
            return True
        _log.warning(
            "the network stays in float32, half as fast: bfloat16 turns its outputs to a cosine of %.4f", cosine
        )
        return False


class _Graph:
    """The work for batches of one size, recorded.

    Graphs share their memory (`pool`), so outputs are copied before the next of them runs.
    """

    def __init__(self, work: Callable[[torch.Tensor], Outputs], x: torch.Tensor, pool: Any) -> None:
        self._x = x
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may go on using the GPU while this one records.
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
            self._outputs = work(x)

    def __call__(self, source: torch.Tensor) -> Outputs:
        self._x[: len(source)].copy_(source, non_blocking=True)
        self._graph.replay()
        return tuple(output[: len(source)].clone() for output in self._outputs)


def be_exact() -> None:
    """Keep a GPU from rounding float32 to TF32, and from choosing algorithms whose results vary."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True


def run(module: nn.Module, x: torch.Tensor, *, half: bool) -> Outputs:
    """Return a module's outputs in float32, worked out in bfloat16 where torch deems it safe if `half`."""
    # Kept casts of weights would be memory of a graph that is gone.
    with torch.autocast(x.device.type, torch.bfloat16, enabled=half, cache_enabled=False):
        outputs = module(x)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return tuple(output.float() for output in outputs)


def warm_up(work: Callable[[torch.Tensor], Outputs], x: torch.Tensor) -> None:
    """Run work on a stream of its own a few times, as must be done before it is recorded."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            work(x)
    torch.cuda.current_stream().wait_stream(stream)


def cosines(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the cosine between the rows of two tensors, float32 (n,)."""
    return nn.functional.cosine_similarity(a.flatten(1), b.flatten(1))


def folded(module: nn.Module) -> nn.Module:
    """Return the module with batch normalisations folded into the convolutions and linear layers before them.

    A module without any is returned as it is.

    Raises:
        torch.fx.proxy.TraceError: the module's flow depends on its data.
    """
    if not any(isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d) for part in module.modules()):
        return module
    traced = torch.fx.symbolic_trace(module)
    parts = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        [before] = node.all_input_nodes if len(node.all_input_nodes) == 1 else [None]
        if node.op != "call_module" or before is None or before.op != "call_module" or len(before.users) > 1:
            continue
        layer, normalisation = parts[before.target], parts[node.target]
        if isinstance(layer, nn.Conv2d) and isinstance(normalisation, nn.BatchNorm2d):
            fused: nn.Module = fuse_conv_bn_eval(layer, normalisation)
        elif isinstance(layer, nn.Linear) and isinstance(normalisation, nn.BatchNorm1d):
            fused = fuse_linear_bn_eval(layer, normalisation)
        else:
            continue
        traced.set_submodule(before.target, fused)
        node.replace_all_uses_with(before)
        traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced
