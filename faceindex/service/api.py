"""The HTTP API: what the command line answers with --json, over HTTP. What changes something stands in `api_acts`."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Path, Query, Request, Response, UploadFile

from faceindex.errors import FaceIndexError, NothingFoundError
from faceindex.gallery.filters import Filters
from faceindex.identities.selection import Selection, select_person
from faceindex.people import people_list, suggestion_list
from faceindex.service import documents
from faceindex.service.access import caller_of, needs
from faceindex.service.api_route import PROBLEMS, ApiRoute, Document, document
from faceindex.service.faces import Snapshot, places_of
from faceindex.service.pages import Page, name_of
from faceindex.service.tokens import Scope
from faceindex.status import status as status_of

MOST_CANDIDATES = 1000
MOST_QUESTIONS = 1000
KEPT_S = 86_400
"""How long a browser keeps a face's picture, which never changes under its id."""

Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="32 hex digits.")]
Rate = Annotated[float, Query(gt=0, lt=1, allow_inf_nan=False)]
Cosine = Annotated[float | None, Query(ge=-1, le=1, allow_inf_nan=False, description="Instead of an error rate.")]
Date = Annotated[str | None, Query(description="2019, 2019-07 or 2019-07-31.")]
Upload = Annotated[UploadFile, File(description="A picture, JPEG, PNG, HEIF and others.")]


def _router(scope: Scope) -> APIRouter:
    return APIRouter(prefix="/api/v1", route_class=ApiRoute, dependencies=[Depends(needs(scope))], responses=PROBLEMS)


searching = _router(Scope.SEARCH)
reading = _router(Scope.LABEL)
administration = _router(Scope.ADMIN)
# Plain functions, not coroutines: they read files, so each runs in a thread.


@searching.post("/search", tags=["search"], responses=document("search", "Who is in the picture."))
def search(
    request: Request,
    image: Upload,
    k: Annotated[int, Query(ge=1, le=MOST_CANDIDATES, description="Candidates for each face.")] = 10,
    fpir: Rate = 0.01,
    threshold: Cosine = None,
    since: Date = None,
    until: Date = None,
    path: Annotated[str | None, Query(description="Glob that the photo's whole path matches.")] = None,
    person: Annotated[str | None, Query(alias="with", description="Only photos that show this person.")] = None,
) -> Response:
    """Find the people of a picture in the catalog. It is noted who searched, and the picture's digest."""
    filters = Filters(since, until, path, people=None if person is None else frozenset([person]))
    archive, name = request.app.state.archive, name_of(image)
    asked = {"k": k, "fpir": fpir, "threshold": threshold, "filters": filters}
    answer, _ = archive.search_upload(image.file.read(), name, caller_of(request).name, **asked)
    if not answer.faces:
        raise FaceIndexError(f"no face was found in {name}")
    return Document(answer.to_json())


@searching.post("/verify", tags=["search"], responses=document("verify", "Whether they show one person."))
def verify(request: Request, a: Upload, b: Upload, fmr: Rate = 1e-4, threshold: Cosine = None) -> Response:
    """Compare the people of two pictures, 1:1. It is noted who asked, and the digests of the pictures."""
    pictures = [(one.file.read(), name_of(one)) for one in (a, b)]
    who = caller_of(request).name
    answer = request.app.state.archive.verify_uploads(pictures, who, fmr=fmr, threshold=threshold)
    if answer.decision == "no_face":
        faceless = " and ".join(side.image for side in (answer.a, answer.b) if not side.faces)
        raise FaceIndexError(f"no face was found in {faceless}")
    return Document(answer.to_json())


@searching.get("/status", tags=["catalog"], responses=document("status", "The catalog in figures."))
def status(request: Request) -> Response:
    """Return what the catalog holds."""
    return Document(status_of(_snapshot(request).catalog))


@reading.get("/faces", tags=["faces"], responses=document("face_list", "A page of the faces."))
def faces(request: Request, page: Page = 1) -> Response:
    """List all faces, in a fixed order."""
    return Document(documents.all_faces(_snapshot(request), page))


@reading.get("/faces/{face_id}", tags=["faces"], responses=document("person", "The face."))
def face(request: Request, face_id: Id) -> Response:
    """Return one face."""
    snapshot = _snapshot(request)
    return Document(documents.faces_of(snapshot, Selection("face", face_id, places_of(snapshot.people, [face_id]))))


@reading.get("/people", tags=["people"], responses=document("people", "Everybody who has a name."))
def people(request: Request) -> Response:
    """List the people, those with most faces first."""
    snapshot = _snapshot(request)
    return Document(people_list(snapshot.catalog, snapshot.generation, snapshot.people))


@reading.get("/people/{name:path}", tags=["people"], responses=document("person", "The person's faces."))
def person(request: Request, name: str) -> Response:
    """Return the faces of a person, the best first; a slash in the name stays one."""
    snapshot = _snapshot(request)
    known = select_person(name, snapshot.people)
    places = tuple(snapshot.people.faces_of(known))
    return Document(documents.faces_of(snapshot, Selection("person", known, places)))


@reading.get("/clusters", tags=["people"], responses=document("cluster_list", "A page of the clusters."))
def clusters(request: Request, page: Page = 1) -> Response:
    """List the clusters, those with most faces without a name first."""
    return Document(documents.cluster_list(_snapshot(request), page))


@reading.get("/clusters/{cluster}", tags=["people"], responses=document("person", "The cluster's faces."))
def cluster(request: Request, cluster: Annotated[int, Path(ge=1)]) -> Response:
    """Return the faces of a cluster, the best first."""
    snapshot = _snapshot(request)
    if cluster not in snapshot.clusters:
        raise NothingFoundError(f"there is no cluster {cluster}; see /api/v1/clusters")
    chosen = Selection("cluster", str(cluster), tuple(snapshot.clusters[cluster]))
    return Document(documents.faces_of(snapshot, chosen))


@reading.get("/suggestions", tags=["people"], responses=document("suggestions", "Questions."))
def suggestions(request: Request, count: Annotated[int, Query(ge=1, le=MOST_QUESTIONS)] = 10) -> Response:
    """Return the questions whose answers settle most faces."""
    snapshot = _snapshot(request)
    return Document(suggestion_list(snapshot.catalog, snapshot.generation, snapshot.people, count))


@administration.get("/audit", tags=["catalog"], responses=document("audit", "A page of what was done."))
def audit(request: Request, page: Page = 1) -> Response:
    """List who searched, compared and changed what, the latest first."""
    archive = request.app.state.archive
    return Document(documents.audit(_snapshot(request), archive.searched(), archive.events(), page))


JPEG: dict[int | str, dict[str, Any]] = {200: {"description": "JPEG", "content": {"image/jpeg": {}}}}


@reading.get("/faces/{face_id}/crop", tags=["pictures"], response_class=Response, responses=JPEG)
def crop(request: Request, face_id: Id) -> Response:
    """Return the small picture of a face."""
    return _jpeg(request.app.state.archive.crop(face_id))


@reading.get("/photos/{photo_id}/picture", tags=["pictures"], response_class=Response, responses=JPEG)
def picture(request: Request, photo_id: Id) -> Response:
    """Return a photo, reduced and encoded anew."""
    return _jpeg(request.app.state.archive.picture(photo_id))


def _jpeg(data: bytes) -> Response:
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": f"private, max-age={KEPT_S}, immutable"})


def _snapshot(request: Request) -> Snapshot:
    snapshot: Snapshot = request.app.state.archive.snapshot()
    return snapshot
