"""A run from folders to a published generation: crawl, plan, do the batches, publish.

The plan is written before the work starts. A run that was stopped or killed is finished from its plan before anything
new is planned, so the data files become those of an undisturbed run.
"""

import os
import signal
import threading
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, compress, takewhile
from typing import Any

import pyarrow as pa

from faceindex.catalog.catalog import Catalog
from faceindex.catalog.files import open_files
from faceindex.catalog.generations import BatchFiles, Generation
from faceindex.catalog.layout import SETTINGS, photos_path
from faceindex.catalog.upkeep import collect
from faceindex.config import Settings
from faceindex.errors import (
    CatalogError,
    ConfigError,
    InterruptedRunError,
    ModelMismatchError,
    NothingFoundError,
)
from faceindex.events import tell
from faceindex.faces.loading import settled_detector, settled_embedder
from faceindex.faces.models import find
from faceindex.faces.networks import gpu_names
from faceindex.gallery.recipe import EXACT, faces_needed, outdated
from faceindex.images.crawl import CrawlReport, crawl
from faceindex.images.remote import protocol_of
from faceindex.machine import core_count
from faceindex.pipeline.batches import Batch, make_batches, settings_digest
from faceindex.pipeline.changes import Changes, are_under, compare
from faceindex.pipeline.leftovers import files_of, stands_in_the_way
from faceindex.pipeline.memory import DEFAULT_BYTES
from faceindex.pipeline.plans import Plan, unfinished_plans, write_plan
from faceindex.pipeline.publish import known_photos, publish_gallery, publish_plan
from faceindex.pipeline.report import Progress, RunReport
from faceindex.pipeline.telling import tell_of_batch, tell_of_plan
from faceindex.pipeline.worker import Job, Receipt, run_here
from faceindex.types import PhotoRef

GONE_SHARE = 0.2
"""More photos of a root gone at once than this share stop the run: the disk may not be mounted."""


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """What a user may decide about a run."""

    workers: int | None = None
    """Processes on this machine; None for one a core, 0 for none but this one."""
    scheduler: str | None = None
    memory_bytes: int = DEFAULT_BYTES
    """Decoded photos held at once, by all processes of this machine together; by each worker of a `scheduler`.
    Afterwards what building the index takes."""
    min_face_px: int | None = None
    min_face_share: float | None = None
    """Smallest face looked for; one of the two replaces both settings."""
    thorough: bool = False
    """Small faces and turned pictures too."""
    device: str = "auto"
    detector: str | None = None
    model: str | None = None
    weights: str | None = None
    index: str | None = None
    retry_failed: bool = False
    allow_removals: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 0:
            raise ConfigError(f"workers must be at least 0, got {self.workers}")


def index_photos(
    catalog: str,
    photos: Sequence[str],
    options: IndexOptions,
    progress: Progress = lambda *_: None,
    report: RunReport | None = None,
) -> RunReport:
    """Bring a catalog up to date with folders of photos and publish it.

    Args:
        catalog: folder or URL; made when there is none.
        photos: folders, files and URLs.
        options: what a user may decide.
        progress: called with (phase, photos done, photos in all, faces, quarantined).
        report: is filled as the run goes on, and returned; by default a new one.

    Raises:
        NothingFoundError: there are no photos, now or before.
        CatalogError: the catalog cannot be written, or too many photos are gone at once.
        LockedError: another run is going on.
        InterruptedRunError: a signal stopped the run; the same command resumes it.
    """
    report = report or RunReport.of(catalog)
    roots = [_absolute(root) for root in photos]
    crawled = CrawlReport()
    progress("looking for photos")
    tell("crawling", f"looking for photos in {', '.join(roots)}", roots=roots)
    # A root that does not exist fails here, before the others are walked.
    seen: Iterator[PhotoRef] = chain.from_iterable([crawl(root, crawled) for root in roots])
    if not open_files(catalog).exists(SETTINGS):
        first = next(seen, None)
        if first is None:
            raise NothingFoundError(_no_photos(roots, crawled))
        seen = chain([first], seen)
        if options.dry_run:
            report.embedded, report.dry_run = sum(1 for _ in seen), True
            return report
        settings = _first_settings(options)
        _require_factory(options.index, settings.embedder)
        opened = Catalog.create(catalog, settings)
    else:
        opened = Catalog.open(catalog)
        _require_factory(options.index, opened.settings.embedder)
    report.catalog, report.dry_run = opened.root, options.dry_run
    run = _Run(opened, options, progress, report, crawled, opened.current())
    if options.dry_run:
        run.look(seen, roots)
    else:
        with opened.lock(f"faceindex index {' '.join(photos)}"), run.interruptible():
            run.everything(seen, roots)
    report.stop()
    return report


