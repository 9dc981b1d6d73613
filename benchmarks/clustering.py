r"""How good clusters of unknown faces are on people the constants were not chosen on, and how the constants are chosen.

    faceindex index lfw -c CAT
    faceindex index lfw -c CAT2 --embedder edgeface_xs.onnx
    pip install 'faceindex[benchmarks]'
    python benchmarks/clustering.py --catalog CAT CAT2...

One half of the people chooses the constants of each model. What is sure is the cosine that one pair of strangers in
100,000 reaches; surroundings are at least as crowded as those of 35 in 100 faces; the limit is that with the best
BCubed F (the mean of all photos, and of 20 of anybody at most) among those at which pairs are right in 985 of 1000
cases when nobody has more than 20, so that it errs to precision. The other half and everybody test them, as they are
and with 20 photos at most. Other methods choose their settings on the same half in the same way; where none is as
precise, the best decides. Beside them the rule by which models without constants of their own are clustered.
"""

import argparse
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from cluster_methods import Clusters, Method, Scale, Setting, methods, ours
from model_table import LABEL_ERRORS
from numpy.typing import NDArray
from report import machine, publish

import faceindex
from faceindex.evaluation.clustering import bcubed, pairwise
from faceindex.evaluation.thresholds import load_table
from faceindex.gallery.opening import open_gallery
from faceindex.identities.clustering import ALPHA, limits_by_table, limits_of
from faceindex.identities.graph import NEIGHBOURS, Limits, Neighbours, neighbours_of
from faceindex.labelled import people_from_folders
from faceindex.query import OpenCatalog
from faceindex.tables import from_id_column

CAP = 20
DRAWS = 5
"""Of these photos, where settings are chosen: one merged pair of people moves a single draw by a step."""
WANTED = 0.985


