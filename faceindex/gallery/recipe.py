"""How many faces, how many numbers each -> how the index is built and searched."""

import math
import re
from dataclasses import dataclass, replace
from typing import Any

from faceindex.errors import ConfigError
from faceindex.gallery import faiss_io
from faceindex.types import IndexRecipe

EXACT = "exact"
EXACT_BELOW = 50_000
"""Below this many faces exact search answers in milliseconds, and nothing can be lost by an index."""

ID_IN_LIST_BYTES = 8
"""What FAISS keeps of a face besides its code."""

GRAPH_FROM_LISTS = 2**15
"""From this many lists on their centroids are a graph: ranking all of them would take longer than visiting some."""

UNTUNED_NPROBE_FACTOR = 5
UNTUNED_RERANK = 20
"""Operating point before an index is tuned: lists visited as a multiple of the square root of their number."""

FEWEST_POINTS_PER_CENTROID = 4
"""FAISS recommends 39 training points a centroid, which `auto` always has, and refuses less than one. An index that was
asked for is built from 4 on: exact re-ranking makes up for poor lists, as long as there are any."""

TRAINING_POINTS_PER_LIST = 64

GRAMMAR = "FACTORY[;nprobe=N][;rerank=N][;recall=0.9][;memory=500MB]"
PART = (
    r"(?P<name>nprobe|rerank)=(?P<count>[1-9]\d*)|recall=(?P<recall>0\.\d+)|memory=(?P<size>\d+(\.\d+)?)(?P<unit>[MG]B)"
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a user decided about the index, see GRAMMAR; the rest is chosen or tuned."""

    factory: str
    """"auto", "exact" or a FAISS factory string."""
    nprobe: int | None = None
    rerank: int | None = None
    recall: float = 0.0
    """recall@10 to tune for and to insist on; 0 for the usual targets."""
    memory_bytes: int | None = None
    """What an automatic index may take in memory; None for what codes of the usual length take."""

    @classmethod
    def parse(cls, index: str) -> "Wish":
        """Read the text of `--index`.

        Raises:
            ConfigError: it has parts that are not known, or not positive numbers.
        """
        factory, *parts = index.split(";")
        known: dict[str, Any] = {}
        for part in parts:
            match = re.fullmatch(PART, part, re.ASCII)
            if not match:
                raise ConfigError(f"index must be {GRAMMAR}, got {index!r}; see `faceindex index --help`")
            if match["name"]:
                known[match["name"]] = int(match["count"])
            elif match["recall"]:
                known["recall"] = float(match["recall"])
            else:
                known["memory_bytes"] = int(float(match["size"]) * {"MB": 10**6, "GB": 10**9}[match["unit"]])
        return cls(EXACT if factory == "Flat" else factory, **known)

    def applied(self, recipe: IndexRecipe) -> IndexRecipe:
        """Return a recipe with the parts of its operating point that were decided."""
        if recipe.factory == EXACT:
            return recipe
        nprobe, rerank = self.nprobe or recipe.nprobe, self.rerank or recipe.rerank
        return replace(recipe, nprobe=nprobe, rerank=rerank, recall=self.recall)


def choose_recipe(face_count: int, dimension: int, index: str = "auto") -> IndexRecipe:
    """Return how a gallery of `face_count` faces with `dimension` numbers each is indexed.

    An index that is asked for, and that so few faces cannot train, waits until there are enough of them
    (`faces_needed`); until then the gallery is exact. Parts of the operating point that were not asked for are
    provisional: they are tuned on the built index.

    Args:
        face_count: live faces.
        dimension: numbers in an embedding.
        index: "auto", "exact", or the FAISS factory string of an inverted file or a graph, such as IVF1024,PQ32x4fs,
            OPQ16_64,IVF1024,PQ16x4fs or HNSW32,SQ8, perhaps with more of GRAMMAR. "Flat" is exact search.

    Raises:
        ConfigError: FAISS refuses the factory string, or the index cannot serve a gallery.
    """
    wish = Wish.parse(index)
    if wish.factory == EXACT or (wish.factory == "auto" and face_count < EXACT_BELOW):
        return IndexRecipe(EXACT)
    factory = _auto_factory(face_count, dimension, wish.memory_bytes) if wish.factory == "auto" else wish.factory
    if face_count < faces_needed(factory, dimension):
        return IndexRecipe(EXACT)
    lists = faiss_io.list_count(faiss_io.new_index(factory, dimension))
    return wish.applied(IndexRecipe(factory, round(UNTUNED_NPROBE_FACTOR * math.sqrt(lists)), UNTUNED_RERANK))


def faces_needed(index: str, dimension: int) -> int:
    """Return how many faces it takes to train an index that is asked for; raises what `choose_recipe` raises."""
    factory = Wish.parse(index).factory
    if factory in ("auto", EXACT):
        return 0
    made = faiss_io.new_index(factory, dimension)
    return FEWEST_POINTS_PER_CENTROID * faiss_io.centroid_count(made)


def outdated(served: IndexRecipe, face_count: int, dimension: int, index: str) -> bool:
    """Return whether the served recipe is another kind of index than the one wanted now, or searched otherwise."""
    wanted = choose_recipe(face_count, dimension, index)
    return Wish.parse(index).applied(served) != served or other_kind(served, wanted, index)


def other_kind(served: IndexRecipe, wanted: IndexRecipe, index: str) -> bool:
    """Return whether shards of the served recipe cannot serve the wanted one."""
    if Wish.parse(index).factory != "auto" or EXACT in (wanted.factory, served.factory):
        return wanted.factory != served.factory
    # The number of lists follows the gallery when it is trained anew; other codes were somebody's wish before.
    return wanted.factory.partition(",")[2] != served.factory.partition(",")[2]


def _auto_factory(face_count: int, dimension: int, memory_bytes: int | None) -> str:
    """Return IVF lists and 4-bit codes; FAISS's guidelines: 4 to 16 times the square root lists below a million."""
    lists = 2 ** round(math.log2(4 * math.sqrt(face_count)))
    graph = "_HNSW32" if lists >= GRAPH_FROM_LISTS else ""
    # A code for every two numbers up to 128 of them, for every four above: 32 bytes a face at 128, 64 at 512. On a
    # million synthetic faces, 256 of 4096 lists visited, the first of exact search is among 50 candidates of 32 bytes,
    # 20 of 64 bytes and more than 400 of 16 bytes. A rotation (OPQ) gains nothing there.
    usual = max(1, dimension // 2 if dimension <= 128 else dimension // 4)
    affordable = 2 * dimension
    if memory_bytes is not None:
        affordable = int(2 * (memory_bytes / max(1, face_count) - ID_IN_LIST_BYTES))
        if affordable < 1:
            raise ConfigError(
                f"an index of {face_count:,} faces takes {face_count * (ID_IN_LIST_BYTES + 1) / 1e6:,.0f} MB at least, "
                f"{memory_bytes / 1e6:,.0f} MB given; give more memory or use --index exact"
            )
    wanted = min(usual, affordable)
    codes = next(count for count in range(wanted, 0, -1) if dimension % count == 0)
    if 2 * codes < wanted and affordable >= 2 * dimension:
        return f"IVF{lists}{graph},SQ8"
    # Long stretches of a vector in one code need their variance spread evenly.
    rotation = f"OPQ{codes}," if dimension // codes > 4 else ""
    return f"{rotation}IVF{lists}{graph},PQ{codes}x4fs"
