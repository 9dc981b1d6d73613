"""The events of a run, for logs."""

import logging

from faceindex.catalog.files import Files
from faceindex.catalog.parquet import read_table
from faceindex.events import LOG, tell
from faceindex.pipeline.plans import Plan
from faceindex.pipeline.report import RunReport
from faceindex.pipeline.worker import Receipt
from faceindex.tables import photo_results
from faceindex.types import DONE_STATES
from faceindex.wording import visible


def tell_of_plan(plan: Plan, finished: int, report: RunReport) -> None:
    """Tell what will be done.

    Args:
        plan: of this run, or of one that was interrupted and is finished now.
        finished: photos of it that are done already.
        report: of this run.
    """
    resumed = plan.run != report.name
    tell(
        "plan_resumed" if resumed else "planned",
        f"{plan.photo_count:,} photos in {len(plan.batches):,} batches, {finished:,} done before"
        + (f", of the interrupted run {plan.run}" if resumed else ""),
        plan=plan.run,
        photos=plan.photo_count,
        batches=len(plan.batches),
        finished=finished,
        gone=len(plan.gone),
        unchanged=report.unchanged,
    )


def tell_of_batch(files: Files, receipt: Receipt, finished: int, photo_count: int) -> None:
    """Tell that a batch is done, and which of its photos could not be processed.

    Args:
        files: of the catalog.
        receipt: of the batch.
        finished: photos of the plan that are done now.
        photo_count: photos of the plan.
    """
    tell(
        "batch_committed",
        f"batch {receipt.batch_id}: {finished:,} of {photo_count:,} photos done",
        batch=receipt.batch_id,
        states=dict(receipt.states),
        faces=receipt.face_count,
        seconds={name: round(seconds, 3) for name, seconds in receipt.seconds.items()},
        finished=finished,
        photos=photo_count,
    )
    if not receipt.quarantined_count or not LOG.isEnabledFor(logging.WARNING):
        return
    for result in photo_results(read_table(files, receipt.files[0])):
        if result.state not in DONE_STATES:
            photo = result.ref.path.decode("utf-8", "replace")
            tell(
                "photo_quarantined",
                visible(f"{result.state}: {photo}: {result.detail}"),
                level=logging.WARNING,
                photo=photo,
                photo_id=result.photo_id.hex() if result.photo_id else None,
                state=str(result.state),
                detail=result.detail,
                batch=receipt.batch_id,
            )
