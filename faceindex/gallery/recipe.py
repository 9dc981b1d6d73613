"""How many faces, how many numbers each -> how the index is built and searched."""

import math

from faceindex.gallery import faiss_io
from faceindex.types import IndexRecipe

EXACT = "exact"
EXACT_BELOW = 50_000
"""Below this many faces exact search answers in milliseconds, and nothing can be lost by an index."""

RETRAIN_GROWTH = 4
"""An index is trained anew once the gallery has grown by this factor, when lists have become too long."""

NPROBE_FACTOR = 5
"""Lists visited, as a multiple of the square root of their number. On a million synthetic faces of 128 numbers, 320 of
4096 lists and 100 candidates: recall@10 0.956, the first result is that of exact search in 98.5 % of searches."""

RERANK_BITS = 20
"""Over the bits that codes keep of each number: how many candidates are re-ranked exactly, as a multiple of k."""

FEWEST_POINTS_PER_CENTROID = 4
"""FAISS recommends 39 training points a centroid, which `auto` always has, and refuses less than one. An index that was
asked for is built from 4 on: exact re-ranking makes up for poor lists, as long as there are any."""

TRAINING_POINTS_PER_LIST = 64


def choose_recipe(face_count: int, dimension: int, index: str = "auto") -> IndexRecipe:
    """Return how a gallery of `face_count` faces with `dimension` numbers each is indexed.

    An index that is asked for, and that so few faces cannot train, waits until there are enough of them
    (`faces_needed`); until then the gallery is exact.

    Args:
        face_count: live faces.
        dimension: numbers in an embedding.
        index: "auto", "exact", or the FAISS factory string of an inverted file or a graph, such as IVF1024,PQ32x4fs,
            OPQ16_64,IVF1024,PQ16x4fs or HNSW32,SQ8. "Flat" is exact search.

    Raises:
        ConfigError: FAISS refuses the factory string, or the index cannot serve a gallery.
    """
    if index in (EXACT, "Flat") or (index == "auto" and face_count < EXACT_BELOW):
        return IndexRecipe(EXACT)
    factory = _auto_factory(face_count, dimension) if index == "auto" else index
    if face_count < faces_needed(factory, dimension):
        return IndexRecipe(EXACT)
    made = faiss_io.new_index(factory, dimension)
    return IndexRecipe(
        factory,
        nprobe=round(NPROBE_FACTOR * math.sqrt(faiss_io.list_count(made))),
        rerank=min(100, max(2, round(RERANK_BITS * dimension / faiss_io.code_bits(made)))),
    )


def faces_needed(factory: str, dimension: int) -> int:
    """Return how many faces it takes to train an index; raises what `choose_recipe` raises."""
    return FEWEST_POINTS_PER_CENTROID * faiss_io.centroid_count(faiss_io.new_index(factory, dimension))


def outdated(served: IndexRecipe, face_count: int, dimension: int, index: str) -> bool:
    """Return whether the served recipe is another kind of index than the one wanted now."""
    wanted = choose_recipe(face_count, dimension, index)
    if index != "auto" or EXACT in (wanted.factory, served.factory):
        return wanted.factory != served.factory
    # The number of lists follows the gallery when it is trained anew; other codes were somebody's wish before.
    return wanted.factory.partition(",")[2] != served.factory.partition(",")[2]


def _auto_factory(face_count: int, dimension: int) -> str:
    """Return IVF lists and 4-bit codes; FAISS's guidelines: 4 to 16 times the square root lists below a million."""
    lists = 2 ** round(math.log2(4 * math.sqrt(face_count)))
    # A code for every two numbers up to 128 of them, for every four above: 32 bytes a face at 128, 64 at 512.
    wanted = max(1, dimension // 2 if dimension <= 128 else dimension // 4)
    codes = next(count for count in range(wanted, 0, -1) if dimension % count == 0)
    return f"IVF{lists},PQ{codes}x4fs" if 2 * codes >= wanted else f"IVF{lists},SQ8"
