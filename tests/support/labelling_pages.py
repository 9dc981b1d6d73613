"""The labelling pages over a catalog, without the service around them: no login, one author."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.staticfiles import StaticFiles
from PIL import Image as Pillow

from faceindex.answers import SearchAnswer
from faceindex.decisions.calibration import Calibration
from faceindex.identities.events import Event
from faceindex.identities.labelling import Labelling
from faceindex.identities.opening import clusters_of, crops_of, open_people, questions_of
from faceindex.identities.suggestions import Question
from faceindex.pictures import load_picture, open_upright
from faceindex.query import OpenCatalog
from faceindex.service import acts, pages
from faceindex.service.views import places_of
from faceindex.types import Image


class Snapshot:
    def __init__(self, catalog: Any, generation: Any, people: Any) -> None:
        self.catalog, self.generation, self.people = catalog, generation, people
        self.clusters = clusters_of(catalog, generation, people)


class Archive:
    def __init__(self, root: str) -> None:
        self.catalog, self.generation, self.people_of = open_people(root)
        self._shown: Snapshot | None = None

    def snapshot(self) -> Snapshot:
        people = self.people_of.now()
        if self._shown is None or self._shown.people is not people:
            self._shown = Snapshot(self.catalog, self.generation, people)
        return self._shown

    def say(self, author: str, act: Callable[[Labelling], Event]) -> Event:
        return act(Labelling(self.people_of, author))

    def events(self) -> list[Event]:
        return self.people_of.ledger.events()

    def questions(self) -> list[Question]:
        return questions_of(self.catalog, self.generation, self.people_of.now()) if self.generation.links else []

    def calibration(self) -> Calibration:
        return Calibration.read(self.catalog.files, self.generation)

    def search_upload(self, data: bytes, name: str, fpir: float) -> tuple[SearchAnswer, Image]:
        image, _ = load_picture(Pillow.open(io.BytesIO(data)), self.catalog.settings)
        return OpenCatalog(self.catalog).search_image(image, name, fpir=fpir), image


def make_app(root: str) -> FastAPI:
    app = FastAPI()
    app.state.archive = archive = Archive(root)
    app.state.csrf_token = lambda request: "token"
    app.state.author = lambda request: "me"
    app.include_router(pages.router)
    app.include_router(acts.router)
    app.mount("/static", StaticFiles(packages=[("faceindex.service", "static")]))

    @app.middleware("http")
    async def policy(request: Request, follow: Any) -> Response:
        answer: Response = await follow(request)
        answer.headers["Content-Security-Policy"] = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        return answer

    @app.get("/api/v1/faces/{face_id}/crop")
    def crop(face_id: str) -> Response:
        shown = archive.snapshot()
        places = places_of(shown.people, [face_id])
        crops = crops_of(shown.catalog, shown.generation, shown.people, np.array(places))
        return Response(crops[places[0]], media_type="image/jpeg")

    @app.get("/api/v1/photos/{photo_id}/picture")
    def picture(photo_id: str) -> Response:
        from faceindex.service.views import photo_page

        image = open_upright(photo_page(archive.snapshot(), photo_id).path)
        file = io.BytesIO()
        Pillow.fromarray(image.pixels).save(file, "JPEG")
        return Response(file.getvalue(), media_type="image/jpeg")

    return app
