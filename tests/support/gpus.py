"""What stands for GPUs where there are none: the same calls, answered by FAISS on the CPU."""

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from faceindex.gallery.gpus import Gpus

LARGEST_K = 2048
"""More candidates than this a GPU does not give."""


class Halves:
    """A flat index of float16 vectors; probes are rounded to float16, as on a GPU."""

    def __init__(self, dimension: int) -> None:
        self._index = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        self.broken = False

    def add(self, vectors: NDArray[np.float32]) -> None:
        self._index.add(vectors)

    def search(self, probes: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        if self.broken:
            raise RuntimeError("Error in search: out of memory\nat somewhere.cu:1")
        assert 0 < k <= LARGEST_K
        return self._index.search(probes.astype(np.float16).astype(np.float32), k)


class StandIns(Gpus):
    """As many GPUs as are wanted, with as much free memory."""

    def __init__(self, *free_gb: float) -> None:
        super().__init__()
        self.count = len(free_gb)
        self._free_gb = free_gb
        self.made: list[tuple[int, Halves]] = []
        self.spread_over: list[Any] = []

    def free_bytes(self, gpu: int) -> int:
        return int(self._free_gb[gpu] * 2**30)

    def spread(self, index: Any) -> Any:
        self.spread_over.append(index)
        return faiss.clone_index(index)

    def empty(self, gpu: int, dimension: int) -> Any:
        self.made.append((gpu, Halves(dimension)))
        return self.made[-1][1]
