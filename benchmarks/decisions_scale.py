r"""Does `--fpir` keep its rate in a gallery of a million faces, through the index and with thresholds it learnt itself?

    python benchmarks/decisions_scale.py faces.npz

The faces are imported into a catalog, with the names of everybody and then of 20,000 people only; thresholds are those
that the import publishes. Every stranger searches once, and so does everybody of the other half of the probes.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from report import machine, publish

import faceindex
from faceindex.evaluation.reliability import reliability
from faceindex.pipeline.importing import import_vectors
from faceindex.vector_files import VectorFile

FPIRS = (0.1, 0.03, 0.01, 0.003)
FEWER = 20_000
K = 10


def measured(folder: Path, vectors: NDArray[np.float32], names: NDArray[np.str_], probes: Any, truth: Any) -> Any:
    """Import into a new catalog, search, and yield a line for each rate."""
    catalog = str(folder / f"catalog-{np.count_nonzero(names != '')}")
    file = folder / "faces.npz"
    np.savez(file, vectors=vectors, people=names)
    start = time.perf_counter()
    import_vectors(catalog, str(file), model="dlib-resnet29")
    seconds = time.perf_counter() - start
    opened = faceindex.open(catalog)
    known = np.isin(truth, np.unique(names[names != ""]))
    strangers = truth == ""
    table = opened.calibration.table
    assert table is not None
    for fpir in FPIRS:
        found = [answer.faces[0] for answer in opened.search_vectors(probes, K, fpir=fpir)]
        identified = np.array([face.decision == "identified" for face in found])
        right = identified & np.array([face.person == name for face, name in zip(found, truth, strict=True)])
        said = np.array([face.candidates[0].probability for face in found], np.float64)
        asked = known | strangers
        weights = np.where(strangers, 0.5 / strangers.sum(), 0.5 / known.sum())[asked]
        first = np.array(
            [bool(face.people) and face.people[0].person == name for face, name in zip(found, truth, strict=True)]
        )
        error = reliability(said[asked], first[asked], weights).error
        interval = np.array(found[0].interval or (np.nan, np.nan)) / fpir
        yield {
            "named people": len(np.unique(names[names != ""])),
            "compared with": opened.calibration.entries,
            "source": found[0].threshold_source,
            "FPIR asked": fpir,
            "realised / asked": f"{identified[strangers].mean() / fpir:.2f}",
            "expected (80 %)": "{:.2f} to {:.2f}".format(*interval),
            "extrapolated": found[0].extrapolated,
            "DIR": f"{right[known].mean():.3f}",
            "calibration error": f"{error:.3f}",
            "import, s": f"{seconds:.0f}",
        }


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    arguments = parser.parse_args()
    about = machine()
    data = np.load(arguments.faces)
    person, probe_person = data["person"], data["probe_person"]
    names = np.char.mod("p%07d", person)
    truth = np.where(probe_person < 0, "", np.char.mod("p%07d", probe_person))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "probes.npy", data["probes"])
        probes = VectorFile(str(Path(folder) / "probes.npy"), data["probes"].shape[1])
        for some in (names, np.where(person < FEWER, names, "")):
            rows += measured(Path(folder), data["vectors"], some, probes, truth)
    recipe = (
        f"{len(person):,} synthetic faces of {len(np.unique(person)):,} people, {np.count_nonzero(truth == ''):,} "
        f"searches of strangers and {np.count_nonzero(truth != ''):,} of people who are there. A face without a name "
        "counts as one to be compared with, which is strict where several are of one person."
    )
    publish("decisions_scale", "Error rates in a large gallery", recipe, rows, about)


if __name__ == "__main__":
    main()