@dataclass(slots=True)
class _Run:
    """The state of one run; each method is one of its phases."""

    catalog: Catalog
    options: IndexOptions
    progress: Progress
    report: RunReport
    crawled: CrawlReport
    served: Generation | None
    signal_number: int = 0

    def everything(self, seen: Iterable[PhotoRef], roots: Sequence[str]) -> None:
        """Finish what was interrupted, then do what is new."""
        before = self.served = self.catalog.current()  # another run may have published before this one had the lock
        self._adopt(roots)
        for plan in list(unfinished_plans(self.catalog.files, self.served)):
            if plan.digest.startswith(self._digest()):
                self._finish(plan)
            else:  # made with another version of the models: planned anew below
                self.catalog.files.delete(plan.path)
        changes = self.look(seen, roots)
        if changes.todo or changes.gone:
            digest = self._digest()
            if self.options.retry_failed and self.served:
                digest += f"-retry{self.served.number}"  # else a failed batch would count as done
            batches = tuple(make_batches(changes.todo, self.catalog.settings, digest))
            served = self.served
            if served and any(stands_in_the_way(self.catalog, served, batch.batch_id) for batch in batches):
                digest += f"-again{served.number}"
                batches = tuple(make_batches(changes.todo, self.catalog.settings, digest))
            plan = Plan(self.report.name, digest, batches, tuple(ref.path for ref in changes.gone))
            write_plan(self.catalog.files, plan)
            self._finish(plan)
        elif self.served and self._index_outdated(self.served):
            self.progress("building the index")
            self.served = publish_gallery(
                self.catalog, self.served, build_bytes=self.options.memory_bytes, device=self.options.device
            )
        self.report.of_generation(self.served)
        if self.served is not before:
            collect(self.catalog.files)

    def look(self, seen: Iterable[PhotoRef], roots: Sequence[str]) -> Changes:
        """Hold the crawl against the served generation, and refuse to forget a disk that is not mounted."""
        known = known_photos(self.catalog, self.served)
        paths = [os.fsencode(root) for root in roots]
        changes = compare(self._until_stopped(seen), known, paths, retry_failed=self.options.retry_failed)
        unseen = tuple(problem.path for problem in self.crawled.problems)
        # A folder that could not be listed hides its photos; that is not the same as their being gone.
        hidden = are_under(_paths(changes.gone), unseen)
        changes.gone = list(compress(changes.gone, ~hidden))
        self.report.changes["offline"] = int(hidden.sum())
        if changes.gone and not self.options.allow_removals:
            gone = _not_moved(changes)
            for root in paths:
                _require_mounted(root, gone, known)
        self.report.of_crawl(self.crawled)
        # What this run has just finished for an interrupted one is not unchanged in the eyes of its user.
        self.report.unchanged = max(0, changes.unchanged_count - self.report.attempted)
        self.report.removed = len(changes.gone)
        if self.options.dry_run:
            self.report.embedded = len(changes.todo)
            self.report.of_generation(self.served)
        elif not (changes.todo or changes.unchanged_count or changes.gone or self.report.attempted):
            raise NothingFoundError(_no_photos(roots, self.crawled))
        return changes

    @contextmanager
    def interruptible(self) -> Generator[None]:
        """Note SIGINT and SIGTERM, so that the batches in flight are finished; the second one stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, _: object) -> None:
            if self.signal_number:
                raise KeyboardInterrupt
            self.signal_number = number

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _until_stopped(self, seen: Iterable[PhotoRef]) -> Iterator[PhotoRef]:
        for ref in seen:
            if self.signal_number:
                raise InterruptedRunError(
                    f"stopped by {signal.Signals(self.signal_number).name} while looking for photos; nothing was "
                    f"changed; run the same command again",
                    exit_code=128 + self.signal_number,
                )
            yield ref

    def _adopt(self, roots: Sequence[str]) -> None:
        """Take over what this run's options change in the settings, and refuse what cannot change."""
        settings = self.catalog.settings
        if self.options.model and settled_embedder(self.options.model) != settings.embedder:
            raise ModelMismatchError(
                f"{self.catalog.root} holds embeddings of {settings.embedder}, {self.options.model} asked for; "
                f"index the photos into another catalog with -c"
            )
        for name, wanted in _detection(self.options).items():
            if getattr(settings, name) != wanted:
                raise ConfigError(
                    f"{self.catalog.root} was made with {name} = {getattr(settings, name)}, {wanted} asked for; "
                    f"index the photos into another catalog with -c"
                )
        adopted = replace(
            settings,
            roots=tuple(dict.fromkeys([*settings.roots, *roots])),
            index=self.options.index or settings.index,
            weights=_absolute(self.options.weights) if self.options.weights else settings.weights,
        )
        if adopted != settings:
            self.catalog = self.catalog.with_settings(adopted)

    def _index_outdated(self, served: Generation) -> bool:
        return outdated(served.recipe, served.face_count, served.dimension, self.catalog.settings.index)

    def _digest(self) -> str:
        from faceindex.faces.loading import detector_id, embedder_id

        settings = self.catalog.settings
        model = embedder_id(settings.embedder, mirror=settings.mirror, weights=settings.weights or None)
        return settings_digest(settings, detector_id(settings.detector), model)

    def _finish(self, plan: Plan) -> None:
        """Do the batches of a plan that are not done yet, and publish."""
        files = self.catalog.files
        done: dict[str, BatchFiles] = {}
        missing: list[Batch] = []
        for batch in plan.batches:
            entries = files_of(self.catalog, batch.batch_id) if files.exists(photos_path(batch.batch_id)) else None
            if entries:
                done[batch.batch_id] = entries
            else:
                missing.append(batch)
        finished = plan.photo_count - sum(len(batch.photos) for batch in missing)
        sizes = {batch.batch_id: len(batch.photos) for batch in missing}
        faces = quarantined = 0
        self.report.planned += plan.photo_count
        tell_of_plan(plan, finished, self.report)
        self.progress("starting workers", finished, plan.photo_count)
        for receipt in self._receipts(missing):
            done[receipt.batch_id] = BatchFiles(*receipt.files)
            finished += sizes.pop(receipt.batch_id)
            self.report.at(finished)
            faces += receipt.face_count
            quarantined += receipt.quarantined_count
            self.report.of_receipt(receipt)
            tell_of_batch(files, receipt, finished, plan.photo_count)
            self.progress("finding faces", finished, plan.photo_count, faces, quarantined)
        if sizes:
            number = self.signal_number or signal.SIGINT
            raise InterruptedRunError(
                f"stopped by {signal.Signals(number).name} with {finished:,} of {plan.photo_count:,} photos done and "
                f"kept; run the same command again to go on",
                exit_code=128 + number,
            )
        self.progress("building the index", finished, plan.photo_count, faces, quarantined)
        options = self.options
        self.served = publish_plan(
            self.catalog, self.served, plan, done, self.report, options.memory_bytes, options.device
        )

    def _receipts(self, batches: Sequence[Batch]) -> Iterator[Receipt]:
        if not batches:
            return
        job = Job(
            self.catalog.root, self.options.device, self.catalog.settings.weights or None, self.options.memory_bytes
        )
        workers = default_workers(self.options.device) if self.options.workers is None else self.options.workers
        if workers == 0 and not self.options.scheduler:
            yield from run_here(takewhile(lambda _: not self.signal_number, batches), job)
            return
        from faceindex.pipeline.cluster import run_on_cluster

        workers = min(workers, len(batches))
        job = replace(job, guard=True)
        if not self.options.scheduler:
            job = replace(job, processes=workers, gpus=gpu_names(self.options.device))
        yield from run_on_cluster(
            batches,
            job,
            workers=workers,
            scheduler=self.options.scheduler,
            stopping=lambda: bool(self.signal_number),
        )


