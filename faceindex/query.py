"""Search: a picture -> faces -> candidates -> a decision at the error rate that was asked for.

Binds the recogniser, the gallery and the thresholds. `faceindex.open` gives an `OpenCatalog` to notebooks; the command
line uses the same one.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from os import fsdecode
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from faceindex.answers import FaceAnswer, PersonCandidate, SearchAnswer, candidate
from faceindex.arrays import ID_BYTES
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import Generation
from faceindex.catalog.live import live_faces, open_view, rows_of
from faceindex.clock import Clock
from faceindex.decisions.calibration import Calibration
from faceindex.decisions.decide import Decisions, candidates_wanted, decide
from faceindex.errors import CatalogError, ConfigError, NothingFoundError
from faceindex.evaluation.thresholds import Threshold
from faceindex.faces.prominence import by_prominence
from faceindex.faces.recogniser import Recogniser
from faceindex.gallery.filters import Filters
from faceindex.gallery.gpu_search import GpuSearch
from faceindex.gallery.gpus import Gpus
from faceindex.gallery.opening import open_gallery
from faceindex.gallery.search import Gallery
from faceindex.identities.people import People, PeopleOf
from faceindex.machine import core_count
from faceindex.pictures import Picture, load_picture, rounded_box
from faceindex.tables import from_id_column, require_model
from faceindex.types import CandidateLists, Image, PhotoFaces
from faceindex.vector_files import VectorFile

EVERYBODY = Filters()
SHOWN_NAMES = 3

ITSELF = 0.9995
"""Similarity from which a candidate is the very face that is searched for, embedded once more."""


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """The faces that a search may find."""

    masks: "list[NDArray[np.bool_]] | None"
    """For each shard, bool (faces of the shard,); None for all."""
    size: int
    entries: int
    """What a probe is compared with at most: people with several faces count once."""


class OpenCatalog:
    """A catalog as it stood when it was opened: read-only, one generation, also while new ones are published.

    Networks and index are loaded when they are first needed and kept.

    Example, in the folder where `faceindex demo` ran:
        >>> import faceindex
        >>> catalog = faceindex.open("faceindex-demo/catalog")
        >>> answer = catalog.search("faceindex-demo/queries/astronaut.jpg", k=3)
        >>> answer.faces[0].decision
        'identified'
        >>> [candidate.rank for candidate in answer.faces[0].candidates]
        [1, 2, 3]
        >>> catalog.faces().num_rows
        32
    """

    def __init__(self, catalog: Catalog, device: str = "auto") -> None:
        self.catalog = catalog
        self.device = device
        self.clock = Clock()
        served = catalog.current()
        if served is None:
            raise CatalogError(
                f"{catalog.root} has no published generation yet; an index run was stopped before its end: "
                f"run the same `faceindex index` command again"
            )
        self.generation: Generation = served
        self.people = PeopleOf(catalog, served)
        """Who is who: what the ledger says when it is asked, not when the generation was published."""
        self._scopes: dict[tuple[Filters, People | None], Scope] = {}
        self._left_out: frozenset[int] = frozenset()
        """Whom the scopes leave out."""

    @cached_property
    def gallery(self) -> Gallery:
        """The index over all faces, its files checked against the generation."""
        with self.clock.stage("open index"):
            return open_gallery(self.catalog.files, self.generation)

    @cached_property
    def searcher(self) -> GpuSearch:
        """Searches the gallery, on GPUs where that pays and the device allows it."""
        return GpuSearch(self.gallery, Gpus(self.device))

    @cached_property
    def recogniser(self) -> Recogniser:
        """The networks the catalog was made with.

        Raises:
            ModelMismatchError: the weights on this machine are not those the catalog was made with.
        """
        with self.clock.stage("load models"):
            settings = self.catalog.settings
            recogniser = Recogniser.load(settings, self.device, settings.weights or None)
        require_model(self.generation.model, recogniser.embedder.model)
        return recogniser

    @cached_property
    def _view(self) -> pa.Table:

        with self.clock.stage("open index"):
            return open_view(self.catalog.files, self.generation)

    @cached_property
    def calibration(self) -> Calibration:
        """What this generation's decisions rest on."""
        with self.clock.stage("open index"):
            return Calibration.read(self.catalog.files, self.generation)

    def search(
        self,
        picture: Picture,
        k: int = 10,
        *,
        fpir: float = 0.01,
        threshold: float | None = None,
        filters: Filters = EVERYBODY,
    ) -> SearchAnswer:
        """Find the people of a picture in the catalog.

        Args:
            picture: a path, a PIL image, or RGB pixels uint8 (height, width, 3).
            k: candidates for each face.
            fpir: how often a stranger's face may be wrongly identified, at the gallery's size now.
            threshold: a cosine similarity to decide by, instead of an error rate.
            filters: which faces of the catalog may be found.

        Raises:
            FaceIndexError: the picture cannot be read.
            NothingFoundError: no face of the catalog passes the filters.
            ConfigError: k, fpir or threshold is out of range, or no table tells what fpir means for this model.
        """
        with self.clock.stage("read picture"):
            image, name = load_picture(picture, self.catalog.settings)
        return self.search_image(image, name, k, fpir=fpir, threshold=threshold, filters=filters)

    def search_image(
        self,
        image: Image,
        name: str,
        k: int = 10,
        *,
        fpir: float = 0.01,
        threshold: float | None = None,
        filters: Filters = EVERYBODY,
    ) -> SearchAnswer:
        """Find the people of a decoded picture; see `search`."""
        scope = self.scope(filters)
        limit = self.resolve_threshold(fpir, threshold, scope)
        [faces] = self.recogniser.faces([image])
        with self.clock.stage("search"):
            found = self._search(faces.vectors, k, scope)
            order = by_prominence(faces.detections.boxes, image.width, image.height)
            told = self._answers(faces.vectors, found, k, limit, scope)
            answers = [
                replace(told[index], **self._shown(faces, index), face=face)
                for face, index in enumerate(order.tolist())
            ]
        return self._document({"image": name, "width": image.width, "height": image.height}, answers, scope)

    def search_vectors(
        self,
        vectors: VectorFile,
        k: int = 10,
        *,
        fpir: float = 0.01,
        threshold: float | None = None,
        filters: Filters = EVERYBODY,
    ) -> Iterator[SearchAnswer]:
        """Yield the answer to each embedding of a file, in order; see `search`. They are searched in batches.

        Raises:
            ConfigError: a row is zero or not finite; or as `search` does.
            ModelMismatchError: the file says that its embeddings are another model's.
        """
        vectors.require_model(self.generation.model, self.catalog.settings.embedder)
        scope = self.scope(filters)
        limit = self.resolve_threshold(fpir, threshold, scope)
        self.searcher.expect(len(vectors))
        for rows in vectors.batches():
            with self.clock.stage("search"):
                answers = self._answers(rows.vectors, self._search(rows.vectors, k, scope), k, limit, scope)
            for index, answer in enumerate(answers):
                yield self._document({"vectors": vectors.path, "row": rows.start + index}, [answer], scope)

    def scope(self, filters: Filters = EVERYBODY) -> "Scope":
        """Return the faces that a search may find: those that pass the filters and that nobody left out.

        Raises:
            NothingFoundError: none passes the filters.
        """
        people = self.people.now()
        if not filters and not people.left_out:
            return Scope(None, self.gallery.size, self.calibration.entries)
        if self._left_out != people.left_out:
            self._left_out, self._scopes = people.left_out, {}
        about_people = filters.people is not None or filters.not_people is not None
        asked_of = (filters, people if about_people else None)  # who is who may have changed
        scope = self._scopes.get(asked_of)
        if scope is None:
            scope = self._scopes[asked_of] = self._scope(filters, people)
        if filters and not scope.size:
            asked = ", ".join(
                f"{name} {_listed(value)}" for name, value in asdict(filters).items() if value is not None
            )
            raise NothingFoundError(f"none of {self.gallery.size:,} faces passes the filter {asked}; ask for less")
        return scope

    def _scope(self, filters: Filters, people: People) -> "Scope":
        shards = self.gallery.shards
        masks = filters.masks(shards, self._view, people.photos_of)
        if people.left_out:
            out = self.gallery.masks_of(people.rows.ids(np.array(sorted(people.left_out), np.int64)))
            masks = [mask & ~unwanted for mask, unwanted in zip(masks, out, strict=True)]
        size = sum(int((shard.alive & mask).sum()) for shard, mask in zip(shards, masks, strict=True))
        # How many of somebody's faces are left is not counted: too large a gallery errs to the strict side.
        return Scope(masks, size, min(size, self.calibration.entries))

    def _search(self, probes: NDArray[np.float32], k: int, scope: "Scope") -> CandidateLists:
        wanted = candidates_wanted(self.calibration, k)
        return self.searcher.search(probes, self.generation.model, wanted, core_count(), scope.masks)

    def _document(self, query: dict[str, Any], faces: list[FaceAnswer], scope: "Scope") -> SearchAnswer:
        return SearchAnswer(
            catalog=self.catalog.root,
            generation=self.generation.number,
            model=self.generation.model,
            gallery_size=scope.size,
            query=query,
            faces=faces,
        )

    def resolve_threshold(self, fpir: float, threshold: float | None, scope: "Scope | None" = None) -> Threshold:
        """Return the limit to decide by, and where it comes from; by default for the whole gallery.

        Raises:
            ConfigError: fpir or threshold is out of range, or no table tells what fpir means for this model.
        """
        if threshold is None:
            return self.calibration.threshold(fpir, (scope or self.scope()).entries)
        if not -1.0 <= threshold <= 1.0:
            raise ConfigError(f"a threshold is a cosine similarity between -1 and 1, got {threshold:g}")
        return Threshold(value=threshold, source="user", extrapolated=False)

    def faces(self) -> pa.Table:
        """Return every face of the catalog: the columns of `faces`, and `photo`, the path it is in."""
        found = live_faces(self.catalog.files, self.generation)
        photos = self._photos_of(from_id_column(found["photo_id"]))
        return found.add_column(1, "photo", [photos])

    def _answers(
        self, probes: NDArray[np.float32], found: CandidateLists, k: int, limit: Threshold, scope: "Scope"
    ) -> list[FaceAnswer]:
        """Return what the search says of each probe, without what its picture tells of it."""
        if k < 1:
            raise ConfigError(f"k must be at least 1, got {k}")
        faces, people = self._found_faces(found)
        decided = decide(self.calibration, self.gallery, probes, found, people, limit, scope.entries)
        return [
            self._answer(index, count, found, faces, people, decided, k, limit)
            for index, count in enumerate(found.counts.tolist())
        ]

    def _found_faces(self, found: CandidateLists) -> tuple[dict[bytes, dict[str, Any]], NDArray[np.object_]]:
        """Return what is known of each candidate's face, by id, and the names of their people, object (q, c)."""
        there = np.arange(found.face_ids.shape[1])[None] < found.counts[:, None]
        ids, places = np.unique(found.face_ids[there].view(f"S{ID_BYTES}"), return_inverse=True)
        face_ids = ids.view(f"V{ID_BYTES}")
        table = self.gallery.face_rows(face_ids)
        paths = self._view["path"].take(rows_of(self._view, from_id_column(table["photo_id"]))).to_pylist()
        names = self.people.now().name_of(face_ids)
        rows = zip(table.to_pylist(), paths, names, strict=True)
        faces = {row["face_id"]: {**row, "path": path, "person": name} for row, path, name in rows}
        people = np.full(there.shape, None, np.object_)
        people[there] = np.array(names, np.object_)[places]
        return faces, people

    def _answer(
        self,
        index: int,
        count: int,
        found: CandidateLists,
        faces: dict[bytes, dict[str, Any]],
        people: NDArray[np.object_],
        decided: Decisions,
        k: int,
        limit: Threshold,
    ) -> FaceAnswer:
        probabilities = [None if np.isnan(p) else round(p, 4) for p in decided.probabilities[index].tolist()]
        candidates = [
            candidate(rank, faces[face_id.tobytes()], similarity, probability)
            for rank, (face_id, similarity, probability) in enumerate(
                zip(
                    found.face_ids[index, : min(count, k)],
                    found.similarities[index].tolist(),
                    probabilities,
                    strict=False,
                ),
                start=1,
            )
        ]
        identified = bool(decided.identified[index])
        margin = float(decided.margins[index])
        named = self._people(people[index, :count].tolist(), decided.similarities[index].tolist(), probabilities)
        return FaceAnswer(
            face=0,
            box=None,
            confidence=None,
            quality=None,
            decision="identified" if identified else "not_recognised",
            threshold=round(float(decided.thresholds[index]), 6),
            fpir=limit.fpir,
            candidates=candidates,
            person=self._person(people[index], int(decided.best[index]), found, index) if identified else None,
            people=named[:k],
            margin=None if np.isnan(margin) else round(margin, 6),
            **limit.basis(),
        )

    def _person(self, people: NDArray[np.object_], best: int, found: CandidateLists, index: int) -> str | None:
        """Return who somebody is that was identified: what people said of the very face that is searched for holds."""
        name: str | None = people[best]
        if found.similarities[index, 0] < ITSELF:
            return name
        now = self.people.now()
        itself = now.spoken_of.get(int(now.rows.find(found.face_ids[index, :1])[0]), b"")
        return people[0] or (None if (itself, name) in now.state.rejected else name)

    def _people(
        self, names: list[str | None], similarities: list[float], probabilities: list[float | None]
    ) -> list[PersonCandidate]:
        """Return the people who have names among the candidates, the most similar first."""
        templates = self.calibration.templates
        found: dict[str, tuple[float, float | None]] = {}
        for name, similarity, probability in zip(names, similarities, probabilities, strict=False):
            if name is not None:
                found.setdefault(name, (similarity, probability))
        ordered = sorted(found.items(), key=lambda one: -one[1][0])
        counts = templates.face_counts
        return [
            PersonCandidate(
                rank,
                name,
                int(counts[templates.places[name]]) if name in templates.places else 1,
                round(similarity, 6),
                probability,
            )
            for rank, (name, (similarity, probability)) in enumerate(ordered, 1)
        ]

    def _shown(self, faces: PhotoFaces, index: int) -> dict[str, Any]:
        """Return what a picture tells of one of its faces."""
        return {
            "box": rounded_box(faces.detections.boxes[index]),
            "confidence": round(float(faces.detections.confidences[index]), 4),
            "quality": round(float(faces.qualities[index]), 4),
            "low_quality": bool(faces.qualities[index] < self.catalog.settings.min_quality),
        }

    def _photos_of(self, photo_ids: NDArray[np.void]) -> list[str]:

        paths = self._view["path"].take(rows_of(self._view, photo_ids)).to_pylist()
        return [fsdecode(path) for path in paths]


def _listed(value: object) -> str:
    """Return what a filter asks for as text, sets by their size if they are large."""
    if not isinstance(value, frozenset):
        return str(value)
    return " or ".join(sorted(value)) if len(value) <= SHOWN_NAMES else f"of {len(value):,}"
