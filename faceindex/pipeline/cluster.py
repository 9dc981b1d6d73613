"""Batches on Dask: a bounded window of tasks, and what happens when a worker dies.

A worker that dies takes no answer with it: batch files have deterministic names, so its batch is simply done again.
A batch that keeps killing workers is bisected until the photo that does it is alone; that photo is excluded and
counted, the others are done.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import dask
from distributed import Client, KilledWorker, LocalCluster, Worker, WorkerPlugin, as_completed, get_worker
from distributed.client import FutureCancelledError
from distributed.comm import CommClosedError
from tornado.ioloop import PeriodicCallback

from faceindex.errors import FaceIndexError, ItemError
from faceindex.events import LOG, tell
from faceindex.pipeline.batches import Batch
from faceindex.pipeline.worker import BatchWorker, Job, Receipt
from faceindex.types import PhotoRef, PhotoState

ATTEMPTS = 2
"""Times a batch may lose its worker before it is bisected; once may be a neighbour's fault or a restart."""

WINDOW_PER_WORKER = 3
"""Batches in flight for each worker: one running, the next waiting, one being handed over."""

START_ATTEMPTS = 5
"""Times workers may die while they start, and again while they load the networks."""

KEEPER_PERIOD_S = 5
"""How often the number of workers is looked after."""

CONFIG = {
    "distributed.scheduler.allowed-failures": 0,  # retries are ours: we know batches, Dask only tasks
    "distributed.scheduler.worker-saturation": 1.0,  # queued batches wait in the scheduler, not with a worker
    "distributed.worker.multiprocessing-method": "spawn",
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.pause": False,
    # Large arrays come and go with every batch. Returning them to the system and faulting in new pages would cost a
    # quarter of the time: one heap for all threads and sizes, and what is free of it is kept.
    "distributed.nanny.pre-spawn-environ.MALLOC_ARENA_MAX": 1,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_MAX_": 0,
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 512 << 20,
    # A worker that does not come back in this time is given up by Dask; `_kept_at_strength` then starts another.
    "distributed.deploy.lost-worker-timeout": "60s",
    "distributed.comm.timeouts.connect": "60s",
    "distributed.worker.profile.enabled": False,  # it would take the interpreter from the work a hundred times a second
    "distributed.admin.event-loop": "asyncio",
}


class JobPlugin(WorkerPlugin):  # type: ignore[misc]
    """Loads the networks once in every worker, also in one that was started again."""

    name = "faceindex"

    def __init__(self, job: Job) -> None:
        self.job = job
        self.worker: BatchWorker | None = None
        self.log_level = LOG.getEffectiveLevel()

    def setup(self, worker: Worker) -> None:
        """Load the networks."""
        LOG.setLevel(self.log_level)  # what is logged here is forwarded to the run
        if threading.current_thread() is threading.main_thread():
            # Ctrl-C reaches every process of the terminal; the run stops its workers itself, after their batches.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        start = time.perf_counter()
        if self.job.gpus and str(worker.name).isdigit():
            # Before CUDA is first used in this process. A worker that is started again keeps its name and its GPU.
            os.environ["CUDA_VISIBLE_DEVICES"] = self.job.gpus[int(worker.name) % len(self.job.gpus)]
        self.worker = BatchWorker(self.job)
        seconds = round(time.perf_counter() - start, 3)
        tell("worker_ready", f"networks loaded in {seconds:.1f} s", pid=os.getpid(), seconds=seconds)


def run_batch(batch: Batch, excluded: Mapping[int, ItemError]) -> Receipt:
    """Do one batch on the worker that calls this."""
    return _worker().run(batch, excluded)


def probe_photos(photos: Sequence[PhotoRef]) -> None:
    """Process photos on the worker that calls this, and write nothing."""
    _worker().probe(photos)


def _worker() -> BatchWorker:
    worker: BatchWorker = get_worker().plugins[JobPlugin.name].worker
    return worker


@contextmanager
def connected(job: Job, workers: int, scheduler: str | None) -> Iterator[tuple[Client, int]]:
    """Yield a client whose workers hold the networks, and their number.

    Args:
        job: what the workers need to know.
        workers: processes to start on this machine when there is no `scheduler`.
        scheduler: address of a running Dask scheduler, such as tcp://10.0.0.5:8786.
    """
    with dask.config.set(CONFIG):
        if scheduler:
            with _reachable(scheduler), _client(scheduler) as client:
                _equip(client, job)
                yield client, max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
            return
        cluster = local_cluster(workers)
        with cluster, Client(cluster) as client, _kept_at_strength(cluster, workers):
            _equip(client, job)
            yield client, workers


def _client(scheduler: str) -> Client:
    try:
        return Client(scheduler, timeout="30s")
    except (OSError, ValueError) as error:  # an address that nobody answers at, or that is none
        raise FaceIndexError(f"no Dask scheduler answers at {scheduler} ({error}); see that it runs") from error


@contextmanager
def _reachable(scheduler: str) -> Iterator[None]:
    """Say in one line that the connection to a scheduler was lost; Dask would log traces of it too."""
    log = logging.getLogger("distributed.client")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    except (FutureCancelledError, CommClosedError) as error:
        raise FaceIndexError(
            f"the connection to the Dask scheduler {scheduler} was lost; see that it runs, and run the same command "
            f"again: finished batches are kept"
        ) from error
    finally:
        log.setLevel(level)


