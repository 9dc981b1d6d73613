"""What a generation knows of its own error rates: thresholds, the cohort scores are normalised by, people's templates.

Made at each publish, for the gallery as it is then, and never changed. What is learnt from depends on what there is:
labelled people of the archive itself, else the table shipped for the model. Which one it was is part of every answer.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from faceindex.arrays import ID_BYTES, l2_normalize
from faceindex.catalog import layout
from faceindex.catalog.checksums import read_verified, write_entry
from faceindex.catalog.files import Files
from faceindex.catalog.generations import Generation
from faceindex.catalog.live import open_view
from faceindex.catalog.parquet import open_arrow, write_arrow
from faceindex.decisions.people import NOBODY, NamedFaces, Templates
from faceindex.errors import ConfigError
from faceindex.evaluation.cohort import FEWEST_MEMBERS, Cohort, normalisation_of, one_face_of_each
from faceindex.evaluation.model_table import SAMPLE, local_sizes, make_model_table, nearby_sizes, person_limits
from faceindex.evaluation.pairing import Pool
from faceindex.evaluation.thresholds import ModelTable, Threshold, ThresholdGrid, load_document
from faceindex.gallery.opening import open_gallery
from faceindex.gallery.search import Gallery
from faceindex.tables import ID, from_float16_column, from_id_column, to_float16_column, to_id_column
from faceindex.types import ModelId

DEFAULT_FPIR = 0.01

FEWEST_PEOPLE = 200
"""Labelled people from whom thresholds are learnt. With fewer the table of the model is nearer the truth, unless the
archive's people are of another kind."""

MOST_PEOPLE, MOST_FACES = 20_000, 20
"""People, and faces of each, that thresholds are learnt from: 400 million pairs take some ten seconds."""

