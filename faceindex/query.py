"""Search and verify: a picture -> faces -> candidates -> a decision at the error rate that was asked for.

Binds the recogniser, the gallery and the thresholds. `faceindex.open` gives an `OpenCatalog` to notebooks; the command
line uses the same one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from os import PathLike, fsdecode, fspath
from os.path import abspath
from typing import TYPE_CHECKING, Any, Literal, Union

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import ImageOps

from faceindex.arrays import hex_id
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import Generation
from faceindex.catalog.live import live_faces, open_view, rows_of
from faceindex.clock import Clock
from faceindex.config import Settings
from faceindex.errors import CatalogError, ConfigError, FaceIndexError, ItemError, NothingFoundError
from faceindex.evaluation.thresholds import ModelTable, Threshold, load_table
from faceindex.faces.prominence import by_prominence
from faceindex.faces.recogniser import Recogniser
from faceindex.gallery.filters import Filters
from faceindex.gallery.opening import open_gallery
from faceindex.gallery.search import Gallery
from faceindex.identities.people import People, PeopleOf
from faceindex.images.crawl import crawl
from faceindex.images.decode import decode
from faceindex.images.read import read_photo
from faceindex.machine import core_count
from faceindex.tables import IMPORTED, from_id_column, require_model
from faceindex.types import CandidateLists, Image, ModelId, PhotoFaces
from faceindex.vector_files import VectorFile

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

Picture = Union[str, PathLike[str], "NDArray[np.uint8]", "PillowImage"]
EVERYBODY = Filters()
SHOWN_NAMES = 3

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the upright photo."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One face of the archive that a probe was compared with."""

    rank: int
    face_id: str
    photo: str
    box: Box | None
    """None for an imported embedding."""
    similarity: float
    """Cosine similarity, -1 to 1."""
    probability: float | None
    """Calibrated probability that this is the same person, at even odds that the person is in the gallery."""
    person: str | None = None


@dataclass(frozen=True, slots=True)
class FaceAnswer:
    """What a search says of one face of the query picture."""

    face: int
    box: Box | None
    """None for an embedding from elsewhere, like confidence and quality."""
    confidence: float | None
    quality: float | None
    decision: Literal["identified", "not_recognised"]
    threshold: float
    fpir: float | None
    """False positive identification rate asked for; None with a threshold of the user's own."""
    threshold_source: Literal["labels", "archive", "model", "user"]
    extrapolated: bool
    candidates: list[Candidate] = field(default_factory=list)
    person: str | None = None
    low_quality: bool = False
    """Whether the quality is below the catalog's `min_quality`: that nobody is found then says little."""


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """The answer to one query picture: `faceindex.search/1`."""

    catalog: str
    generation: int
    model: ModelId
    gallery_size: int
    query: dict[str, Any]
    faces: list[FaceAnswer]

    @property
    def identified(self) -> bool:
        """Whether any face of the picture was identified."""
        return any(face.decision == "identified" for face in self.faces)

    def to_json(self) -> dict[str, Any]:
        """Return the document that `faceindex search --json` prints."""
        return {"schema": "faceindex.search/1", **asdict(self)}


