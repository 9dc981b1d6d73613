"""Are first results those of exact search, whatever the index? Forced indexes over the faces of an indexed LFW.

    faceindex index lfw-dev -c CAT
    python benchmarks/gallery_lfw.py --catalog CAT

Every face is a probe and may not find itself. Each index is tuned and gated as when it is published.
"""

import argparse
from pathlib import Path

import numpy as np
from galleries import MODEL, Faces, build, temporary
from report import machine, publish

import faceindex
from faceindex.gallery.exact import search_exact, widened
from faceindex.gallery.gate import admit
from faceindex.gallery.recipe import Wish, choose_recipe
from faceindex.tables import from_float16_column, from_id_column

FACTORIES = ("IVF128,PQ64x4fs", "IVF64,PQ32x4fs", "IVF256,PQ16x4fs", "IVF64,PQ16", "OPQ32,IVF64,PQ32", "HNSW32,SQ8")
K = 10


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", required=True)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    about = machine()
    table = faceindex.open(arguments.catalog).faces()
    ids, vectors = from_id_column(table["face_id"]), from_float16_column(table["embedding"])
    faces = Faces(ids, vectors, np.zeros(len(ids), np.int64), np.empty((0, vectors.shape[1]), np.float32), np.empty(0))
    probes = widened(vectors)
    truth = others(ids, search_exact([(ids.view("S16"), vectors)], probes, MODEL, K + 1).face_ids)
    rows = []
    for factory in FACTORIES:
        with temporary() as folder:
            recipe = choose_recipe(len(ids), vectors.shape[1], factory)
            built, _ = build(faces, recipe, Path(folder), arguments.threads)
            wish = Wish.parse(factory)
            gallery = admit(built, len(ids), wish, tuned=False, open_ms=0.0, threads=arguments.threads).gallery
            found = others(ids, gallery.search(probes, MODEL, K + 1, arguments.threads).face_ids)
        rows.append(
            {
                "index": factory,
                "nprobe": gallery.recipe.nprobe,
                "rerank": gallery.recipe.rerank,
                "first as exact": float((found[:, 0] == truth[:, 0]).mean()),
                "recall@10": float((truth[:, :, np.newaxis] == found[:, np.newaxis, :]).any(axis=2).mean()),
            }
        )
    recipe_text = f"All {len(ids):,} faces of the catalog as probes, each without itself; indexes tuned and gated."
    publish("gallery_lfw", "Forced indexes on LFW against exact search", recipe_text, rows, about)


def others(own: np.ndarray, face_ids: np.ndarray) -> np.ndarray:
    """Return lists of K + 1 without the probe's own face, or else without their last, S16 (q, K)."""
    found = face_ids.view("S16")
    order = np.argsort(found == own.view("S16")[:, np.newaxis], axis=1, kind="stable")[:, :K]
    return np.take_along_axis(found, order, axis=1)


if __name__ == "__main__":
    main()
