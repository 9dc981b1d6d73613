"""The catalog behind the service: what it holds now, its pictures, searches, and the way into its ledger."""

import io
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from blake3 import blake3
from PIL import Image as Pillow

from faceindex.answers import SearchAnswer
from faceindex.arrays import ID_BYTES, ids_array
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import Generation
from faceindex.catalog.live import rows_of
from faceindex.decisions.calibration import Calibration
from faceindex.errors import CatalogError, FaceIndexError, ItemError, NothingFoundError
from faceindex.gallery.filters import Filters
from faceindex.identities.events import Event
from faceindex.identities.labelling import Labelling
from faceindex.identities.opening import clusters_of, crops_of, questions_of
from faceindex.identities.people import People
from faceindex.identities.selection import Clusters
from faceindex.identities.suggestions import Question
from faceindex.images.decode import decode
from faceindex.images.read import read_photo
from faceindex.query import EVERYBODY, OpenCatalog
from faceindex.service.audit import Audit
from faceindex.service.faces import places_of
from faceindex.types import Image, PhotoRef
from faceindex.verification import VerifyAnswer, verify_images

LOOK_S = 2.0
"""How often it is looked whether a run has published another generation."""

KEPT_CROPS = 4000
"""Small pictures of faces that are kept in memory, of some 5 KB each."""

PICTURE_PX = 1600
"""Long side of the photos that pages show."""

DECODING = 2
"""Photos decoded at once: each may take hundreds of megabytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A generation, and who is who in it, at one moment."""

    catalog: Catalog
    generation: Generation
    people: People
    clusters: Clusters