@dataclass(frozen=True, slots=True)
class VerifyAnswer:
    """The answer to a 1:1 comparison: `faceindex.verify/1`."""

    similarity: float | None
    probability: float | None
    threshold: float
    fmr: float | None
    decision: Literal["same", "different", "no_face"]
    a: dict[str, Any]
    b: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the document that `faceindex verify --json` prints."""
        return {"schema": "faceindex.verify/1", **asdict(self)}


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """The faces that a search may find."""

    masks: "list[NDArray[np.bool_]] | None"
    """For each shard, bool (faces of the shard,); None for all."""
    size: int


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

    @cached_property
    def gallery(self) -> Gallery:
        """The index over all faces, its files checked against the generation."""
        with self.clock.stage("open index"):
            return open_gallery(self.catalog.files, self.generation)

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
    def thresholds(self) -> ModelTable:
        """The table that turns error rates into scores for this catalog's model."""
        return load_table(self.generation.model)

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
        limit = self.resolve_threshold(fpir, threshold, scope.size)
        [faces] = self.recogniser.faces([image])
        with self.clock.stage("search"):
            found = self._search(faces.vectors, k, scope)
            order = by_prominence(faces.detections.boxes, image.width, image.height)
            asked = None if threshold is not None else fpir
            answers = [
                replace(self._answer(found, index, limit, asked, scope), **self._shown(faces, index), face=face)
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
        limit = self.resolve_threshold(fpir, threshold, scope.size)
        asked = None if threshold is not None else fpir
        for start, probes in vectors.batches():
            with self.clock.stage("search"):
                found = self._search(probes, k, scope)
            for index in range(len(probes)):
                answer = self._answer(found, index, limit, asked, scope)
                yield self._document({"vectors": vectors.path, "row": start + index}, [answer], scope)

    def scope(self, filters: Filters = EVERYBODY) -> "Scope":
        """Return the faces that a search may find.

        Raises:
            NothingFoundError: there are none.
        """
        if not filters:
            return Scope(None, self.gallery.size)
        about_people = filters.people is not None or filters.not_people is not None
        asked_of = (filters, self.people.now() if about_people else None)  # who is who may have changed
        if asked_of not in self._scopes:
            masks = filters.masks(self.gallery.shards, self._view, lambda people: self.people.now().photos_of(people))
            pairs = zip(self.gallery.shards, masks, strict=True)
            self._scopes[asked_of] = Scope(masks, sum(int((shard.alive & mask).sum()) for shard, mask in pairs))
        scope = self._scopes[asked_of]
        if not scope.size:
            asked = ", ".join(
                f"{name} {_listed(value)}" for name, value in asdict(filters).items() if value is not None
            )
            raise NothingFoundError(f"none of {self.gallery.size:,} faces passes the filter {asked}; ask for less")
        return scope

    def _search(self, probes: NDArray[np.float32], k: int, scope: "Scope") -> CandidateLists:
        return self.gallery.search(probes, self.generation.model, k, core_count(), scope.masks)

    def _document(self, query: dict[str, Any], faces: list[FaceAnswer], scope: "Scope") -> SearchAnswer:
        return SearchAnswer(
            catalog=self.catalog.root,
            generation=self.generation.number,
            model=self.generation.model,
            gallery_size=scope.size,
            query=query,
            faces=faces,
        )

    def resolve_threshold(self, fpir: float, threshold: float | None, gallery_size: int | None = None) -> Threshold:
        """Return the similarity to decide by, and where it comes from; by default for the whole gallery."""
        if threshold is None:
            size = self.gallery.size if gallery_size is None else gallery_size
            return self.thresholds.identification_threshold(fpir, size)
        if not -1.0 <= threshold <= 1.0:
            raise ConfigError(f"a threshold is a cosine similarity between -1 and 1, got {threshold:g}")
        return Threshold(value=threshold, source="user", extrapolated=False)

    def faces(self) -> pa.Table:
        """Return every face of the catalog: the columns of `faces`, and `photo`, the path it is in."""
        found = live_faces(self.catalog.files, self.generation)
        photos = self._photos_of(from_id_column(found["photo_id"]))
        return found.add_column(1, "photo", [photos])

    def _answer(
        self, found: CandidateLists, index: int, limit: Threshold, fpir: float | None, scope: "Scope"
    ) -> FaceAnswer:
        """Return what the search says of one probe, without what its picture tells of it."""
        count = int(found.counts[index])
        identified = count and found.similarities[index, 0] >= limit.value
        candidates = list(
            self._candidates(found.face_ids[index, :count], found.similarities[index, :count], scope.size)
        )
        return FaceAnswer(
            face=0,
            box=None,
            confidence=None,
            quality=None,
            decision="identified" if identified else "not_recognised",
            threshold=round(limit.value, 6),
            fpir=fpir,
            threshold_source=limit.source,
            extrapolated=limit.extrapolated,
            candidates=candidates,
            person=_named(candidates, limit.value) if identified else None,
        )

    def _shown(self, faces: PhotoFaces, index: int) -> dict[str, Any]:
        """Return what a picture tells of one of its faces."""
        return {
            "box": _box(faces.detections.boxes[index]),
            "confidence": round(float(faces.detections.confidences[index]), 4),
            "quality": round(float(faces.qualities[index]), 4),
            "low_quality": bool(faces.qualities[index] < self.catalog.settings.min_quality),
        }

    def _candidates(
        self, face_ids: NDArray[np.void], similarities: NDArray[np.float32], gallery_size: int
    ) -> Iterator[Candidate]:
        table = self.gallery.face_rows(face_ids)
        places = rows_of(self._view, from_id_column(table["photo_id"]))
        paths = self._view["path"].take(places).to_pylist()
        people = self.people.now().name_of(face_ids)
        rows = zip(table.to_pylist(), paths, people, similarities.tolist(), strict=True)
        for rank, (row, path, person, similarity) in enumerate(rows, start=1):
            yield Candidate(
                rank=rank,
                face_id=hex_id(row["face_id"]),
                photo=fsdecode(path),
                box=None if path.startswith(IMPORTED) else _box([row[edge] for edge in ("x0", "y0", "x1", "y1")]),
                similarity=round(similarity, 6),
                probability=self._probability(similarity, gallery_size),
                person=person,
            )

    def _photos_of(self, photo_ids: NDArray[np.void]) -> list[str]:

        paths = self._view["path"].take(rows_of(self._view, photo_ids)).to_pylist()
        return [fsdecode(path) for path in paths]

    def _probability(self, similarity: float, gallery_size: int) -> float | None:
        try:
            return round(self.thresholds.probability_identified(similarity, gallery_size), 4)
        except ConfigError:  # a model without a table still gives similarities
            return None


def _named(candidates: list[Candidate], threshold: float) -> str | None:
    """Return the name of the most similar candidate that has one, of those that reach the threshold."""
    return next((one.person for one in candidates if one.person and one.similarity >= threshold), None)


def _listed(value: object) -> str:
    """Return what a filter asks for as text, sets by their size if they are large."""
    if not isinstance(value, frozenset):
        return str(value)
    return " or ".join(sorted(value)) if len(value) <= SHOWN_NAMES else f"of {len(value):,}"


def load_picture(picture: Picture, settings: Settings) -> tuple[Image, str]:
    """Return a decoded picture and the name it goes by in answers.

    Raises:
        FaceIndexError: the picture cannot be read; the message says why.
        ConfigError: there is no such file.
    """
    if isinstance(picture, np.ndarray):
        return Image(b"", b"", np.ascontiguousarray(picture), "array"), "(array)"
    if isinstance(picture, (str, PathLike)):
        return open_upright(fspath(picture), settings.max_megapixels), fspath(picture)
    upright = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    return Image(b"", b"", upright, "picture"), str(getattr(picture, "filename", "") or "(picture)")


def open_upright(path: str, max_megapixels: int = 120) -> Image:
    """Return the decoded photo at a path or URL; raises `FaceIndexError` when it cannot be read."""
    try:
        ref = next(crawl(path), None)
        if ref is None or fsdecode(ref.path) not in (path, abspath(path)):  # noqa: PTH100 - a Path cannot hold every name
            raise FaceIndexError(f"{path} is a folder; give a picture")
        return decode(read_photo(ref), ref.path, max_megapixels)
    except ItemError as error:
        raise FaceIndexError(f"{path}: {error.state}: {error.detail}") from error


def verify(
    a: Picture, b: Picture, recogniser: Recogniser, settings: Settings, *, fmr: float, threshold: float | None
) -> VerifyAnswer:
    """Compare the people of two pictures, 1:1.

    Of pictures with several faces the most alike pair is compared. Choosing the best of n pairs gives a false match n
    chances, so the threshold is then taken at `fmr / n` (Bonferroni's bound), which errs to the strict side.

    Args:
        a: a path, PIL image or RGB pixels.
        b: likewise.
        recogniser: the networks.
        settings: of the catalog or the defaults.
        fmr: how often two different people may be called the same, 1e-4 means one in ten thousand.
        threshold: a cosine similarity to decide by, instead of an error rate.
    """
    images = [load_picture(picture, settings) for picture in (a, b)]
    left, right = recogniser.faces([image for image, _ in images])
    sides = [
        {"image": name, "width": image.width, "height": image.height, "faces": len(found.detections)}
        for (image, name), found in zip(images, (left, right), strict=True)
    ]
    pairs = len(left.vectors) * len(right.vectors)
    table = load_table(recogniser.embedder.model) if threshold is None else None
    limit = table.verification_threshold(fmr / max(1, pairs)).value if table else float(threshold or 0.0)
    if not pairs:
        return VerifyAnswer(None, None, round(limit, 6), fmr if table else None, "no_face", *sides)
    scores = left.vectors @ right.vectors.T
    i, j = np.unravel_index(int(np.argmax(scores)), scores.shape)
    similarity = float(scores[i, j])
    for side, found, index in zip(sides, (left, right), (i, j), strict=True):
        side["box"] = _box(found.detections.boxes[index])
        side["confidence"] = round(float(found.detections.confidences[index]), 4)
        side["quality"] = round(float(found.qualities[index]), 4)
    return VerifyAnswer(
        similarity=round(similarity, 6),
        probability=round(table.probability_same(similarity), 4) if table else None,
        threshold=round(limit, 6),
        fmr=fmr if table else None,
        decision="same" if similarity >= limit else "different",
        a=sides[0],
        b=sides[1],
    )


def _box(edges: "Sequence[float] | NDArray[np.float32]") -> Box:
    x0, y0, x1, y1 = (round(float(edge), 1) for edge in edges)
    return x0, y0, x1, y1
