"""Finds the cheapest operating point of a built index: lists visited, and candidates re-ranked exactly."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from faceindex.gallery import faiss_io
from faceindex.gallery.recall import Recall, Sample, measure
from faceindex.gallery.search import Gallery
from faceindex.types import IndexRecipe

DEPTHS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 60, 100)
"""Candidates re-ranked, as multiples of k, that are tried."""

SPARE = 1.1
"""Lists visited beyond the fewest that do when many are re-ranked, so that fewer need to be."""

SLACK = 0.01
"""A night's small sample may fall this far short of a recall asked for before the index is tuned again."""

FINENESS = 1.08
"""The number of lists is found to this factor."""


@dataclass(frozen=True, slots=True)
class Target:
    """Least shares of exact search's answers that an index finds; see `types.IndexQuality`."""

    recall_at_10: float
    first_agreement: float
    mated_rank_1: float

    def shortfalls(self, found: Recall) -> list[str]:
        """Return what is below the target, in words."""
        named = (
            ("recall@10", "recall_at_10"),
            ("first agreement", "first_agreement"),
            ("mated rank-1", "mated_rank_1"),
        )
        return [
            f"{name} {getattr(found, field):.4f} where {getattr(self, field):g} is wanted"
            for name, field in named
            if getattr(found, field) < getattr(self, field)
        ]


AIM = Target(recall_at_10=0.96, first_agreement=0.994, mated_rank_1=0.995)
"""What an index is tuned for: a little above what it must not fall below. The cheapest point that reaches an aim on a
sample flatters itself, by 0.003 in first agreement on a million faces and 2048 probes; so that 0.99 holds, more is
aimed at."""

LEAST = Target(recall_at_10=0.95, first_agreement=0.0, mated_rank_1=0.99)
"""Below this a generation is refused."""


def targets(recall: float) -> tuple[Target, Target]:
    """Return what an index is tuned for and the least it must reach, by a user's wish for recall@10; 0 for none.

    Somebody who asks for less recall wants speed: who is in the gallery must still be found.
    """
    if not recall:
        return AIM, LEAST
    return replace(LEAST, recall_at_10=recall), replace(LEAST, recall_at_10=recall - SLACK)


def tune(gallery: Gallery, sample: Sample, aim: Target = AIM, threads: int = 1) -> IndexRecipe:
    """Return the recipe with the fewest lists visited and the fewest candidates re-ranked that reach the aim.

    Where nothing does, as with codes that are too coarse, the most of both is returned.

    Args:
        gallery: indexed.
        sample: held-out probes.
        aim: what the search must find.
        threads: for searching.
    """

    def enough(nprobe: int, rerank: int) -> bool:
        recipe = replace(gallery.recipe, nprobe=nprobe, rerank=rerank)
        return not aim.shortfalls(measure(gallery.at(recipe), sample, threads))

    most = faiss_io.list_count(gallery.shards[0].index)
    nprobe = _fewest(most, lambda lists: enough(lists, DEPTHS[-1])) if most else 0
    if most:
        nprobe = min(most, round(nprobe * SPARE))
    rerank = next((depth for depth in DEPTHS[:-1] if enough(nprobe, depth)), DEPTHS[-1])
    return replace(gallery.recipe, nprobe=nprobe, rerank=rerank)


def _fewest(most: int, enough: Callable[[int], bool]) -> int:
    """Return the fewest lists, of 1 to `most`, that are enough, to a factor of FINENESS; `most` when none are."""
    low, high = 0, max(1, most // 256)
    while not enough(high):
        if high == most:
            return most
        low, high = high, min(most, 2 * high)
    while high > low + 1 and high > FINENESS * low:
        middle = min(high - 1, max(low + 1, round((max(1, low) * high) ** 0.5)))
        if enough(middle):
            high = middle
        else:
            low = middle
    return high
