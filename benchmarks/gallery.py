"""The index against exact search and raw FAISS: speed, what is lost, latency, memory, build.

    python synthetic_faces.py faces.npz --people 100000 --faces 10 --probes 5000
    python benchmarks/gallery.py faces.npz

Rounds of all contenders alternate, and the median of each counts. FAISS runs with the same factory, parameters and
number of threads, and re-ranks float32 vectors in memory; ours re-ranks float16 vectors from a mapped file.
"""

import argparse
import math
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from galleries import MODEL, NO_IDS, Faces, build, searching_bytes, seconds_of, temporary, write
from report import machine, publish

from faceindex.arrays import l2_normalize
from faceindex.gallery.build import build_shard
from faceindex.gallery.compaction import compact_shards
from faceindex.gallery.exact import search_exact
from faceindex.gallery.gate import MANY_PROBES
from faceindex.gallery.gpu_search import GpuSearch, pays_from
from faceindex.gallery.gpus import Gpus
from faceindex.gallery.recall import draw_sample
from faceindex.gallery.recipe import choose_recipe
from faceindex.gallery.search import Gallery
from faceindex.gallery.shard import Shard
from faceindex.gallery.tuning import targets, tune
from faceindex.types import IndexRecipe

K = 10
ADDED = 10_000
FAST_RECALL = 0.8
"""For a search that must find people who are there, and may give strangers other strangers."""

FILTERED = (0.01, 0.1, 0.5)
"""Shares of the faces that filters leave."""

EXACT_PROBES = 1000


def shares(faces: Faces, found: Any, truth: Any) -> dict[str, float]:
    """Return what was found as shares of exact search's answer, and how often the first is the person."""
    people = dict(zip(faces.ids.view("S16").tolist(), faces.people.tolist(), strict=True))
    mated = faces.probe_people >= 0

    def rank_1(ids: Any) -> float:
        first = [people[bytes(one)] for one in ids[mated, 0].view("S16").astype(object)]
        return float(np.mean(np.array(first) == faces.probe_people[mated]))

    answers, wanted = found.face_ids.view("S16"), truth.face_ids.view("S16")
    first = answers[:, 0] == wanted[:, 0]
    recall = (wanted[:, :, np.newaxis] == answers[:, np.newaxis, :]).any(axis=2).mean(axis=1)
    return {
        "mated rank-1": rank_1(found.face_ids),
        "of exact": rank_1(truth.face_ids),
        "first as exact": float(first.mean()),
        "enrolled": float(first[mated].mean()),
        "strangers": float(first[~mated].mean()),
        "recall@10": float(recall.mean()),
    }


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    about = machine()
    threads = arguments.threads
    faces = Faces.load(arguments.faces)
    faiss.omp_set_num_threads(threads)
    probes = l2_normalize(faces.probes)
    wide = faces.vectors.astype(np.float32)
    recipe = choose_recipe(len(wide), wide.shape[1])

    raw = faiss.index_factory(wide.shape[1], f"{recipe.factory},RFlat")
    start = time.perf_counter()
    raw.train(wide)
    raw.add(wide)
    raw_build = time.perf_counter() - start
    flat = faiss.IndexFlatIP(wide.shape[1])
    flat.add(wide)
    with temporary() as folder:
        gallery, our_build = build(faces, recipe, Path(folder), threads)
        tuning: dict[str, IndexRecipe] = {}

        def tuned(name: str, recall: float) -> None:
            sample = draw_sample(gallery, MANY_PROBES)
            tuning[name] = tune(gallery, sample, targets(recall)[0], threads)

        tuning_seconds = seconds_of(lambda: tuned("usual", 0.0))
        tuned(f"recall={FAST_RECALL}", FAST_RECALL)
        truth = search_exact(gallery.blocks(), probes, MODEL, K)
        rows = _speeds(faces, gallery, raw, flat, tuning, truth, threads, arguments.rounds)
        del flat, raw, wide
        opened = gallery.at(tuning["usual"])
        memory = searching_bytes(opened, Path(folder), probes, threads) / len(faces.ids)
        filtered = _filtered(faces, opened, probes[:EXACT_PROBES], threads)
        on_gpus = _on_gpus(opened, probes, truth, threads, arguments.rounds) if Gpus().count else {}
        merged = _additions(faces, gallery, Path(folder), threads)
        about |= {
            "raw FAISS build s": round(raw_build, 2),
            "build s": round(our_build, 2),
            "build against raw FAISS": round(our_build / raw_build, 2),
            "tuning s": round(tuning_seconds, 2),
            "resident bytes a face while searching": round(memory, 1),
            **merged,
            **filtered,
            **on_gpus,
        }
    name = f"{len(faces.ids):,} synthetic faces of {faces.vectors.shape[1]} numbers"
    recipe_text = (
        f"{name}; {len(probes):,} probes, half of enrolled people and half of strangers; {recipe.factory}, {threads} "
        f"threads; medians of {arguments.rounds} rounds. usual: tuned as always; "
        f"recall={FAST_RECALL}: asked for, for people who are there."
    )
    publish("gallery", "The index against exact search and raw FAISS", recipe_text, rows, about)