class Archive:
    """One catalog, for many requests at once."""

    def __init__(self, catalog: Catalog, device: str = "auto") -> None:
        self._device = device
        self._turn = threading.RLock()
        self._searching = threading.Lock()
        self._decoding = threading.Semaphore(DECODING)
        self._opened = OpenCatalog(catalog, device)
        self._audit = Audit(catalog.files)
        self._looked = time.monotonic()
        self._shown: Snapshot | None = None
        self._questions: tuple[Snapshot | None, list[Question]] = (None, [])
        self._crops: OrderedDict[str, bytes] = OrderedDict()

    def snapshot(self) -> Snapshot:
        """Return what the catalog holds now; the same object as long as nothing has changed."""
        with self._turn:
            opened = self._served()
            people = opened.people.now()
            if self._shown is None or self._shown.people is not people:
                clusters = clusters_of(opened.catalog, opened.generation, people)
                self._shown = Snapshot(opened.catalog, opened.generation, people, clusters)
            return self._shown

    def say(self, author: str, act: Callable[[Labelling], Event]) -> Event:
        """Put what somebody says into the ledger; it is on the disk when this returns."""
        return act(Labelling(self._served().people, author))

    def events(self) -> list[Event]:
        """Return all that was ever said."""
        return self._served().people.ledger.events()

    def questions(self) -> list[Question]:
        """Return what is worth asking now; nothing before the faces were clustered."""
        with self._turn:
            shown = self.snapshot()
            if self._questions[0] is not shown:
                found = questions_of(shown.catalog, shown.generation, shown.people) if shown.generation.links else []
                self._questions = (shown, found)
            return self._questions[1]

    def generation(self) -> Generation:
        """Return the generation that is served now."""
        return self._served().generation

    def calibration(self) -> Calibration:
        """Return what decisions rest on."""
        return self._served().calibration

    def search_upload(
        self,
        data: bytes,
        name: str,
        who: str,
        k: int = 10,
        *,
        fpir: float = 0.01,
        threshold: float | None = None,
        filters: Filters = EVERYBODY,
    ) -> tuple[SearchAnswer, Image]:
        """Find the people of a picture that was sent; see `OpenCatalog.search`. It is noted who asked.

        Raises:
            FaceIndexError: it cannot be read.
        """
        opened = self._served()
        image = self._decoded(opened, data, name)
        with self._searching:  # one at a time: networks use all cores
            answer = opened.search_image(image, name, k, fpir=fpir, threshold=threshold, filters=filters)
        hits = sum(face.decision == "identified" for face in answer.faces)
        self._audit.add(who, "search", digest_of_picture(data), len(answer.faces), hits)
        return answer, image

    def verify_uploads(
        self, pictures: Sequence[tuple[bytes, str]], who: str, *, fmr: float = 1e-4, threshold: float | None = None
    ) -> VerifyAnswer:
        """Compare the people of two pictures that were sent; see `verification.verify`. It is noted who asked."""
        opened = self._served()
        (a, b) = ((self._decoded(opened, data, name), name) for data, name in pictures)
        with self._searching:
            recogniser, table = opened.recogniser, opened.calibration.table
            answer = verify_images(a, b, recogniser, opened.catalog.settings, fmr=fmr, threshold=threshold, table=table)
        query = " ".join(digest_of_picture(data) for data, _ in pictures)
        self._audit.add(who, "verify", query, answer.a.faces + answer.b.faces, int(answer.decision == "same"))
        return answer

    def searched(self) -> Audit:
        """Return who searched for what and when."""
        return self._audit

    def crop(self, face_id: str) -> bytes:
        """Return the small JPEG of a face.

        Raises:
            NothingFoundError: there is no such face, or the catalog keeps no pictures of faces.
        """
        shown = self.snapshot()
        if face_id not in self._crops:
            places = places_of(shown.people, [face_id])
            found = crops_of(shown.catalog, shown.generation, shown.people, np.array(places, np.int64))
            if places[0] not in found:
                raise NothingFoundError("the catalog keeps no picture of this face")
            with self._turn:
                self._crops[face_id] = found[places[0]]
                while len(self._crops) > KEPT_CROPS:
                    self._crops.popitem(last=False)
            return found[places[0]]
        return self._crops[face_id]

    def picture(self, photo_id: str) -> bytes:
        """Return a photo, reduced and encoded anew: without its metadata.

        Raises:
            NothingFoundError: there is no such photo, or it has changed or gone since it was indexed.
        """
        shown = self.snapshot()
        view = shown.people.view
        try:
            [row] = rows_of(view, ids_array([bytes.fromhex(photo_id)])).tolist()
        except ValueError as error:
            raise NothingFoundError("no photo of the catalog has this id") from error
        if row < 0:
            raise NothingFoundError("no photo of the catalog has this id")
        photo = view.slice(row, 1).to_pylist()[0]
        ref = PhotoRef(photo["path"], photo["size_bytes"], photo["mtime_ns"])
        try:
            with self._decoding:
                image = decode(read_photo(ref), ref.path, shown.catalog.settings.max_megapixels, PICTURE_PX)
        except ItemError as error:
            raise NothingFoundError(f"the photo cannot be shown, {error.state}: {error.detail}") from error
        reduced = Pillow.fromarray(image.pixels)
        reduced.thumbnail((PICTURE_PX, PICTURE_PX))
        file = io.BytesIO()
        reduced.save(file, "JPEG", quality=85)
        return file.getvalue()

    def _decoded(self, opened: OpenCatalog, data: bytes, name: str) -> Image:
        if not data:
            raise FaceIndexError(f"a picture was wanted, {name} is empty")
        try:
            with self._decoding:
                return decode(data, b"upload", opened.catalog.settings.max_megapixels)
        except ItemError as error:
            raise FaceIndexError(f"a picture was wanted, {name} is {error.state}: {error.detail}") from error

    def _served(self) -> OpenCatalog:
        """Return the catalog as it is served; opened anew when a run has published."""
        with self._turn:
            now = time.monotonic()
            if now - self._looked >= LOOK_S:
                self._looked = now
                current = self._opened.catalog.current()
                if current is None:
                    raise CatalogError(f"{self._opened.catalog.root} has no published generation any more")
                if current.number != self._opened.generation.number:
                    self._opened = OpenCatalog(self._opened.catalog, self._device)
            return self._opened


def digest_of_picture(data: bytes) -> str:
    """Return the digest that a picture goes by: of a photo of the catalog it is the photo's id."""
    return blake3(data).hexdigest(ID_BYTES)
