"""Work in portions that fit a GPU's memory, however large that is."""

from collections.abc import Callable, Sequence
from typing import TypeVar

Result = TypeVar("Result")


class Portions:
    """Splits work into portions of neighbouring items; one that exhausts the GPU's memory is halved and tried again.

    Later portions stay at the smaller size, so that memory is exhausted a few times in a run, not in every batch.

    Args:
        limit: size of the largest portion at first, in the unit of the items' sizes; one item may be larger.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def run(self, work: Callable[[slice], Result], sizes: Sequence[int]) -> list[Result]:
        """Return what `work` returns for each portion, in order.

        Args:
            work: does the items of a slice, and may be called again for the same ones.
            sizes: of each item.

        Raises:
            torch.OutOfMemoryError: one item alone is too much.
        """
        from torch import OutOfMemoryError

        results: list[Result] = []
        start = 0
        while start < len(sizes):
            portion = self._from(start, sizes)
            try:
                results.append(work(portion))
            except OutOfMemoryError:
                if portion.stop - start == 1:
                    raise
                self.limit = max(1, sum(sizes[portion]) // 2)
            else:
                start = portion.stop
                continue
            # Outside the handler, where the failed call's frames and their tensors are gone.
            _release()
        return results

    def _from(self, start: int, sizes: Sequence[int]) -> slice:
        """Return the portion that begins with item `start`."""
        end, total = start + 1, sizes[start]
        while end < len(sizes) and total + sizes[end] <= self.limit:
            total += sizes[end]
            end += 1
        return slice(start, end)


def _release() -> None:
    """Give back what torch keeps for later, which may be in pieces of unfit sizes."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