def local_cluster(workers: int) -> LocalCluster:
    """Start workers on this machine, and once more if one of them dies before it is there."""
    for _ in range(START_ATTEMPTS):
        try:
            return LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",  # loopback only, and any port: another cluster may have the usual one
                silence_logs="CRITICAL",
            )
        except RuntimeError as error:
            reason = error.__cause__ or error
    raise FaceIndexError(_keeps_ending("started", reason))


def _equip(client: Client, job: Job) -> None:
    """Have every worker load the networks. Dask tells those that start later, but gives up when one dies meanwhile."""
    for _ in range(START_ATTEMPTS):
        try:
            client.forward_logging(LOG.name)
            client.register_plugin(JobPlugin(job))
            return
        except CommClosedError as error:
            reason = error
    raise FaceIndexError(_keeps_ending("loaded the networks", reason))


@contextmanager
def _kept_at_strength(cluster: LocalCluster, workers: int) -> Iterator[None]:
    """Start workers again that Dask has given up, which it does with one that dies while it is starting."""
    keeper = PeriodicCallback(lambda: cluster.scale(workers), KEEPER_PERIOD_S * 1000)
    cluster.loop.add_callback(keeper.start)
    try:
        yield
    finally:
        cluster.loop.add_callback(keeper.stop)


def run_on_cluster(
    batches: Iterable[Batch], job: Job, *, workers: int, scheduler: str | None, stopping: Callable[[], bool]
) -> Iterator[Receipt]:
    """Yield the receipt of each batch as it is done, in any order.

    When `stopping()` turns true nothing new is started, and the batches in flight are still waited for.
    """
    with connected(job, workers, scheduler) as (client, worker_count):
        waiting = iter(batches)
        window = 0 if stopping() else WINDOW_PER_WORKER * worker_count
        first = [_submit(client, batch) for batch in islice(waiting, window)]
        running = {future.key: batch for future, batch in first}
        attempts: dict[str, int] = {}
        finished = as_completed([future for future, _ in first])
        for future in finished:
            batch = running.pop(future.key)
            excluded: dict[int, ItemError] = {}
            try:
                yield future.result()
                following = None if stopping() else next(waiting, None)
            except KilledWorker:
                attempts[batch.batch_id] = attempts.get(batch.batch_id, 0) + 1
                _tell_of_loss(batch, attempts[batch.batch_id])
                if attempts[batch.batch_id] >= 2 * ATTEMPTS:
                    raise FaceIndexError(_keeps_dying(batch)) from None
                if attempts[batch.batch_id] >= ATTEMPTS:
                    excluded = find_killers(client, batch.photos)
                following = batch
            future.release()
            if following is not None:
                again, _ = _submit(client, following, excluded, attempts.get(following.batch_id, 0))
                running[again.key] = following
                finished.add(again)


def find_killers(client: Client, photos: Sequence[PhotoRef]) -> dict[int, ItemError]:
    """Return the positions of the photos that kill a worker even when they are processed alone."""
    killers: dict[int, ItemError] = {}
    deaths = [0] * len(photos)
    suspects = [list(range(len(photos)))]
    while suspects:
        group = suspects.pop()
        try:
            client.submit(probe_photos, [photos[i] for i in group], pure=False).result()
        except KilledWorker:
            if len(group) > 1:
                middle = len(group) // 2
                suspects += [group[middle:], group[:middle]]
                continue
            deaths[group[0]] += 1
            if deaths[group[0]] < ATTEMPTS:
                suspects.append(group)  # alone, but the worker may have died for another reason: once more
            else:
                detail = f"killed its worker process {ATTEMPTS} times when it was processed alone"
                killers[group[0]] = ItemError(PhotoState.CRASHED_DECODER, detail)
    return killers


def _submit(
    client: Client, batch: Batch, excluded: Mapping[int, ItemError] | None = None, attempt: int = 0
) -> tuple[Any, Batch]:
    key = f"faceindex-{batch.batch_id}-{attempt}"
    return client.submit(run_batch, batch, excluded or {}, key=key), batch


def _tell_of_loss(batch: Batch, times: int) -> None:
    tell(
        "worker_lost",
        f"a worker ended while it did batch {batch.batch_id}, attempt {times}; the batch is done again",
        level=logging.WARNING,
        batch=batch.batch_id,
        photos=len(batch.photos),
        times=times,
    )


def _keeps_ending(what: str, reason: BaseException) -> str:
    return (
        f"workers ended {START_ATTEMPTS} times while they {what}; the machine may be short of memory: try fewer "
        f"--workers ({type(reason).__name__}: {reason})"
    )


def _keeps_dying(batch: Batch) -> str:
    first = batch.photos[0].path.decode(errors="replace")
    return (
        f"batch {batch.batch_id} ({len(batch.photos)} photos from {first} on) lost its worker {2 * ATTEMPTS} times, "
        f"though none of its photos does so alone; the machine may be short of memory: try fewer --workers"
    )
