"""Clustering a million faces: seconds of the graph and of the clusters, memory of the process, how right they are.

    python synthetic_faces.py faces.npz --people 100000 --faces 10
    python benchmarks/clustering_scale.py faces.npz

The faces are published by the product from Parquet; a process of its own then opens the gallery and clusters them, with
the constants of the model whose statistics they have. No two of them are of one photo, and nobody is named.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from cluster_methods import nothing_said
from galleries import Faces, draft_of, temporary, write_faces
from gallery_scale import BATCH_FACES
from report import machine, publish

from faceindex.catalog import generations
from faceindex.catalog.catalog import Catalog
from faceindex.config import Settings
from faceindex.evaluation.clustering import bcubed, pairwise
from faceindex.gallery.opening import open_gallery
from faceindex.gallery.renew import with_gallery
from faceindex.identities.clustering import cluster, limits_of
from faceindex.identities.graph import NEIGHBOURS, Neighbours, neighbours_of

MODEL = "dlib-resnet29"


def publish_faces(path: Path, seed: int, folder: Path) -> None:
    """Publish the faces of a file in a catalog, and write beside it who they are, by face id."""
    faces = Faces.load(path, seed)
    np.save(folder / "ids.npy", faces.ids.view("S16"))
    np.save(folder / "people.npy", faces.people)
    files = Catalog.create(str(folder / "catalog"), Settings()).files
    parts = [slice(start, start + BATCH_FACES) for start in range(0, len(faces.ids), BATCH_FACES)]
    batches = [write_faces(files, faces, part) for part in parts]
    generations.publish(files, with_gallery(files, draft_of(files, batches, faces.vectors.shape[1], None), "auto"))


def measured(folder: Path, threads: int) -> dict[str, Any]:
    """Return the row of the table; this process does nothing else."""
    catalog = Catalog.open(str(folder / "catalog"))
    served = catalog.current()
    assert served is not None
    gallery = open_gallery(catalog.files, served)
    ids = np.load(folder / "ids.npy").view("V16")
    cluster(Neighbours(np.eye(2, 4, dtype=np.float32), *_nobody(2)), nothing_said(2), limits_of(MODEL))  # compiled now
    start, busy = time.perf_counter(), time.process_time()
    found = neighbours_of(gallery, ids, threads)
    graph, graph_cpu = time.perf_counter() - start, time.process_time() - busy
    start, busy = time.perf_counter(), time.process_time()
    labels = cluster(found, nothing_said(len(ids)), limits_of(MODEL))
    clustering, clustering_cpu = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    people = np.load(folder / "people.npy")
    faces, pairs = bcubed(labels, people), pairwise(labels, people)
    return {
        "faces": len(ids),
        "people": len(np.unique(people)),
        "index": f"{gallery.recipe.factory}, nprobe {gallery.recipe.nprobe}",
        "graph s": round(graph, 1),
        "CPU s": round(graph_cpu, 1),
        "clustering s": round(clustering, 1),
        "its CPU s": round(clustering_cpu, 1),
        "peak GiB": round(peak / 2**30, 2),
        "mates in the graph": f"{_mates(found, people):.3f}",
        "BCubed F": f"{faces.f:.3f}",
        "precision": f"{faces.precision:.3f}",
        "recall": f"{faces.recall:.3f}",
        "pairwise F": f"{pairs.f:.3f}",
        "of pairs right": f"{pairs.precision:.4f}",
    }


def _nobody(count: int) -> tuple[Any, Any]:
    return np.full((count, NEIGHBOURS), -1, np.int32), np.full((count, NEIGHBOURS), -1.0, np.float32)


def _mates(found: Neighbours, people: Any) -> float:
    """Return the share of faces of one person that are among each other's neighbours."""
    there = (found.places >= 0) & (people[np.maximum(found.places, 0)] == people[:, None])
    return float(there.sum() / (np.bincount(people)[people] - 1).sum())


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of face ids, and so of the order of the faces")
    parser.add_argument("--one", action="store_true", help="print the row of a folder of published faces as JSON")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measured(arguments.faces, arguments.threads)))
        return
    about = machine()
    with temporary() as folder:
        publish_faces(arguments.faces, arguments.seed, Path(folder))
        again = [sys.executable, __file__, "--one", "--threads", str(arguments.threads), folder]
        made = subprocess.run(again, check=True, stdout=subprocess.PIPE, text=True)
    recipe = (
        f"Synthetic faces of 128 numbers with the statistics of {MODEL} and its constants (seed {arguments.seed}), "
        f"{NEIGHBOURS} neighbours of each by the published gallery's own search on {arguments.threads} threads. peak: "
        f"resident memory of the whole process that opens the gallery and clusters, mapped files included. Strangers "
        f"among synthetic faces are never as alike as some people are, so that precision says little here."
    )
    publish(
        "clustering_scale", "A million faces in clusters", recipe, [json.loads(made.stdout.splitlines()[-1])], about
    )


if __name__ == "__main__":
    main()
