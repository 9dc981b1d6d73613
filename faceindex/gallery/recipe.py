"""How many faces, how many numbers each -> how the index is built."""

import math

from faceindex.errors import ConfigError
from faceindex.types import IndexRecipe

EXACT = "exact"
EXACT_BELOW = 50_000
"""Below this many faces exact search answers in milliseconds, and nothing can be lost by an index."""

RETRAIN_GROWTH = 4
"""An index is trained anew once the gallery has grown by this factor, when lists have become too long."""

NPROBE_SHARE = 16
RERANK = 40
"""One in 16 lists is visited and 40 k candidates are re-ranked exactly: on a million faces with 128 numbers the first
result is then that of exact search in 99 % of searches."""

TRAINING_POINTS_PER_LIST = 64
FEWEST_POINTS_PER_LIST = 39
"""FAISS warns below 39 training points a centroid."""


def choose_recipe(face_count: int, dimension: int, index: str = "auto") -> IndexRecipe:
    """Return how a gallery of `face_count` faces with `dimension` numbers each is indexed.

    Args:
        face_count: live faces.
        dimension: numbers in an embedding.
        index: "auto", "exact", or a FAISS factory string of an inverted file such as IVF1024,PQ32x4fs.

    Raises:
        ConfigError: the factory string is not one FAISS knows, or not an inverted file, or has more lists than the
            faces can train.
    """
    if index == EXACT or (index == "auto" and face_count < EXACT_BELOW):
        return IndexRecipe(EXACT)
    if index == "auto":
        # FAISS's guidelines: 4 to 16 times the square root lists below a million faces.
        lists = 2 ** round(math.log2(4 * math.sqrt(face_count)))
        return IndexRecipe(f"IVF{lists},PQ{_sub_quantisers(dimension)}x4fs", max(1, lists // NPROBE_SHARE), RERANK)
    lists = _list_count(index, dimension)
    if face_count < lists * FEWEST_POINTS_PER_LIST:
        fewest = lists * FEWEST_POINTS_PER_LIST
        raise ConfigError(
            f"{index} needs at least {fewest:,} faces to train its {lists:,} lists, the catalog has {face_count:,}; "
            f"use fewer lists or --index exact"
        )
    return IndexRecipe(index, max(1, lists // NPROBE_SHARE), RERANK)


def outdated(served: IndexRecipe, face_count: int, dimension: int, index: str) -> bool:
    """Return whether the served recipe is another kind of index than the one wanted now."""
    wanted = choose_recipe(face_count, dimension, index)
    forced = index != "auto" or EXACT in (wanted.factory, served.factory)
    return forced and wanted.factory != served.factory


def _sub_quantisers(dimension: int) -> int:
    """Return the number of 4-bit codes: one for two numbers up to 128, one for four above."""
    wanted = dimension // 2 if dimension <= 128 else dimension // 4
    return next(count for count in range(max(1, wanted), 0, -1) if dimension % count == 0)


def _list_count(factory: str, dimension: int) -> int:
    import faiss

    try:
        index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
        inverted = faiss.extract_index_ivf(index)
    except RuntimeError as error:
        raise ConfigError(
            f"--index {factory}: FAISS cannot build an inverted file of it; wanted auto, exact or a factory string "
            f"such as IVF1024,PQ32x4fs"
        ) from error
    return int(inverted.nlist)
