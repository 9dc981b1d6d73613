r"""How much work naming is: clicks until 95 % of the faces of people with two or more photos have the right name.

    faceindex index lfw -c CAT
    python benchmarks/labelling.py --catalog CAT

A labeller who answers truthfully, from the names of the folders, goes through the clusters of the most prominent face
of each photo, the largest first; then through faces by themselves, which come in random order, as nobody can tell who
has a second photo. With suggestions, the same labeller answers a question first where that is expected to settle more
faces. A click is: giving a name, an answer, marking a face as wrong, and sending the marked ones away.

The answers go through the ledger of a real catalog, and questions are asked anew after every 20 clicks.
"""

import argparse
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from model_table import LABEL_ERRORS
from report import machine, publish

import faceindex
from faceindex.catalog.catalog import Catalog
from faceindex.gallery.opening import open_gallery
from faceindex.identities.labelling import Labelling
from faceindex.identities.opening import clusters_of, questions_of
from faceindex.identities.people import People, PeopleOf
from faceindex.identities.selection import Selection
from faceindex.identities.suggestions import Question
from faceindex.labelled import LabelledFaces, people_from_folders
from faceindex.pipeline.clustering import publish_clusters
from faceindex.pipeline.importing import import_vectors

GOAL = 0.95
BETWEEN = 20
"""Clicks between looks at the questions."""


@dataclass
class Labeller:
    """Somebody who knows everybody, and counts clicks."""

    catalog: Catalog
    truth: dict[bytes, str]
    generator: np.random.Generator
    clicks: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        served = self.catalog.current()
        assert served is not None
        self.served = served
        self.of = PeopleOf(self.catalog, served)
        self.labelling = Labelling(self.of, "labeller")
        self.who = [self.truth[bytes(face)] for face in self.of.now().rows.ids(self.of.now().rows.places)]
        count = Counter(self.who)
        self.wanted = [place for place, name in enumerate(self.who) if count[name] > 1]
        self.order = self.generator.permutation(len(self.who)).tolist()

    def done(self, people: People) -> float:
        """Return the share of the wanted faces that have the right name."""
        return sum(people.names.get(place) == self.who[place] for place in self.wanted) / len(self.wanted)

    def name(self, places: list[int], number: int) -> None:
        """Name a cluster after most of its faces, sending away those of others."""
        names = Counter(self.who[place] for place in places)
        name = names.most_common(1)[0][0]
        wrong = [place for place in places if self.who[place] != name]
        if wrong:
            self.clicks["marked as wrong"] += len(wrong) + 1
            self.labelling.split(Selection("cluster", str(number), tuple(places)), wrong)
        self.clicks["names given"] += 1
        self.labelling.name(Selection("face", "", tuple(place for place in places if place not in wrong)), name)

    def name_one(self, people: People) -> None:
        """Name the next face that has no name."""
        while self.order[0] in people.names:
            self.order.pop(0)
        place = self.order.pop(0)
        self.clicks["names given"] += 1
        self.labelling.name(Selection("face", "", (place,)), self.who[place])

    def answer(self, question: Question) -> None:
        """Answer a question by most of its faces, and correct the others."""
        whose = Counter(self.who[place] for place in question.places).most_common(1)[0][0]
        other = question.person or Counter(self.who[place] for place in question.others).most_common(1)[0][0]
        yes = (whose == other) != (question.kind == "split")
        self.clicks["answers"] += 1
        self.asked[question.kind] += 1
        self.right[question.kind] += yes
        question.answer(self.labelling, yes=yes)
        wrong = [place for place in question.places if self.who[place] != whose]
        if yes and question.kind == "person" and wrong:
            self.clicks["marked as wrong"] += len(wrong) + 1
            self.labelling.reject(whose, wrong)

    def work(self, *, suggestions: bool) -> None:
        """Label until the goal is reached."""
        while (share := self.done(people := self.of.now())) < GOAL:
            print(f"{self.clicks.total():,} clicks, {share:.1%}", file=sys.stderr)
            clusters = clusters_of(self.catalog, self.served, people)
            unknown = sorted(
                (
                    (number, free)
                    for number, places in clusters.items()
                    if len(free := [place for place in places if place not in people.names]) > 1
                ),
                key=lambda item: -len(item[1]),
            )
            asked = questions_of(self.catalog, self.served, people) if suggestions else []
            before = self.clicks.total()
            while self.clicks.total() < before + BETWEEN:
                if asked and asked[0].settles >= (len(unknown[0][1]) if unknown else 0):
                    self.answer(asked.pop(0))
                elif unknown:
                    number, free = unknown.pop(0)
                    self.name(free, number)
                    # Who was named a moment ago is somebody else in the questions; they are asked anew soon.
                    asked = [one for one in asked if not {*one.places, *one.others} & set(free)]
                elif suggestions and asked:
                    self.answer(asked.pop(0))
                else:
                    self.name_one(people)


def names_of(catalog: Catalog, labelled: LabelledFaces) -> dict[bytes, str]:
    """Return who each face of the catalog is, by the vector it was imported with."""
    served = catalog.current()
    assert served is not None
    gallery = open_gallery(catalog.files, served)
    rows = PeopleOf(catalog, served).now().rows
    ids = rows.ids(rows.places)
    found: list[str] = []
    for start in range(0, len(ids), 1024):
        near = gallery.vectors_of(ids[start : start + 1024]).astype(np.float32) @ labelled.vectors.T
        found += labelled.names[near.argmax(axis=1)].tolist()
    return {bytes(face): name for face, name in zip(ids, found, strict=True)}


def line(name: str, labeller: Labeller) -> dict[str, Any]:
    """Return a line of the table."""
    asked = {
        kind: f"{labeller.right[kind]} of {labeller.asked[kind]}" if labeller.asked[kind] else "-"
        for kind in ("person", "same", "split")
    }
    return {
        "labelling": name,
        "faces": len(labeller.who),
        "to be named": len(labeller.wanted),
        "clicks": labeller.clicks.total(),
        **{kind: labeller.clicks[kind] for kind in ("names given", "answers", "marked as wrong")},
        "a hundred faces": round(100 * labeller.clicks.total() / len(labeller.wanted), 1),
        **{f"yes to {kind}": told for kind, told in asked.items()},
        "of raw clusters": "1",
    }


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    about = machine()
    labelled = people_from_folders(faceindex.open(arguments.catalog)).without(LABEL_ERRORS)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "faces.npz"
        ids = np.array([f"face {row}" for row in range(len(labelled.vectors))])
        np.savez(file, vectors=labelled.vectors, ids=ids)
        for suggestions in (False, True):
            root = str(Path(folder) / f"catalog-{suggestions}")
            import_vectors(root, str(file), labelled.model)
            opened = Catalog.open(root)
            with opened.lock("benchmark"):
                served = opened.current()
                assert served is not None
                publish_clusters(opened, served)
            labeller = Labeller(opened, names_of(opened, labelled), np.random.default_rng(arguments.seed))
            labeller.work(suggestions=suggestions)
            rows.append(line("with suggestions" if suggestions else "raw clusters", labeller))
    rows[1]["of raw clusters"] = f"{rows[1]['clicks'] / rows[0]['clicks']:.2f}"
    recipe = (
        f"{labelled.model}, {len(labelled.vectors):,} faces of {labelled.subjects.max() + 1:,} people "
        f"(seed {arguments.seed}), until {GOAL:.0%} of the faces of people with two or more photos are named"
    )
    publish("labelling", "Clicks to name an archive", recipe, rows, about)


if __name__ == "__main__":
    main()
