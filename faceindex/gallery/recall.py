"""How much an index loses against exact search, measured on the index that was built."""

import numpy as np

from faceindex.gallery.exact import search_exact, widened
from faceindex.gallery.search import Gallery

PROBES = 500
K = 10


def measure_recall(gallery: Gallery, threads: int) -> tuple[float, float]:
    """Return recall@10 and the share of searches whose first candidate is that of exact search.

    Probes are faces of the gallery itself, spread evenly over it; each finds itself, which is left out.
    """
    step = max(1, gallery.size // PROBES)
    chosen = [(shard, np.flatnonzero(shard.alive)[::step]) for shard in gallery.shards]
    own = np.concatenate([shard.ids[rows] for shard, rows in chosen])
    probes = widened(np.concatenate([shard.vectors[rows] for shard, rows in chosen]))
    found = gallery.search(probes, gallery.model, K + 1, threads)
    exact = search_exact(gallery.blocks(), probes, gallery.model, K + 1)
    hits = firsts = wanted = 0
    for face, found_ids, exact_ids in zip(own, found.face_ids.view("S16"), exact.face_ids.view("S16"), strict=True):
        truth = exact_ids[(exact_ids != face) & (exact_ids != b"")][:K]
        answer = found_ids[found_ids != face][:K]
        wanted += len(truth)
        hits += int(np.isin(truth, answer).sum())
        firsts += bool(np.array_equal(truth[:1], answer[:1]))
    return hits / max(1, wanted), firsts / max(1, len(own))
