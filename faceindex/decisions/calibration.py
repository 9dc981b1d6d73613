"""What a generation knows of its own error rates: thresholds, the cohort scores are normalised by, people's templates.

Made at each publish by `calibrate`, for the gallery as it is then, and never changed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from faceindex.arrays import l2_normalize
from faceindex.catalog.checksums import read_verified
from faceindex.catalog.files import Files
from faceindex.catalog.generations import Generation
from faceindex.catalog.parquet import open_arrow
from faceindex.decisions.people import Templates
from faceindex.errors import ConfigError, DamagedError
from faceindex.evaluation.cohort import Cohort
from faceindex.evaluation.model_table import person_limits
from faceindex.evaluation.thresholds import ModelTable, Threshold, load_document
from faceindex.tables import from_float16_column, from_id_column
from faceindex.types import ModelId

DEFAULT_FPIR = 0.01

THRESHOLDS, COHORT, PEOPLE = "thresholds", "cohort", "people"


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """The faces of a cohort."""

    cohort: Cohort
    face_ids: NDArray[np.void]
    """V16 (c,)."""
    people: NDArray[np.str_]
    """Their names, empty where unknown, (c,)."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What decisions of one generation rest on."""

    table: ModelTable | None
    """None where there is no table for the model and not enough labelled people."""
    members: Members | None
    """None where too few people are in the gallery to tell what is usual; scores are plain cosines then."""
    templates: Templates
    entries: int
    """What a probe is compared with: people with several faces, and each other face."""

    @classmethod
    def read(cls, files: Files, generation: Generation) -> Self:
        """Read what `calibrated` wrote; generations made before it existed have the table of the model.

        Raises:
            DamagedError: a file is missing or differs from what the generation recorded, or is another model's.
        """
        found = generation.calibration
        document = (
            json.loads(read_verified(files, found[THRESHOLDS]))
            if THRESHOLDS in found
            else document_of(generation.model)
        )
        table = ModelTable.from_json(document) if document else None
        if table and table.model != generation.model:
            raise DamagedError(
                f"{files.root}: thresholds of {generation.model} wanted, got those of {table.model}; run "
                "`faceindex calibrate`"
            )
        templates = (
            Templates.from_table(open_arrow(files, found[PEOPLE]))
            if PEOPLE in found
            else Templates([], np.empty(0, np.int64), np.empty((0, generation.dimension), np.float16))
        )
        surplus = int(templates.face_counts.sum()) - len(templates.names)
        members = members_of(open_arrow(files, found[COHORT]), table) if table and COHORT in found else None
        return cls(table, members, templates, generation.face_count - surplus)

    def threshold(self, fpir: float, gallery_size: int) -> Threshold:
        """Return the limit of the scores that decisions use: normalised where there is a cohort.

        Raises:
            ConfigError: no table tells what the rate means for this model.
        """
        if self.table is None:
            raise ConfigError(
                "no threshold table for this model: give --threshold S with a cosine similarity to decide by"
            )
        return self.table.identification_threshold(fpir, gallery_size, normalised=self.members is not None)


def summary(calibration: Calibration, fpir: float = DEFAULT_FPIR) -> dict[str, Any] | None:
    """Return what is told of the threshold for the default rate; None where there is none."""
    if calibration.table is None:
        return None
    limit = calibration.threshold(fpir, calibration.entries)
    plain = calibration.table.identification_threshold(fpir, calibration.entries)
    return {
        "fpir": fpir,
        "value": round(plain.value, 6),
        "source": limit.source,
        "extrapolated": limit.extrapolated,
        "trials": limit.trials,
        "pairs": limit.pairs,
        "interval": limit.interval,
        "normalised": round(limit.value, 6) if calibration.members else None,
        "gallery_size": calibration.entries,
        "note": calibration.table.note,
    }


def members_of(table: pa.Table, thresholds: ModelTable | None) -> Members | None:
    """Return the cohort of a table of `sample.Sample.to_table`; None where no scores are normalised."""
    if thresholds is None or thresholds.normalised is None:
        return None
    people = np.array([name or "" for name in table["person"].to_pylist()], np.str_)
    same, _ = person_limits(thresholds.verification)
    normalisation = thresholds.normalised.normalisation
    cohort = Cohort(l2_normalize(from_float16_column(table["embedding"])), normalisation, same)
    return Members(cohort, from_id_column(table["face_id"]), people)


def document_of(model: ModelId) -> Mapping[str, Any] | None:
    """Return the document of the table shipped for a model; None where there is none."""
    try:
        return load_document(model)
    except ConfigError:
        return None
