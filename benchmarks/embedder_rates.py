r"""Error rates of embedders on the same photos, and of comparing pixels, which is why nobody does.

    faceindex index lfw -c CAT; faceindex index lfw -c CAT2 --model onnx:FILE
    python benchmarks/embedder_rates.py --pairs pairs.txt --catalog CAT CAT2...

Every figure is one of `faceindex evaluate lfw`, with plain cosines.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from model_table import LABEL_ERRORS
from numpy.typing import NDArray
from pixels import SIDE, accuracy_by_squared_difference, correlated, grey_of_photos
from report import machine, publish

import faceindex
from faceindex.evaluation.assessment import Assessment, assess, fold_pairs
from faceindex.evaluation.intervals import Estimate
from faceindex.evaluation.protocols import Pair, mean_less_sd, read_pairs
from faceindex.labelled import LabelledFaces, people_from_folders

FARS = (1e-2, 1e-3, 1e-4)
GALLERY_SIZE, FPIRS = 1000, (0.01, 0.001)


def main() -> None:
    """Measure each catalog, then pixels on the photos of the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", nargs="+", required=True, help="catalogs of LFW's photos, one an embedder")
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    about = machine()
    folds = read_pairs(arguments.pairs)

    every = [people_from_folders(faceindex.open(catalog)) for catalog in arguments.catalog]
    rows = [_row(str(labelled.model), labelled, folds, arguments.seed) for labelled in every]
    grey = grey_of_photos(every[0].photos)
    pixels = LabelledFaces(every[0].photos, correlated(grey), every[0].names, every[0].model)
    rows.append(_row("pixels: normalised correlation", pixels, folds, arguments.seed))
    squared = accuracy_by_squared_difference(folds, grey, _files(pixels))
    rows.append({**dict.fromkeys(rows[0], "-"), "embedder": "pixels: mean squared difference", "pairs": _mean(squared)})
    kept = every[0].without(LABEL_ERRORS)
    recipe = (
        f"{len(every[0].photos):,} photos of LFW; pairs: accuracy over {len(folds)} folds, with its standard error. "
        f"All else without {len(LABEL_ERRORS)} people whose labels are wrong: {len(set(kept.names)):,} people, each "
        "counted once (95 % intervals over people), TAR at FAR 1:1, DIR at FPIR with "
        f"{GALLERY_SIZE:,} people enrolled by one photo each (* the threshold is extrapolated: fewer than ten pairs of "
        "people above); in the manner of BLUFR, ten random trials, mean less sd: verification rate at FAR 0.1 %, open "
        f"set DIR at FAR 1 %. Seed {arguments.seed}. Pixels: grey, aligned as for ArcFace, {SIDE} x {SIDE}."
    )
    publish("embedder_rates", "Error rates of embedders on LFW", recipe, rows, about)


def _row(name: str, labelled: LabelledFaces, folds: list[list[Pair]], seed: int) -> dict[str, Any]:
    kept = labelled.without(LABEL_ERRORS)
    found = assess(kept.vectors, kept.subjects, None, seed)
    assert found.blufr is not None
    pairs = fold_pairs(folds, labelled.vectors, _files(labelled))
    print(f"{name}: {_mean(pairs.accuracies)}", flush=True)
    return {
        "embedder": name,
        "pairs": _mean(pairs.accuracies),
        **{f"TAR at FAR {far:g}": _tar(found, far) for far in FARS},
        **{f"DIR at FPIR {fpir:.1%}": _dir(found, fpir) for fpir in FPIRS},
        "EER": _shown(found.equal_error_rate),
        "BLUFR-style VR": f"{mean_less_sd(found.blufr.verification):.1%}",
        "BLUFR-style DIR": f"{mean_less_sd(found.blufr.identification):.1%}",
    }


def _files(labelled: LabelledFaces) -> list[str]:
    return [Path(photo).name for photo in labelled.photos]


def _mean(accuracies: NDArray[np.float64]) -> str:
    return f"{accuracies.mean():.2%} ± {100 * accuracies.std(ddof=1) / len(accuracies) ** 0.5:.2f}"


def _tar(found: Assessment, far: float) -> str:
    [point] = [point for point in found.verification if point.asked == far]
    return _shown(point.tar)


def _dir(found: Assessment, fpir: float) -> str:
    [gallery] = [one for one in found.identification if one.gallery_size == GALLERY_SIZE]
    [point] = [point for point in gallery.points if point.asked == fpir]
    return _shown(point.dir) + ("" if point.measured else "*")


def _shown(rate: Estimate) -> str:
    return f"{rate.value:.1%} ({100 * rate.low:.1f}-{100 * rate.high:.1f})"


if __name__ == "__main__":
    main()
