"""How much an index loses against exact search, measured on the index that was built."""

import numpy as np

from faceindex.gallery.search import Gallery, exact_candidates, ranked

PROBES = 500
K = 10


def measure_recall(gallery: Gallery, threads: int) -> tuple[float, float]:
    """Return recall@10 and the share of searches whose first candidate is that of exact search.

    Probes are faces of the gallery itself, spread evenly over it; each finds itself first, which is left out.
    """
    total = sum(len(shard.ids) for shard in gallery.shards)
    hits = firsts = count = 0
    for shard in gallery.shards:
        alive = np.flatnonzero(shard.alive)
        chosen = alive[:: max(1, total // PROBES)]
        probes = shard.vectors[chosen].astype(np.float32)
        found = gallery.search(probes, gallery.model, K + 1, threads)
        exact = [exact_candidates(other.vectors, other.alive, probes, K + 1) for other in gallery.shards]
        for row, probe in enumerate(probes):
            parts = [(other, rows[row]) for other, rows in zip(gallery.shards, exact, strict=True)]
            own = shard.ids[chosen[row]]
            truth = [face for face in ranked(parts, probe, K + 1)[0] if face != own][:K]
            answer = [face for face in found.face_ids[row].view("S16") if face != own][:K]
            hits += len(set(truth) & set(answer))
            firsts += truth[:1] == answer[:1]
            count += len(truth)
    searches = max(1, count // K)
    return hits / max(1, count), firsts / searches
