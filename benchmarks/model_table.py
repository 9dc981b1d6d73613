r"""Make the threshold table that is shipped for a model, from labelled faces of LFW.

    faceindex index lfw-dev -c CAT
    python benchmarks/model_table.py --catalog CAT --people-from-folders \
        --out faceindex/evaluation/shipped/dlib-resnet29.json

Run again whenever weights, mirror setting, detector or alignment change: the table is for one model digest.
"""

import argparse
import json
from pathlib import Path

import faceindex
from faceindex.evaluation.model_table import make_model_table
from faceindex.evaluation.thresholds import ModelTable
from faceindex.labelled import people_from_folders

DATA = "Labelled Faces in the Wild (deep-funneled), development part, less 8 people whose labels are wrong"

LABEL_ERRORS = frozenset(
    {
        # One person under two names: the other name stays.
        "Dai_Chul_Chyung",  # Chyung_Dai-chul
        "Yingfan_Wang",  # Wang_Yingfan
        "Wang_Nan",  # Nan_Wang
        "Hassan_Wirajuda",  # Hasan_Wirayuda
        # The photo shows somebody who has a folder of their own.
        "Emmy_Rossum",  # Eva_Amurri
        "Martha_Bowen",  # Gabrielle_Rose
        "Takahiro_Mori",  # Shinya_Taniguchi
        "Janica_Kostelic",  # Anja_Paerson
    }
)
"""People left out: their faces would count as the strongest look-alikes of all, and set every rate below 0.003."""


def main() -> None:
    """Write the table and print what it says at a few gallery sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", required=True, help="catalog of LFW's photos")
    parser.add_argument(
        "--people-from-folders", action="store_true", required=True, help="a photo's folder names the person in it"
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    labelled = people_from_folders(faceindex.open(arguments.catalog)).without(LABEL_ERRORS)
    model = labelled.model
    document = make_model_table(labelled.vectors, labelled.subjects, model, data=DATA, seed=arguments.seed)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    table = ModelTable.from_json(document)
    print(f"{model}: {document['images']} faces of {document['people']} people -> {arguments.out}")
    for size in (100, 1_000, 10_000, 1_000_000):
        points = [(fpir, table.identification_threshold(fpir, size)) for fpir in (0.1, 0.01, 0.001)]
        told = [f"{fpir:g}: {point.value:.4f}{'*' if point.extrapolated else ''}" for fpir, point in points]
        print(f"gallery of {size}: threshold at fpir {', '.join(told)}   (* extrapolated)")


if __name__ == "__main__":
    main()
