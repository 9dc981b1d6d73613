"""What a catalog holds, in figures; reads manifests and no embeddings."""

from typing import Any

from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import Generation
from faceindex.decisions.calibration import Calibration, summary
from faceindex.identities.people import person_count


def status(catalog: Catalog) -> dict[str, Any]:
    """Return the document that `faceindex status --json` prints: `faceindex.status/1`."""
    served = catalog.current()
    files = catalog.files
    document: dict[str, Any] = {
        "schema": "faceindex.status/1",
        "catalog": catalog.root,
        "generation": None,
        "model": catalog.settings.embedder,
        "photos": {},
        "faces": 0,
        "people": 0,
        "clusters": 0,
        "index": None,
        "threshold": None,
        "roots": list(catalog.settings.roots),
        "disk_bytes": sum(files.size(path) for path in files.paths()),
    }
    if served is not None:
        document |= {
            "generation": served.number,
            "published": served.created_at,
            "model": served.model,
            "photos": dict(served.photo_counts),
            "faces": served.face_count,
            "people": person_count(catalog, served),
            "clusters": served.cluster_count,
            "index": _index(served),
            "threshold": served.threshold or summary(Calibration.read(files, served)),
        }
    return document


def _index(served: Generation) -> dict[str, Any]:
    size = sum(entry.size_bytes for shard in served.shards for entry in shard.files)
    document = {
        "factory": served.recipe.factory,
        "nprobe": served.recipe.nprobe,
        "rerank": served.recipe.rerank,
        "shards": len(served.shards),
        "bytes_per_face": round(size / served.face_count, 1) if served.face_count else 0.0,
    }
    shares = ("recall_at_10", "first_agreement", "mated_rank_1")
    costs = ("search_ms", "open_ms", "resident_bytes", "mapped_bytes")
    if served.quality is None:
        return {**document, **dict.fromkeys(shares, 1.0), **dict.fromkeys(costs)}
    return {**document, **{name: getattr(served.quality, name) for name in (*shares, *costs)}}
