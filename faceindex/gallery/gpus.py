"""The GPUs that FAISS sees; the only module that needs one.

Everything that is done on them is written against these few calls, so that it can be tested where there is none.
"""

from functools import cached_property
from typing import Any

from faceindex.faces.networks import free_gpu_bytes, resolve_device


class Gpus:
    """GPUs that galleries are trained, filled and searched on.

    Args:
        device: auto, cpu or cuda; none are used with cpu.
    """

    def __init__(self, device: str = "auto") -> None:
        self._device = device
        self._resources: dict[int, Any] = {}

    @cached_property
    def count(self) -> int:
        """How many there are; none is no error with cuda, which networks may mean that run on other machines."""
        if self._device == "cpu" or resolve_device("auto") == "cpu":
            return 0
        import faiss

        return int(faiss.get_num_gpus())

    def free_bytes(self, gpu: int) -> int:
        """Return the memory that nobody uses on a GPU."""
        return free_gpu_bytes(gpu)

    def spread(self, index: Any) -> Any:
        """Return a copy of a flat index on every GPU; they share the vectors that are searched for."""
        import faiss

        return faiss.index_cpu_to_all_gpus(index)

    def empty(self, gpu: int, dimension: int) -> Any:
        """Return an empty flat index on a GPU that keeps vectors as float16 and measures inner products.

        Indexes of one GPU share its stream and scratch memory, so one thread at a time may use them.
        """
        import faiss

        if gpu not in self._resources:
            self._resources[gpu] = faiss.StandardGpuResources()
        config = faiss.GpuIndexFlatConfig()
        config.device = gpu
        config.useFloat16 = True
        return faiss.GpuIndexFlatIP(self._resources[gpu], dimension, config)