def neighbours(vectors: NDArray[np.float32]) -> Neighbours:
    """Return the exact neighbours of every face."""
    places = np.empty((len(vectors), NEIGHBOURS), np.int32)
    cosines = np.empty((len(vectors), NEIGHBOURS), np.float32)
    for start in range(0, len(vectors), 1024):
        block = vectors[start : start + 1024] @ vectors.T
        rows = np.arange(len(block))
        block[rows, start + rows] = -2.0
        near = np.argpartition(-block, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        found = np.take_along_axis(block, near, axis=1)
        order = np.argsort(-found, axis=1, kind="stable")
        places[start : start + len(block)] = np.take_along_axis(near, order, axis=1)
        cosines[start : start + len(block)] = np.take_along_axis(found, order, axis=1)
    return Neighbours(vectors, places, cosines)


def capped(people: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """Return the rows of at most CAP random faces of each person."""
    rows = generator.permutation(len(people))
    rows = rows[np.argsort(people[rows], kind="stable")]
    _, starts, sizes = np.unique(people[rows], return_index=True, return_counts=True)
    return rows[np.arange(len(rows)) - np.repeat(starts, sizes) < CAP]


@dataclass(frozen=True, slots=True, eq=False)
class Half:
    """The people that choose: all their faces, and draws of CAP of each at most."""

    graphs: list[Neighbours]
    people: list[NDArray[np.int64]]

    @classmethod
    def of(cls, vectors: NDArray[np.float32], people: NDArray[np.int64], generator: np.random.Generator) -> "Half":
        """Draw from the faces of one half."""
        draws = [np.arange(len(people)), *(capped(people, generator) for _ in range(DRAWS))]
        return cls([neighbours(vectors[rows]) for rows in draws], [people[rows] for rows in draws])

    def choose(self, method: Method) -> Setting:
        """Return the setting of a method that is best among those that are precise, or of all where none is."""
        scored = []
        for setting in method.settings:
            found = [method.run(graph, setting) for graph in self.graphs]
            pairs = [pairwise(labels, people) for labels, people in zip(found, self.people, strict=True)]
            faces = [bcubed(labels, people).f for labels, people in zip(found, self.people, strict=True)]
            precision = float(np.mean([one.precision for one in pairs[1:]]))
            scored.append((precision >= WANTED, faces[0] + float(np.mean(faces[1:])), setting))
        return max(scored, key=lambda one: one[:2])[2]


def line(
    model: str, method: Method, part: str, setting: Setting, found: Neighbours, people: NDArray[np.int64]
) -> dict[str, Any]:
    """Return a line of the table."""
    start = time.perf_counter()
    labels: Clusters = method.run(found, setting)
    seconds = time.perf_counter() - start
    faces, pairs = bcubed(labels, people), pairwise(labels, people)
    return {
        "model": model,
        "method": method.name,
        "people": part,
        "faces": len(people),
        "BCubed F": f"{faces.f:.3f}",
        "precision": f"{faces.precision:.3f}",
        "recall": f"{faces.recall:.3f}",
        "pairwise F": f"{pairs.f:.3f}",
        "of pairs right": f"{pairs.precision:.3f}",
        "of pairs found": f"{pairs.recall:.3f}",
        "seconds": f"{seconds:.2f}",
    }


def told(setting: Setting) -> str:
    """Return a setting in words."""
    if isinstance(setting, Limits):
        return f"sure {setting.sure:.3f}, floor {setting.floor:.3f}, linked {setting.linked:.3f}"
    if isinstance(setting, tuple):
        return " and ".join(f"{value:.4g}" for value in setting)
    return f"{setting:.3f}"


def measured(opened: OpenCatalog, seed: int, threads: int) -> tuple[list[dict[str, Any]], str]:
    """Return the lines of one model, and what was chosen, in words."""
    labelled = people_from_folders(opened).without(LABEL_ERRORS)
    model = labelled.model.partition("@")[0]
    generator = np.random.default_rng(seed)
    people = labelled.subjects
    order = generator.permutation(int(people.max()) + 1)
    chooses = order[people] < len(order) // 2
    sets = {"the other half": np.flatnonzero(~chooses), "everybody": np.arange(len(people))}
    sets |= {f"{name}, {CAP} photos at most": rows[capped(people[rows], generator)] for name, rows in sets.items()}
    half = Half.of(labelled.vectors[chooses], people[chooses], generator)
    graphs = {name: neighbours(labelled.vectors[rows]) for name, rows in sets.items()}
    tried = methods(Scale.of(half.graphs[1], half.people[1]))
    settings = [half.choose(method) for method in tried]
    tried += [Method("as shipped", (), ours), Method("by the rule for other models", (), ours)]
    settings += [limits_of(model), limits_by_table(load_table(labelled.model))]
    rows = [
        line(model, method, part, setting, graphs[part], people[sets[part]])
        for method, setting in zip(tried, settings, strict=True)
        for part in sets
    ]
    face_ids = np.sort(from_id_column(opened.faces()["face_id"]).view("S16")).view("V16")
    start = time.perf_counter()
    neighbours_of(open_gallery(opened.catalog.files, opened.generation), face_ids, threads)
    seconds = time.perf_counter() - start
    limits = "; ".join(f"{method.name} {told(setting)}" for method, setting in zip(tried, settings, strict=True))
    return rows, (
        f"{labelled.model}, {len(people):,} faces of {len(order):,} people; chosen: {limits}. The product's graph of "
        f"all {len(face_ids):,} faces of the catalog: {seconds:.1f} s on {threads} threads"
    )


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", nargs="+", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="for the product's graph")
    arguments = parser.parse_args()
    about = machine()
    rows, words = [], []
    for catalog in arguments.catalog:
        lines, about_model = measured(faceindex.open(catalog), arguments.seed, arguments.threads)
        rows += lines
        words.append(about_model)
    recipe = (
        f"Constants and settings chosen on half of the people (seed {arguments.seed}), for pairs right in {WANTED:.1%} "
        f"with {CAP} photos of anybody at most, the mean of {DRAWS} draws; alpha {ALPHA}. Exact neighbours, "
        f"{NEIGHBOURS} of each face; seconds are of the clustering.\n\n" + "\n\n".join(words) + "."
    )
    publish("clustering", "Clusters of unknown faces", recipe, rows, about)


if __name__ == "__main__":
    main()
