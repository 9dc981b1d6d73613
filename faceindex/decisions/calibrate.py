"""Makes the calibration of a generation, from whatever the archive tells.

Of its own labelled people, if they are many enough; else the table shipped for the model is moved to where the
archive's people are, as pairs of unlabelled faces tell; else the table stands as it is. Which one it was is part of
every answer.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceindex.arrays import l2_normalize
from faceindex.catalog import layout
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.checksums import read_verified, write_entry
from faceindex.catalog.files import Files
from faceindex.catalog.generations import Generation
from faceindex.catalog.parquet import write_arrow
from faceindex.decisions.calibration import (
    COHORT,
    DEFAULT_FPIR,
    PEOPLE,
    THRESHOLDS,
    Calibration,
    document_of,
    members_of,
    summary,
)
from faceindex.decisions.people import NOBODY, NamedFaces, Templates
from faceindex.decisions.sample import Sample
from faceindex.errors import ConfigError
from faceindex.evaluation.archive import LocalMap, NonmatedScores, NotUsable, alike_threshold, drift, fit_local_map
from faceindex.evaluation.archive_scores import normalised_scores
from faceindex.evaluation.cohort import FEWEST_MEMBERS, NORMALISATION, Cohort
from faceindex.evaluation.model_table import local_sizes, make_model_table, nearby_sizes, person_limits
from faceindex.evaluation.pairing import Pool
from faceindex.evaluation.thresholds import ModelTable, ThresholdGrid
from faceindex.evaluation.unlabelled_pairs import unlabelled_pairs
from faceindex.gallery.opening import open_gallery
from faceindex.gallery.search import Gallery
from faceindex.identities.people import PeopleOf
from faceindex.types import ModelId

FEWEST_PEOPLE = 200
"""Labelled people from whom thresholds are learnt; with fewer the tail is too thin to beat a table of thousands."""

MOST_PEOPLE, MOST_FACES = 20_000, 20
"""People, and faces of each, that thresholds are learnt from: 400 million pairs take some ten seconds."""

CELLS = 5e7
"""Pairs of people that are scored for a draw; the number of draws follows."""

SAME_FMR = 1e-4
"""Where the 1:1 probability of a fitted table is as steep as that of the table."""


def calibrated(catalog: Catalog, draft: Generation, served: Generation | None) -> Generation:
    """Return a generation with the calibration of its gallery.

    Args:
        catalog: whose writer lock is held.
        draft: the generation, its shards made.
        served: the one before, against which drift is told.
    """
    files = catalog.files
    gallery = open_gallery(files, draft)
    named = NamedFaces.of(PeopleOf(catalog, draft).now())
    templates = Templates.of(gallery, named)
    entries = draft.face_count - int(templates.face_counts.sum()) + len(templates.names)
    sample = Sample.of(gallery, named, catalog.settings.min_quality)
    document, rows = _document(gallery, named, sample, draft.model, entries)
    written, members = {}, None
    if document:
        document = {**document, "gallery_size": entries, "note": _note(files, document, served, entries)}
        if len(rows) < FEWEST_MEMBERS:
            document = {**document, "normalised": None}
        text = json.dumps(document).encode()
        written[THRESHOLDS] = write_entry(files, layout.calibration_path(draft.number, "thresholds.json"), text)
        if document["normalised"]:
            table = sample.to_table(rows)
            written[COHORT] = write_arrow(files, layout.calibration_path(draft.number, "cohort.arrow"), table)
            members = members_of(table, ModelTable.from_json(document))
    if templates.names:
        path = layout.calibration_path(draft.number, "people.arrow")
        written[PEOPLE] = write_arrow(files, path, templates.to_table())
    made = Calibration(ModelTable.from_json(document) if document else None, members, templates, entries)
    return replace(draft, calibration=written, threshold=summary(made))


def _document(
    gallery: Gallery, named: NamedFaces, sample: Sample, model: ModelId, entries: int
) -> tuple[Mapping[str, Any] | None, NDArray[np.int64]]:
    """Return the table, None without one, and the rows of the sample that are of different people by it."""
    shipped = document_of(model)
    if np.count_nonzero(named.face_counts) >= FEWEST_PEOPLE:
        try:
            document = _from_labels(gallery, named, sample, model, shipped, entries)
            return document, sample.distinct(ThresholdGrid.from_json(document["verification"]))
        except ConfigError as error:
            if shipped is None:
                return None, np.empty(0, np.int64)
            rows = sample.distinct(ThresholdGrid.from_json(shipped["verification"]))
            return {**shipped, "reason": str(error)}, rows
    return fitted_to_archive(shipped, sample, entries) if shipped else (None, np.empty(0, np.int64))


def fitted_to_archive(
    document: Mapping[str, Any], sample: Sample, entries: int
) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """Return a model's table moved to where the people of an archive are; as it is where that cannot be told.

    And the rows of the sample that are of different people, by the table returned.

    Args:
        document: the table.
        sample: faces of the archive.
        entries: size of its gallery.
    """
    table = ModelTable.from_json(document)
    pairs = unlabelled_pairs(sample.photo_ids, sample.boxes, sample.vectors, alike_threshold(table))
    fit = fit_local_map(pairs.similarities(sample.vectors), pairs, NonmatedScores.of_grid(table.verification))
    if isinstance(fit, NotUsable):
        return {**document, "reason": fit.reason}, sample.distinct(table.verification)
    found = {
        **document,
        "source": "archive",
        "verification": fit.section(document["verification"]),
        "same": _moved(document["same"], "similarity", fit, table.verification_threshold(SAME_FMR).value),
        "cosines": _moved_section(document["cosines"], fit, entries),
        "normalised": None,
        "fit": {"cosines": asdict(fit), "normalised": None},
    }
    verification = ThresholdGrid.from_json(found["verification"])
    rows = sample.distinct(verification)
    if table.normalised is None or len(rows) < FEWEST_MEMBERS:
        return found, rows
    cohort = Cohort(sample.vectors[rows], table.normalised.normalisation, person_limits(verification)[0])
    members = np.full(len(sample.face_ids), NOBODY)
    members[rows] = np.arange(len(rows))
    grid = table.normalised.identification
    scores = normalised_scores(sample.vectors, pairs, cohort, members)
    of_scores = fit_local_map(scores, pairs, NonmatedScores.of_grid(grid, grid.ceiling))
    if not isinstance(of_scores, NotUsable):
        found["normalised"] = _moved_section(document["normalised"], of_scores, entries)
        found["fit"]["normalised"] = asdict(of_scores)
    return found, rows


def _moved_section(section: Mapping[str, Any], fit: LocalMap, entries: int) -> dict[str, Any]:
    """Return the part of a table for one kind of score, moved to an archive."""
    at, _, _ = ThresholdGrid.from_json(section["identification"]).look_up(DEFAULT_FPIR, entries)
    # Rates fall like the distance from the ceiling to the power of the exponent: an error in its logarithm tells.
    error = section["identification"]["tail_exponent"] * fit.table.spread / fit.archive.spread * fit.depth_error(at)
    return {
        **section,
        "identification": fit.section(section["identification"]),
        "identified": _moved(section["identified"], "score", fit, at),
        "identified_by_margin": _moved(section["identified_by_margin"], "score", fit, at),
        "clumping": math.hypot(section["clumping"], error),
    }


def _moved(logistic: Mapping[str, float] | None, score: str, fit: LocalMap, at: float) -> dict[str, float] | None:
    """Return a logistic fit of the archive's scores with the probabilities of the table's, if it has any.

    The map is not linear, so it is taken by its tangent at the table's score `at`, where decisions are made.
    """
    if logistic is None:
        return None
    local, step = fit.threshold(at, 0.0), 1e-4
    slope = (fit.table_score(local + step) - fit.table_score(local - step)) / (2 * step)
    moved = {**logistic, score: logistic[score] * slope}
    if "margin" in logistic:
        moved["margin"] = logistic["margin"] * slope
    moved["intercept"] = logistic["intercept"] + logistic[score] * (at - slope * local)
    return moved


def _note(files: Files, document: Mapping[str, Any], served: Generation | None, entries: int) -> str | None:
    """Return in words why the archive's own faces were not used, or that its people have changed."""
    if "reason" in document:
        return f"thresholds are the model's, not fitted to this archive: {document['reason']}"
    if served is None or THRESHOLDS not in served.calibration or "fit" not in document:
        return None
    before = json.loads(read_verified(files, served.calibration[THRESHOLDS]))
    if "fit" not in before or before["model"] != document["model"]:
        return None
    old, new = (_local_map(one["fit"]["cosines"]) for one in (before, document))
    at = old.table.upper
    shipped = document_of(document["model"])
    if shipped:
        at, _, _ = ThresholdGrid.from_json(shipped["cosines"]["identification"]).look_up(DEFAULT_FPIR, entries)
    if not drift(old, new, at).alarm:
        return None
    return (
        f"the people of this archive have changed: a threshold that was {old.threshold(at):.4f} is "
        f"{new.threshold(at):.4f} now; answers given before may be worth another look"
    )


