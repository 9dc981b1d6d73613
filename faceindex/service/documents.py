"""Documents of the HTTP API that no command prints: all faces, all clusters, who asked for what and said what."""

import heapq
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from operator import itemgetter
from typing import Any

from faceindex.identities.events import Event
from faceindex.identities.selection import Selection
from faceindex.people import face_list, told
from faceindex.service.audit import Audit
from faceindex.service.faces import FACES_A_PAGE, Snapshot, covers, first_of
from faceindex.service.records import ROWS_A_PAGE
from faceindex.service.views import groups_of


def all_faces(snapshot: Snapshot, page: int) -> dict[str, Any]:
    """Return a page of the faces of the catalog in a fixed order: `faceindex.face_list/1`."""
    places = snapshot.people.rows.places
    first, pages = first_of(len(places), FACES_A_PAGE, page)
    chosen = Selection("face", "", tuple(places[first : first + FACES_A_PAGE].tolist()))
    return {**_head(snapshot, "face_list", page, pages, len(places)), "faces": faces_of(snapshot, chosen)["faces"]}


def faces_of(snapshot: Snapshot, chosen: Selection) -> dict[str, Any]:
    """Return what `faceindex people show --json` prints: `faceindex.person/1`."""
    return face_list(snapshot.catalog, snapshot.generation, snapshot.people, chosen)


def cluster_list(snapshot: Snapshot, page: int) -> dict[str, Any]:
    """Return a page of the clusters, those with most faces without a name first: `faceindex.cluster_list/1`."""
    free = {group.cluster: group for group in groups_of(snapshot)}
    numbers = sorted(snapshot.clusters, key=lambda one: (-len(free[one].places) if one in free else 0, one))
    first, pages = first_of(len(numbers), ROWS_A_PAGE, page)
    shown = numbers[first : first + ROWS_A_PAGE]
    best = covers(snapshot, [snapshot.clusters[number] for number in shown])
    clusters = [
        {
            "cluster": number,
            "faces": len(snapshot.clusters[number]),
            "unnamed": len(free[number].places) if number in free else 0,
            "people": sorted(
                {name for place in snapshot.clusters[number] if (name := snapshot.people.names.get(place))}
            ),
            "best": [face.face_id for face in faces],
        }
        for number, faces in zip(shown, best, strict=True)
    ]
    return {**_head(snapshot, "cluster_list", page, pages, len(numbers)), "clusters": clusters}


def audit(snapshot: Snapshot, searched: Audit, events: list[Event], page: int) -> dict[str, Any]:
    """Return a page of who did what, the latest first: `faceindex.audit/1`."""
    total = searched.count() + len(events)
    first, pages = first_of(total, ROWS_A_PAGE, page)
    rows = heapq.merge(_searches(searched), _changes(events), key=itemgetter("at"), reverse=True)
    return {
        **_head(snapshot, "audit", page, pages, total),
        "entries": list(islice(rows, first, first + ROWS_A_PAGE)),
    }


def _searches(searched: Audit) -> Iterator[dict[str, Any]]:
    return (asdict(row) for row in searched.latest())


def _changes(events: list[Event]) -> Iterator[dict[str, Any]]:
    for event in reversed(events):
        yield {
            "at": event.at,
            "who": event.author,
            "act": str(event.kind),
            "event": event.event_id,
            "text": told(event),
        }


def _head(snapshot: Snapshot, kind: str, page: int, pages: int, total: int) -> dict[str, Any]:
    return {
        "schema": f"faceindex.{kind}/1",
        "catalog": snapshot.catalog.root,
        "generation": snapshot.generation.number,
        "page": page,
        "pages": pages,
        "total": total,
    }