def _speeds(
    faces: Faces,
    gallery: Gallery,
    raw: Any,
    flat: Any,
    tuning: dict[str, IndexRecipe],
    truth: Any,
    threads: int,
    rounds: int,
) -> list[dict[str, Any]]:
    probes = l2_normalize(faces.probes)
    points = {**tuning, "64/10": replace(gallery.recipe, nprobe=64, rerank=10)}
    raw_seconds: dict[str, list[float]] = {name: [] for name in points}
    our_seconds: dict[str, list[float]] = {name: [] for name in points}
    exact_seconds: list[float] = []
    for _ in range(rounds):
        faiss.omp_set_num_threads(threads)
        exact_seconds.append(seconds_of(lambda: flat.search(probes[:EXACT_PROBES], K)))
        for name, point in points.items():
            inner = faiss.SearchParametersIVF(nprobe=point.nprobe)
            outer = faiss.IndexRefineSearchParameters(k_factor=point.rerank, base_index_params=inner)
            faiss.omp_set_num_threads(threads)
            raw_seconds[name].append(seconds_of(lambda outer=outer: raw.search(probes, K, params=outer)))
            at = gallery.at(point)
            our_seconds[name].append(seconds_of(lambda at=at: at.search(probes, MODEL, K, threads)))
    exact = EXACT_PROBES / statistics.median(exact_seconds)
    rows = []
    for name, point in points.items():
        ours = len(probes) / statistics.median(our_seconds[name])
        theirs = len(probes) / statistics.median(raw_seconds[name])
        at = gallery.at(point)
        single = [1000 * seconds_of(lambda n=n, at=at: at.search(probes[n : n + 1], MODEL, K)) for n in range(1000)]
        rows.append(
            {
                "point": name,
                "nprobe": point.nprobe,
                "rerank": point.rerank,
                "exact q/s": round(exact),
                "raw FAISS q/s": round(theirs),
                "q/s": round(ours),
                "times exact": ours / exact,
                "times raw": ours / theirs,
                "p50 ms": float(np.percentile(single, 50)),
                "p99 ms": float(np.percentile(single, 99)),
                **shares(faces, at.search(probes, MODEL, K, threads), truth),
            }
        )
    return rows


def _filtered(faces: Faces, gallery: Gallery, probes: Any, threads: int) -> dict[str, float]:
    """Return recall@10 and speed under filters by date, of faces whose dates are in no order, against exact search."""
    [shard] = gallery.shards
    dates = np.random.default_rng(0).random(len(faces.ids))
    figures = {}
    for share in FILTERED:
        allowed = dates < share
        truth = search_exact(shard.blocks(allowed), probes, MODEL, K).face_ids.view("S16")
        seconds = seconds_of(lambda allowed=allowed: gallery.search(probes, MODEL, K, threads, [allowed]))
        found = gallery.search(probes, MODEL, K, threads, [allowed]).face_ids.view("S16")
        recall = (truth[:, :, np.newaxis] == found[:, np.newaxis, :]).any(axis=2).mean()
        figures[f"recall@10 among {share:.0%}"] = round(float(recall), 4)
        figures[f"q/s among {share:.0%}"] = round(len(probes) / seconds)
    return figures


def _on_gpus(gallery: Gallery, probes: Any, truth: Any, threads: int, rounds: int) -> dict[str, float]:
    """Return what copying vectors to GPUs takes, the speed of searches there, and how they agree with exact ones."""
    searcher = GpuSearch(gallery, Gpus())
    searcher.expect(math.ceil(pays_from(gallery, threads)))
    copying = seconds_of(lambda: searcher.search(probes[:1], MODEL, K, threads))
    seconds = [seconds_of(lambda: searcher.search(probes, MODEL, K, threads)) for _ in range(rounds)]
    single = [1000 * seconds_of(lambda n=n: searcher.search(probes[n : n + 1], MODEL, K)) for n in range(500)]
    found = searcher.search(probes, MODEL, K, threads)
    return {
        "GPUs": Gpus().count,
        "copying to GPUs s": round(copying, 2),
        "q/s on GPUs": round(len(probes) / statistics.median(seconds)),
        "p99 ms on GPUs": round(float(np.percentile(single, 99)), 3),
        "as exact on GPUs": round(float((found.face_ids.view("S16") == truth.face_ids.view("S16")).mean()), 4),
        "of all on GPUs": searcher.served.on_gpus / (searcher.served.on_gpus + searcher.served.on_cpu),
    }


def _additions(faces: Faces, gallery: Gallery, folder: Path, threads: int) -> dict[str, float]:
    """Return seconds of adding faces to a gallery as another shard, and of merging the two."""
    shard = gallery.shards[0]
    part = slice(None, None, len(faces.ids) // ADDED)
    trained = shard.trained_index()

    def add() -> None:
        made = build_shard(faces.table(part), faces.vectors[part], MODEL, gallery.recipe, trained, threads)
        added.append(Shard(write(made, folder), NO_IDS))

    added: list[Shard] = []
    seconds = seconds_of(add)
    merging = seconds_of(lambda: compact_shards(added, None, threads))
    return {f"adding {len(added[0].ids)} faces s": round(seconds, 3), "merging them s": round(merging, 3)}


if __name__ == "__main__":
    main()