def _local_map(fit: Mapping[str, Any]) -> LocalMap:
    """Read what `asdict` gave."""
    return LocalMap(**{**fit, "table": NonmatedScores(**fit["table"]), "archive": NonmatedScores(**fit["archive"])})


@dataclass(frozen=True, slots=True, eq=False)
class _Labelled:
    """Faces of named people that thresholds are learnt from."""

    rows: NDArray[np.int64]
    """In `NamedFaces`."""
    people: int

    @classmethod
    def of(cls, named: NamedFaces) -> "_Labelled":
        """Choose at most MOST_PEOPLE, and MOST_FACES of each, at random."""
        generator = np.random.default_rng(0)
        people = np.flatnonzero(named.face_counts)
        if len(people) > MOST_PEOPLE:
            people = np.sort(generator.choice(people, MOST_PEOPLE, replace=False))
        faces = generator.permutation(np.flatnonzero(np.isin(named.people, people)))
        faces = faces[np.argsort(named.people[faces], kind="stable")]
        starts = np.searchsorted(named.people[faces], people)
        rank = np.arange(len(faces)) - np.repeat(starts, np.diff([*starts, len(faces)]))
        return cls(faces[rank < MOST_FACES], len(people))


def _from_labels(
    gallery: Gallery,
    named: NamedFaces,
    sample: Sample,
    model: ModelId,
    shipped: Mapping[str, Any] | None,
    entries: int,
) -> Mapping[str, Any]:
    """Return the table learnt from the archive's own people; raises `ConfigError` where they are all alike."""
    chosen = _Labelled.of(named)
    subjects = named.people[chosen.rows]

    def cohort(_: Pool, verification: ThresholdGrid) -> tuple[Cohort, NDArray[np.int64]] | None:
        rows = sample.distinct(verification)
        if len(rows) < FEWEST_MEMBERS:
            return None
        place = {name: index for index, name in enumerate(sample.people[rows].tolist()) if name}
        names = (named.names[person] for person in np.unique(subjects).tolist())
        members = np.array([place.get(name, NOBODY) for name in names], np.int64)
        return Cohort(sample.vectors[rows], NORMALISATION, person_limits(verification)[0]), members

    return make_model_table(
        l2_normalize(gallery.vectors_of(named.face_ids[chosen.rows])),
        subjects,
        model,
        data="labelled people of this archive",
        source="labels",
        averaged=True,
        gallery_sizes=local_sizes(entries),
        search_sizes=nearby_sizes(min(entries, chosen.people - 1)),
        cohort=cohort,
        probabilities=shipped,
        draws=int(np.clip(CELLS / chosen.people**2, 1, 5)),
    )
