"""Does a search find its own photo, and another of the same person? Over random photos of an indexed LFW.

faceindex index lfw-dev -c CAT
python benchmarks/retrieval.py --catalog CAT --probes 500
"""

import argparse
from pathlib import Path

import numpy as np
from report import machine, publish

import faceindex
from faceindex.labelled import people_from_folders

FIRST = 5


def main() -> None:
    """Search photos from disk as a user would, and print how often the right ones come first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", required=True)
    parser.add_argument("--probes", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    about = machine()
    catalog = faceindex.open(arguments.catalog)
    labelled = people_from_folders(catalog)
    photos, people = labelled.photos, labelled.names
    names, counts = np.unique(people, return_counts=True)
    several = np.flatnonzero(np.isin(people, names[counts > 1]))
    chosen = np.random.default_rng(arguments.seed).choice(several, arguments.probes, replace=False)

    self_first = found = 0
    lowest = 1.0
    for row in chosen:
        answer = catalog.search(photos[row], k=FIRST + 20)
        main_face = answer.faces[0]
        first = main_face.candidates[0]
        self_first += first.photo == photos[row]
        lowest = min(lowest, first.similarity)
        others = [candidate.photo for candidate in main_face.candidates if candidate.photo != photos[row]]
        found += any(Path(photo).parent.name == people[row] for photo in others[:FIRST])
    rows = [
        {"figure": "photo finds itself first", "share": self_first / len(chosen)},
        {"figure": "lowest similarity of the first candidate", "share": lowest},
        {"figure": f"another photo of the person in the first {FIRST}, itself left out", "share": found / len(chosen)},
    ]
    recipe = (
        f"{labelled.model}; {len(chosen)} random photos (seed {arguments.seed}) of people with two or more photos, "
        f"searched from disk in a gallery of {catalog.gallery.size:,} faces."
    )
    publish("retrieval", "Retrieval on LFW", recipe, rows, about)


if __name__ == "__main__":
    main()
