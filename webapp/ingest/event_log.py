"""Taking a log into Postgres: batches of events, any number of times, in any order.

Files come first: what an event names is in the artifact store before the row that names it. Then
one transaction takes the run's row, counts the batch (`batch_count`), appends rows whose keys make a
repetition do nothing, and derives what lists show from what is stored. Late events of an attempt
that has been replaced are appended to that attempt and change nothing else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from trainer.events import LogReader
from webapp.base import notify
from webapp.base.outages import OUTAGES
from webapp.ingest import files, pending_uploads, progress
from webapp.runs.event_rows import (
    BatchKey,
    event_row,
    moment,
    rollout_rows,
    unreadable_event,
    validated,
)
from webapp.runs.models import Attempt, Checkpoint, Event, RolloutRow, Run, State, Transition
from webapp.series import series_store

log = logging.getLogger(__name__)
BATCH_EVENTS, BATCH_BYTES = 500, 4 << 20
TAKE = "UPDATE runs_run SET batch_count = batch_count + 1 WHERE id = %s RETURNING batch_count"


def ingest(
    run_id: int, attempt: int, events: Sequence[dict[str, Any]], folder: Path, more: bool = False
) -> int:
    """Append `events` of attempt `attempt`, whose files lie below its `folder`; return the run's
    cursor.

    Safe to repeat. `more` says that later events wait already. An event that the database refuses
    is recorded as a warning, and the rest as it is. Raises OUTAGES while the database is away,
    Run.DoesNotExist or Attempt.DoesNotExist when there is nothing to append to.
    """
    known = Attempt.objects.select_related("run__team").get(run=run_id, number=attempt)
    batch = [
        _readable(event)
        for event in events
        if isinstance(event.get("seq"), int) and 0 < event["seq"] < 2**62
    ]
    return _record(known, batch, folder, more)


def retry_uploads(run_id: int, attempt: int, folder: Path) -> None:
    """Try once more to store the files that the store had no room for. Rows keep only a part of an
    event, so the log is read again.
    """
    wanted = pending_uploads.pending_seqs(run_id, attempt)
    if not wanted:
        return
    reader = LogReader(folder / "events", wanted[0] - 1)
    while reader.seq < wanted[-1] and (taken := reader.read_batch(BATCH_EVENTS, BATCH_BYTES)):
        if batch := [event for event in taken if event["seq"] in wanted]:
            ingest(run_id, attempt, batch, folder)


def _record(known: Attempt, batch: list[dict[str, Any]], folder: Path, more: bool) -> int:
    """Record the batch; where something in it cannot be recorded, its halves, down to the one event
    that is to blame.
    """
    try:
        return _append_once(known, batch, folder, more)
    except (*OUTAGES, Run.DoesNotExist):
        raise
    except Exception as problem:
        log.exception(
            "%d events of run %s attempt %d were refused",
            len(batch),
            known.run.public_id,
            known.number,
        )
        if len(batch) < 2:
            return _append_once(
                known,
                [unreadable_event(event, problem, time.time()) for event in batch],
                folder,
                more,
            )
        half = len(batch) // 2
        _record(known, batch[:half], folder, True)
        return _record(known, batch[half:], folder, more)


def _append_once(known: Attempt, batch: list[dict[str, Any]], folder: Path, more: bool) -> int:
    stored = files.store(known.run.team, batch, folder)
    with transaction.atomic():
        batch_key = BatchKey(known.run_id, known.number, lock_and_count_batch(known.run_id))
        _append(batch_key, known.run, batch, stored)
        pending_uploads.update_summary(batch_key, batch)
        known.refresh_from_db()
        _advance(known, batch)
        _show(known, batch, more)
        notify.publish_on_commit(known.run.public_id, batch_key.batch_number)
    return batch_key.batch_number


def _show(known: Attempt, batch: list[dict[str, Any]], more: bool) -> None:
    """Bring what lists show up to date. It is derived, so that it may fail without holding up the
    record.
    """
    try:
        with transaction.atomic():
            progress.refresh(known, batch, more)
    except OUTAGES:
        raise
    except Exception:
        log.exception("the summary of run %s could not be brought up to date", known.run.public_id)


def _readable(event: dict[str, Any]) -> dict[str, Any]:
    try:
        return validated(event)
    except (ValueError, OverflowError, RecursionError) as problem:
        return unreadable_event(event, problem, time.time())


def lock_and_count_batch(run_id: int) -> int:
    """Lock the run's row until the end of the transaction and count this batch: the run's new
    cursor. Raises Run.DoesNotExist.
    """
    with connection.cursor() as cursor:
        cursor.execute(TAKE, [run_id])
        found = cursor.fetchone()
    if found is None:
        raise Run.DoesNotExist(f"run {run_id} is gone")
    return int(found[0])


def _append(
    batch_key: BatchKey, run: Run, batch: list[dict[str, Any]], stored: files.Stored
) -> None:
    series_store.append(run, batch_key.attempt, batch, batch_key.batch_number)
    others = [event_row(batch_key, event) for event in batch if event["type"] != "metrics"]
    Event.objects.bulk_create(others, ignore_conflicts=True, batch_size=500)
    for event in batch:
        if event["type"] == "rollouts" and stored.has(event["file"]["sha256"]):
            RolloutRow.objects.bulk_create(
                rollout_rows(batch_key, event), ignore_conflicts=True, batch_size=500
            )
        elif event["type"] == "checkpoint" and event["seq"] in stored.checkpoints:
            Checkpoint.objects.bulk_create(
                [_checkpoint(batch_key, event, stored)], ignore_conflicts=True
            )
    _forget_removed(batch_key, batch)


def _checkpoint(batch_key: BatchKey, event: dict[str, Any], stored: files.Stored) -> Checkpoint:
    manifest = stored.checkpoints[event["seq"]]
    return Checkpoint(
        run_id=batch_key.run_id,
        attempt=batch_key.attempt,
        seq=event["seq"],
        step=event["step"],
        stage=str(event.get("stage") or "")[:32],
        folder=event["folder"],
        size=sum(file["size"] for file in manifest.values()),
        best=bool(event.get("best")),
        metrics=event.get("metrics") or {},
        manifest=manifest,
        created_at=moment(event["wall_time"]),
    )


def _forget_removed(batch_key: BatchKey, batch: list[dict[str, Any]]) -> None:
    """What the trainer removed to save space leaves the store too, whichever event came first;
    `artifacts.collect` takes the bytes.
    """
    touched = {
        str(event.get("folder"))
        for event in batch
        if event["type"] in ("checkpoint", "checkpoint_removed")
    }
    removed = Event.objects.filter(
        run=batch_key.run_id,
        attempt=batch_key.attempt,
        type="checkpoint_removed",
        payload__folder__in=list(touched),
    )
    for folder, seq in removed.values_list("payload__folder", "seq"):
        Checkpoint.objects.filter(
            run=batch_key.run_id, attempt=batch_key.attempt, folder=folder, seq__lt=seq
        ).delete()


def _advance(known: Attempt, batch: list[dict[str, Any]]) -> None:
    """The attempt's own marks; they only grow, so that order does not matter."""
    known.step = max([known.step, *(event.get("step") or 0 for event in batch)])
    known.last_seq = max([known.last_seq, *(event["seq"] for event in batch)])
    known.save(update_fields=["step", "last_seq"])
    run = known.run
    if Run.objects.filter(pk=run.pk, attempt=known.number, state=State.STARTING).update(
        state=State.RUNNING
    ):
        Transition.objects.create(
            run=run, attempt=known.number, state=State.RUNNING, reason="The trainer reports."
        )