CELLS = 5e7
"""Pairs of people that are scored for a draw; the number of draws follows."""

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
            DamagedError: a file is missing or differs from what the generation recorded.
        """
        found = generation.calibration
        document = (
            json.loads(read_verified(files, found[THRESHOLDS]))
            if THRESHOLDS in found
            else _document_of(generation.model)
        )
        table = ModelTable.from_json(document) if document else None
        templates = (
            Templates.from_table(open_arrow(files, found[PEOPLE]))
            if PEOPLE in found
            else Templates([], np.empty(0, np.int64), np.empty((0, generation.dimension), np.float16))
        )
        surplus = int(templates.face_counts.sum()) - len(templates.names)
        members = _members(open_arrow(files, found[COHORT]), table) if table and COHORT in found else None
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


def calibrated(files: Files, draft: Generation) -> Generation:
    """Return a generation with the calibration of its gallery.

    Args:
        files: of the catalog, whose writer lock is held.
        draft: the generation, its shards made.
    """
    gallery = open_gallery(files, draft)
    named = NamedFaces.of(gallery, open_view(files, draft))
    templates = Templates.of(gallery, named)
    document = _document_of(draft.model)
    sample = _Sample.of(gallery, named, document)
    entries = draft.face_count - int(templates.face_counts.sum()) + len(templates.names)
    if np.count_nonzero(named.face_counts) >= FEWEST_PEOPLE:
        document = _from_labels(gallery, named, sample, draft.model, document, entries)
    written = {}
    members = None
    if document:
        document = {**document, "gallery_size": entries}
        text = json.dumps(document).encode()
        written[THRESHOLDS] = write_entry(files, layout.calibration_path(draft.number, "thresholds.json"), text)
        if document["normalised"] and sample and len(sample.vectors) >= FEWEST_MEMBERS:
            table = sample.to_table()
            written[COHORT] = write_arrow(files, layout.calibration_path(draft.number, "cohort.arrow"), table)
            members = _members(table, ModelTable.from_json(document))
    if templates.names:
        path = layout.calibration_path(draft.number, "people.arrow")
        written[PEOPLE] = write_arrow(files, path, templates.to_table())
    table = ModelTable.from_json(document) if document else None
    made = Calibration(table, members, templates, entries)
    return replace(draft, calibration=written, threshold=summary(made))


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
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """Faces that are presumably of different people."""

    face_ids: NDArray[np.void]
    vectors: NDArray[np.float32]
    people: NDArray[np.str_]

    @classmethod
    def of(cls, gallery: Gallery, named: NamedFaces, document: Mapping[str, Any] | None) -> "_Sample | None":
        """Choose among the faces with the lowest ids, which are random and hardly change as a gallery grows."""
        if document is None or not gallery.size:
            return None
        lowest = [np.sort(shard.ids[shard.alive])[:SAMPLE] for shard in gallery.shards]
        ids = np.sort(np.concatenate(lowest))[:SAMPLE]
        order = np.argsort(known := named.face_ids.view(ids.dtype), kind="stable")
        place = np.minimum(np.searchsorted(known, ids, sorter=order), max(0, len(known) - 1))
        people = np.full(len(ids), NOBODY)
        if len(known):
            people = np.where(known[order[place]] == ids, named.people[order[place]], NOBODY)
        face_ids = ids.view(f"V{ID_BYTES}")
        vectors = l2_normalize(gallery.vectors_of(face_ids))
        same, alike = person_limits(ThresholdGrid.from_json(document["verification"]))
        chosen = one_face_of_each(vectors, people, same=same, alike=alike)
        names = np.array([*named.names, ""], np.str_)[people[chosen]]
        return cls(face_ids[chosen], vectors[chosen], names)

    def to_table(self) -> pa.Table:
        """Return a row for each face: `face_id`, `person` (null where unknown) and `embedding`."""
        people = pa.array([name or None for name in self.people.tolist()], pa.string())
        embedding = to_float16_column(self.vectors)
        return pa.table([to_id_column(self.face_ids).cast(ID), people, embedding], ["face_id", "person", "embedding"])


def _members(table: pa.Table, thresholds: ModelTable | None) -> Members | None:
    if thresholds is None or thresholds.normalised is None:
        return None
    people = np.array([name or "" for name in table["person"].to_pylist()], np.str_)
    same, _ = person_limits(thresholds.verification)
    normalisation = thresholds.normalised.normalisation
    cohort = Cohort(l2_normalize(from_float16_column(table["embedding"])), normalisation, same)
    return Members(cohort, from_id_column(table["face_id"]), people)


def _from_labels(
    gallery: Gallery,
    named: NamedFaces,
    sample: _Sample | None,
    model: ModelId,
    shipped: Mapping[str, Any] | None,
    entries: int,
) -> Mapping[str, Any]:
    """Return the table learnt from the archive's own people, or the shipped one where they are all alike."""
    generator = np.random.default_rng(0)
    people = np.flatnonzero(named.face_counts)
    if len(people) > MOST_PEOPLE:
        people = np.sort(generator.choice(people, MOST_PEOPLE, replace=False))
    faces = generator.permutation(np.flatnonzero(np.isin(named.people, people)))
    faces = faces[np.argsort(named.people[faces], kind="stable")]
    starts = np.searchsorted(named.people[faces], people)
    rank = np.arange(len(faces)) - np.repeat(starts, np.diff([*starts, len(faces)]))
    faces = faces[rank < MOST_FACES]
    vectors = l2_normalize(gallery.vectors_of(named.face_ids[faces]))
    subjects = named.people[faces]

    def cohort(_: Pool, __: ModelId, verification: ThresholdGrid) -> tuple[Cohort, NDArray[np.int64]] | None:
        normalisation = normalisation_of(model)
        if sample is None or normalisation is None or len(sample.vectors) < FEWEST_MEMBERS:
            return None
        place = {name: index for index, name in enumerate(sample.people.tolist()) if name}
        names = (named.names[person] for person in np.unique(subjects).tolist())
        members = np.array([place.get(name, NOBODY) for name in names], np.int64)
        return Cohort(sample.vectors, normalisation, person_limits(verification)[0]), members

    try:
        return make_model_table(
            vectors,
            subjects,
            model,
            data="labelled people of this archive",
            source="labels",
            averaged=True,
            gallery_sizes=local_sizes(entries),
            search_sizes=nearby_sizes(min(entries, len(people) - 1)),
            cohort=cohort,
            probabilities=shipped,
            draws=int(np.clip(CELLS / len(people) ** 2, 1, 5)),
        )
    except ConfigError:
        if shipped is None:
            raise
        return shipped


def _document_of(model: ModelId) -> Mapping[str, Any] | None:
    try:
        return load_document(model)
    except ConfigError:
        return None
