"""What systems that watch the service ask: is it alive, can it answer, and how does it fare."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from faceindex.errors import FaceIndexError
from faceindex.service.access import needs
from faceindex.service.api_route import PROBLEMS, ApiRoute
from faceindex.service.archive import Archive
from faceindex.service.tokens import Scope as TokenScope
from faceindex.types import DONE_STATES

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

probes = APIRouter(route_class=ApiRoute, tags=["watching"])
metrics_router = APIRouter(
    route_class=ApiRoute, dependencies=[Depends(needs(TokenScope.ADMIN))], responses=PROBLEMS, tags=["watching"]
)


@probes.get("/healthz")
def healthz() -> dict[str, str]:
    """Return that the process answers."""
    return {"status": "ok"}


@probes.get("/readyz", responses={503: PROBLEMS[503]})
def readyz(request: Request) -> Response:
    """Return whether a generation is loaded."""
    try:
        request.app.state.archive.generation()
    except FaceIndexError:
        # What is wrong may name files, and anybody may ask.
        return JSONResponse({"error": "no generation of the catalog can be read"}, 503)
    return JSONResponse({"status": "ready"})


@metrics_router.get("/metrics", responses={200: {"content": {"text/plain": {}}}}, response_class=Response)
def metrics(request: Request) -> Response:
    """Return figures for Prometheus."""
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)


class Metrics:
    """The figures of one service."""

    def __init__(self, archive: Archive) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Served(archive))
        labels = ("method", "route")
        self.requests = Counter(
            "faceindex_http_requests", "Requests answered.", (*labels, "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "faceindex_http_request_seconds",
            "Until the answer was sent.",
            labels,
            registry=self.registry,
            buckets=SECONDS,
        )


class _Served(Collector):
    """What is served, as it stands when it is asked."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        served = self._archive.generation()
        age = (datetime.now(UTC) - datetime.fromisoformat(served.created_at)).total_seconds()
        unread = sum(count for state, count in served.photo_counts.items() if state not in DONE_STATES)
        yield GaugeMetricFamily("faceindex_generation", "Number of the generation that is served.", served.number)
        yield GaugeMetricFamily("faceindex_generation_age_seconds", "Since it was published.", age)
        yield GaugeMetricFamily("faceindex_faces", "Faces that can be found.", served.face_count)
        yield GaugeMetricFamily(
            "faceindex_photos", "Photos, whatever became of them.", sum(served.photo_counts.values())
        )
        yield GaugeMetricFamily("faceindex_photos_quarantined", "Photos that could not be read.", unread)


class Measured:
    """Counts the requests of an app and takes their time."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        started = time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            # The pattern of a route, not a path: ids and names make no figures, and strangers can make none up.
            route = getattr(scope.get("route"), "path", "(none)")
            method = scope["method"] if scope["method"] in METHODS else "(other)"
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.seconds.labels(method, route).observe(time.perf_counter() - started)


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
