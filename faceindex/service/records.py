"""What pages show of the catalog itself: what is there, runs, quarantine, settings, and what was said."""

import json
from dataclasses import asdict, dataclass
from os import fsdecode
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from faceindex.catalog import layout
from faceindex.catalog.checksums import read_verified
from faceindex.decisions.calibration import Calibration
from faceindex.errors import ConfigError
from faceindex.identities.events import Event, Kind
from faceindex.people import told
from faceindex.service.faces import Paged, Snapshot, first_of
from faceindex.service.views import GroupView, PersonView, group_views, groups_of, people_by_count, person_views
from faceindex.types import DONE_STATES
from faceindex.wording import visible

ROWS_A_PAGE = 100
SHOWN_AT_HOME = 6
RATES = (0.001, 0.003, 0.01, 0.03, 0.1)
"""False positive identification rates whose thresholds are shown."""


@dataclass(frozen=True, slots=True)
class EventView:
    """Something that was said."""

    event_id: str
    text: str
    author: str
    at: str
    """UTC, to the minute."""
    undone: bool
    can_turn: bool
    """Whether it can be undone, or done again."""


@dataclass(frozen=True, slots=True)
class Home:
    """What is there, and what to do next."""

    photos: int
    unread: int
    faces: int
    named: int
    people: int
    groups: int
    in_groups: int
    """Faces without a name in groups."""
    clustered: bool
    largest: list[GroupView]
    known: list[PersonView]
    said: list[EventView]


@dataclass(frozen=True, slots=True)
class Unread:
    """A photo in quarantine."""

    photo: str
    """Its path, safe to show."""
    state: str
    detail: str


def home(snapshot: Snapshot) -> Home:
    """Return what the first page shows."""
    groups = groups_of(snapshot)
    counts = snapshot.generation.photo_counts
    return Home(
        photos=sum(counts.values()),
        unread=sum(count for state, count in counts.items() if state not in DONE_STATES),
        faces=len(snapshot.people.rows.places),
        named=len(snapshot.people.names),
        people=len(snapshot.people.counts),
        groups=len(groups),
        in_groups=sum(len(group.places) for group in groups),
        clustered=snapshot.generation.clusters is not None,
        largest=group_views(snapshot, groups[:SHOWN_AT_HOME]),
        known=person_views(snapshot, people_by_count(snapshot)[:SHOWN_AT_HOME]),
        said=[event_view(snapshot, event) for event in snapshot.people.state.done[: -SHOWN_AT_HOME - 1 : -1]],
    )


def event_view(snapshot: Snapshot, event: Event) -> EventView:
    """Return an event as it is shown."""
    counting = any(one.event_id == event.event_id for one in snapshot.people.state.done)
    at = event.at[:16].replace("T", " ")
    turn = event.kind in (Kind.UNDO, Kind.REDO, Kind.ERASED)
    return EventView(event.event_id, told(event), visible(event.author), at, not counting and not turn, not turn)


def history(snapshot: Snapshot, events: list[Event], page: int) -> Paged[EventView]:
    """Return a page of what was said, the latest first."""
    first, pages = first_of(len(events), ROWS_A_PAGE, page)
    shown = events[::-1][first : first + ROWS_A_PAGE]
    counting = {event.event_id for event in snapshot.people.state.done}
    views = [
        EventView(
            event.event_id,
            told(event),
            visible(event.author),
            event.at[:16].replace("T", " "),
            event.target is None and event.event_id not in counting,
            event.target is None,
        )
        for event in shown
    ]
    return Paged(views, page, pages, len(events))


def run_reports(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return the report of each run, the latest first: `faceindex.run/1` each."""
    files, generation = snapshot.catalog.files, snapshot.generation
    return [
        _report(read_verified(files, entry), run)
        for run in sorted(generation.runs, reverse=True)
        for entry in generation.runs[run]
        if entry.path == layout.report_path(run)
    ]


def quarantine(snapshot: Snapshot, page: int) -> Paged[Unread]:
    """Return a page of the photos that could not be read, by path."""
    view = snapshot.people.view
    done = pa.array([state.value for state in DONE_STATES])
    unread = view.filter(pc.invert(pc.is_in(view["state"], value_set=done))).sort_by("path")
    first, pages = first_of(len(unread), ROWS_A_PAGE, page)
    rows = unread.slice(first, ROWS_A_PAGE).select(["path", "state", "detail"]).to_pylist()
    items = [Unread(visible(fsdecode(row["path"])), row["state"], visible(row["detail"])) for row in rows]
    return Paged(items, page, pages, len(unread))


def thresholds(calibration: Calibration) -> list[dict[str, Any]]:
    """Return the threshold at each of a few error rates; none where no table tells them."""
    found = []
    for rate in RATES:
        try:
            limit = calibration.threshold(rate, calibration.entries)
        except ConfigError:
            return []
        found.append({**asdict(limit), "rate": rate})
    return found


def settings(snapshot: Snapshot) -> list[tuple[str, str]]:
    """Return the catalog's settings as they are shown, roots left out."""
    return [
        (name.replace("_", " "), visible(str(value)))
        for name, value in asdict(snapshot.catalog.settings).items()
        if name != "roots" and value != ""
    ]


def _report(data: bytes, run: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(data)
    stamp = run.partition("-")[0]
    when = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]} {stamp[9:11]}:{stamp[11:13]}" if stamp[:8].isdigit() else run
    unread = document.get("quarantined", [])
    return {**document, "run": run, "when": when, "unread": len(unread), "unlisted": len(document.get("unlisted", []))}