def _first_settings(options: IndexOptions) -> Settings:
    chosen = {
        "embedder": settled_embedder(options.model) if options.model else None,
        "weights": _absolute(options.weights) if options.weights else None,
        "index": options.index,
    }
    chosen = {name: value for name, value in chosen.items() if value}
    return replace(Settings(), **chosen, **_detection(options))  # type: ignore[arg-type]


LEAST_FACE_PX = 12
"""Side of what MTCNN's first network sees."""

THOROUGH = {"min_face_px": 12, "min_face_share": 0.0, "detect_side_px": 2560, "turned": True}
"""Faces of a third of the size in large photos, and those in pictures that lie on a side or stand on their head."""


def _detection(options: IndexOptions) -> dict[str, Any]:
    """Return the settings of detection that the options ask for."""
    detector = settled_detector(options.detector) if options.detector else None
    settings: dict[str, Any] = {"detector": detector} if detector else {}
    if options.thorough:
        settings |= THOROUGH
    if options.min_face_px is not None:
        settings |= {"min_face_px": options.min_face_px, "min_face_share": 0.0}
    elif options.min_face_share is not None:
        settings |= {"min_face_px": LEAST_FACE_PX, "min_face_share": options.min_face_share}
    return settings


def _require_factory(index: str | None, embedder: str) -> None:
    """Refuse an index that FAISS refuses now, not after hours of work."""
    dimension = find(embedder, "embedder").dimension
    if index not in (None, "auto", EXACT) and dimension is not None:
        faces_needed(index, dimension)


