"""What a run did, as it is printed and stored; filled while it lasts, for those who watch."""

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from faceindex.catalog.files import open_files
from faceindex.catalog.generations import Generation
from faceindex.clock import Clock
from faceindex.images.crawl import CrawlReport
from faceindex.pipeline.plans import new_run
from faceindex.pipeline.worker import Receipt
from faceindex.types import DONE_STATES, PhotoResult

CHANGES = ("new", "changed", "touched", "moved", "copied", "deleted", "offline")
"""What may have happened to a photo since the last run; offline are those in folders that could not be listed."""


Progress = Callable[..., None]
"""Is called with (phase, photos done, photos in all, faces, quarantined)."""


@dataclass(slots=True)
class RunReport:
    """The figures of one run: `faceindex.run/1`."""

    catalog: str = ""
    name: str = field(default_factory=new_run)
    """Of this run; of its plan too, when there is anything to do."""
    run: str | None = None
    """Name of the run whose plan was finished last, which may be one that was interrupted before."""
    generation: int | None = None
    photos: dict[str, int] = field(default_factory=dict)
    """Photos in the catalog by state."""
    embedded: int = 0
    """Photos this run read to the end, with or without a face."""
    unchanged: int = 0
    removed: int = 0
    changes: Counter[str] = field(default_factory=Counter)
    """Photos by what happened to them since the last run, of CHANGES."""
    faces: int = 0
    """Faces in the catalog."""
    began: float = field(default_factory=time.time)
    """Seconds since 1970."""
    started: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0
    quarantined: list[dict[str, str]] = field(default_factory=list)
    """Photos this run could not process, each with its state and detail."""
    ignored: int = 0
    """Files that are surely no photos."""
    problems: list[str] = field(default_factory=list)
    """Folders that could not be listed."""
    path: str = ""
    """Where the report is stored."""
    dry_run: bool = False
    timeline: list[tuple[float, int]] = field(default_factory=list)
    """Seconds since the run began, and photos done by then."""
    clock: Clock = field(default_factory=Clock)
    planned: int = 0
    """Photos of the plans that this run finishes."""
    found: int = 0
    """Faces in the batches of this run."""
    _settled: Counter[str] = field(default_factory=Counter)
    """Photos by state, of plans that are published."""
    _under_way: Counter[str] = field(default_factory=Counter)
    """Photos by state, of the plan that is being done."""

    @classmethod
    def of(cls, catalog: str) -> "RunReport":
        """Return the empty report of a run on a catalog, a folder or URL."""
        return cls(open_files(catalog).root)

    @property
    def attempted(self) -> int:
        """Photos this run tried to read."""
        return self.embedded + len(self.quarantined)

    @property
    def photos_per_second(self) -> float:
        """Photos tried a second, so far or in all."""
        return self.tried().total() / (self.seconds or time.perf_counter() - self.started)

    @property
    def exit_code(self) -> int:
        """What a command that comes to its end exits with: 3 when photos are quarantined."""
        return 3 if self.quarantined else 0

    def tried(self) -> Counter[str]:
        """Return the photos this run tried so far, by state."""
        return self._settled + self._under_way

    def of_receipt(self, receipt: Receipt) -> None:
        """Count a batch that is done, until its plan is published."""
        self._under_way.update(receipt.states)
        self.found += receipt.face_count
        self.clock.add(dict(receipt.seconds))

    def stop(self) -> None:
        """Take the time."""
        self.seconds = time.perf_counter() - self.started

    def at(self, done: int) -> None:
        """Note that so many photos are done now."""
        self.timeline.append((time.perf_counter() - self.started, done))

    def of_results(self, results: list[PhotoResult]) -> None:
        """Count photos of this run, whose plan is being published."""
        self._under_way.clear()
        for result in results:
            self._settled[str(result.state)] += 1
            if result.state in DONE_STATES:
                self.embedded += 1
            else:
                photo = result.ref.path.decode("utf-8", "replace")
                self.quarantined.append({"photo": photo, "state": str(result.state), "detail": result.detail})

    @property
    def queue_fill(self) -> float | None:
        """Share of the time for which decoded photos were at hand, so that the networks did not wait; None without."""
        seconds = self.clock.seconds
        busy = sum(value for name, value in seconds.items() if name not in ("read", "decode", "wait"))
        return busy / (busy + seconds["wait"]) if busy and "wait" in seconds else None

    def of_crawl(self, crawled: CrawlReport) -> None:
        """Take over what the crawl passed over."""
        self.ignored = sum(crawled.ignored_files.values())
        self.problems = [f"{os.fsdecode(problem.path)}: {problem.detail}" for problem in crawled.problems]

    def of_generation(self, generation: Generation | None) -> None:
        """Take over the totals of the served generation."""
        if generation is not None:
            self.generation = generation.number
            self.photos = dict(generation.photo_counts)
            self.faces = generation.face_count

    def to_json(self) -> dict[str, Any]:
        """Return the document that `faceindex index --json` prints and the run's folder keeps."""
        return {
            "schema": "faceindex.run/1",
            "catalog": self.catalog,
            "run": self.run,
            "generation": self.generation,
            "photos": self.photos,
            "embedded": self.embedded,
            "unchanged": self.unchanged,
            "removed": self.removed,
            "changes": {name: self.changes[name] for name in CHANGES},
            "faces": self.faces,
            "seconds": round(self.seconds, 3),
            "photos_per_second": round(self.photos_per_second, 2),
            "quarantined": self.quarantined,
            "ignored": self.ignored,
            "unlisted": self.problems,
            "stage_seconds": {name: round(value, 3) for name, value in self.clock.seconds.items()},
            "queue_fill": None if self.queue_fill is None else round(self.queue_fill, 3),
        }