def default_workers(device: str) -> int:
    """Return how many processes to start: one a core, or one a GPU; for a single GPU none, this one feeds it."""
    count = len(gpu_names(device))
    return core_count() if count == 0 else 0 if count == 1 else count


def _absolute(root: str) -> str:
    if protocol_of(root) not in (None, "file"):
        return root.rstrip("/")
    return os.path.abspath(root.removeprefix("file://"))  # noqa: PTH100 - a Path cannot hold every name


def _not_moved(changes: Changes) -> list[PhotoRef]:
    """Return the photos that are gone without a new one of the same size and time, as a moved photo has."""
    arrived = Counter((ref.size_bytes, ref.mtime_ns) for ref in changes.arrived)
    left = []
    for ref in changes.gone:
        look = (ref.size_bytes, ref.mtime_ns)
        if arrived[look]:
            arrived[look] -= 1
        else:
            left.append(ref)
    return left


def _require_mounted(root: bytes, gone: Sequence[PhotoRef], known: pa.Table) -> None:
    before = are_under(known["path"], [root]).sum()
    missing = are_under(_paths(gone), [root]).sum()
    if missing > GONE_SHARE * before:
        raise CatalogError(
            f"{missing:,} of {before:,} photos under {os.fsdecode(root)} are gone; is it mounted? "
            f"Nothing was forgotten; if they were removed on purpose, add --allow-removals"
        )


def _paths(refs: Sequence[PhotoRef]) -> pa.ChunkedArray:
    return pa.chunked_array([[ref.path for ref in refs]], pa.binary())


def _no_photos(roots: Sequence[str], crawled: CrawlReport) -> str:
    others = sum(crawled.ignored_files.values())
    unseen = "".join(f"; cannot list {os.fsdecode(problem.path)}: {problem.detail}" for problem in crawled.problems)
    return f"no photos in {', '.join(roots)} ({others:,} other files passed over){unseen}; give a folder that has some"
