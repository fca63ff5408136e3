"""Ingest of an event log into Postgres: batches of events, in any order, any number of times.

Files are stored first, so that a row never names a file that the artifact store does not have. Then
one transaction locks the run's row, counts the batch (`batch_count`), appends rows whose unique
keys make a repetition harmless, and updates what lists show. Late events of a replaced attempt are
appended to that attempt and change nothing else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from trainer.events import LogReader, is_seq
from webapp.base import notify
from webapp.base.outages import OUTAGES
from webapp.ingest import files, pending_uploads, progress
from webapp.runs.event_rows import (
    BatchKey,
    evaluation_row,
    event_row,
    moment,
    rollout_rows,
    unreadable_event,
    validated,
)
from webapp.runs.models import (
    Attempt,
    Checkpoint,
    Evaluation,
    Event,
    RolloutRow,
    Run,
    State,
    Transition,
)
from webapp.series import series_store

log = logging.getLogger(__name__)
# Bytes are bounded too, because a single event may hold the index of many rollouts.
BATCH_EVENTS, BATCH_BYTES = 500, 4 << 20
COUNT_BATCH = (
    "UPDATE runs_run SET batch_count = batch_count + 1 WHERE id = %s RETURNING batch_count"
)


def ingest(
    run_id: int, attempt: int, events: Sequence[dict[str, Any]], folder: Path, more: bool = False
) -> int:
    """Append `events` of attempt `attempt` and return the run's cursor, its `batch_count`.

    `folder` is the attempt's folder with the files that the events name; `more` says that later
    events are waiting. Safe to repeat. An event that the database refuses is recorded as a warning,
    and the rest of the batch as it is. Raises OUTAGES while the database is unavailable, and
    Run.DoesNotExist or Attempt.DoesNotExist if the run was deleted.
    """
    attempt_row = Attempt.objects.select_related("run__team").get(run=run_id, number=attempt)
    # Without a number that its column can hold, an event has no key to be recorded under once.
    batch = [_readable(event) for event in events if is_seq(event.get("seq"))]
    return _record(attempt_row, batch, folder, more)


def retry_uploads(run_id: int, attempt: int, folder: Path) -> None:
    """Try again to store the files that the artifact store had no room for.

    The log is read again, because rows keep only a part of an event.
    """
    seqs = pending_uploads.pending_seqs(run_id, attempt)
    if not seqs:
        return
    reader = LogReader(folder / "events", seqs[0] - 1)
    # A log that lacks the last of these events ends the loop by an empty batch.
    while reader.seq < seqs[-1] and (events := reader.read_batch(BATCH_EVENTS, BATCH_BYTES)):
        if batch := [event for event in events if event["seq"] in seqs]:
            ingest(run_id, attempt, batch, folder)


def _record(attempt: Attempt, batch: list[dict[str, Any]], folder: Path, more: bool) -> int:
    """Record the batch; if that fails, its halves, down to the event that cannot be stored."""
    try:
        return _append_once(attempt, batch, folder, more)
    # These fail for every event alike: halving the batch would replace all of them by warnings.
    except (*OUTAGES, Run.DoesNotExist):
        raise
    except Exception as error:
        log.exception(
            "%d events of run %s attempt %d were refused",
            len(batch),
            attempt.run.public_id,
            attempt.number,
        )
        if len(batch) < 2:
            return _append_once(
                attempt,
                [unreadable_event(event, error, time.time()) for event in batch],
                folder,
                more,
            )
        # For one bad event in 500 about 18 transactions, instead of one for each event.
        half = len(batch) // 2
        _record(attempt, batch[:half], folder, True)
        return _record(attempt, batch[half:], folder, more)


def _append_once(attempt: Attempt, batch: list[dict[str, Any]], folder: Path, more: bool) -> int:
    # Before the transaction: a checkpoint may be many gigabytes, and the run must not be locked
    # while they are copied.
    stored_files = files.store(attempt.run.team, batch, folder)
    with transaction.atomic():
        batch_key = BatchKey(attempt.run_id, attempt.number, lock_and_count_batch(attempt.run_id))
        _append(batch_key, attempt.run, batch, stored_files)
        pending_uploads.update_summary(batch_key, batch)
        # Read again under the lock: another process may have recorded batches of this attempt.
        attempt.refresh_from_db()
        _advance(attempt, batch)
        _refresh_summary(attempt, batch, more)
        notify.publish_on_commit(attempt.run.public_id, batch_key.batch_number)
    return batch_key.batch_number


def _refresh_summary(attempt: Attempt, batch: list[dict[str, Any]], more: bool) -> None:
    """Update what lists show.

    It is derived from the rows, so a failure is logged and does not block the record.
    """
    # The inner transaction is a savepoint, so that an error leaves the outer one usable.
    try:
        with transaction.atomic():
            progress.refresh(attempt, batch, more)
    except OUTAGES:
        raise
    except Exception:
        log.exception("the summary of run %s could not be updated", attempt.run.public_id)


def _readable(event: dict[str, Any]) -> dict[str, Any]:
    try:
        return validated(event)
    except (ValueError, OverflowError, RecursionError) as error:
        return unreadable_event(event, error, time.time())


def lock_and_count_batch(run_id: int) -> int:
    """Lock the run's row for the transaction, count a batch, and return the run's new cursor.

    The lock makes the numbers of batches follow the order of commits, so that a reader who has seen
    a number has missed nothing before it. Raises Run.DoesNotExist.
    """
    with connection.cursor() as cursor:
        cursor.execute(COUNT_BATCH, [run_id])
        row = cursor.fetchone()
    if row is None:
        raise Run.DoesNotExist(f"run {run_id} was deleted")
    return int(row[0])


def _append(
    batch_key: BatchKey, run: Run, batch: list[dict[str, Any]], stored_files: files.StoredFiles
) -> None:
    # All events, so that the sequence numbers that the series store has seen stay one range.
    series_store.append(run, batch_key.attempt, batch, batch_key.batch_number)
    Event.objects.bulk_create(
        [event_row(batch_key, event) for event in batch if event["type"] != "metrics"],
        ignore_conflicts=True,
        batch_size=500,
    )
    for event in batch:
        # Only rows whose file is stored: a row without one would lead to a page that cannot be
        # shown.
        is_stored = _names_stored_file(event, stored_files)
        if event["type"] == "rollouts" and is_stored:
            RolloutRow.objects.bulk_create(
                rollout_rows(batch_key, event), ignore_conflicts=True, batch_size=500
            )
        elif event["type"] == "evaluated" and is_stored:
            Evaluation.objects.bulk_create(
                [evaluation_row(batch_key, event)], ignore_conflicts=True
            )
        elif event["type"] == "checkpoint" and event["seq"] in stored_files.checkpoints:
            Checkpoint.objects.bulk_create(
                [_checkpoint(batch_key, event, stored_files)], ignore_conflicts=True
            )
    _delete_removed_checkpoints(batch_key, batch)


def _names_stored_file(event: dict[str, Any], stored_files: files.StoredFiles) -> bool:
    # Events of unknown types may have any value there.
    file = event.get("file")
    return isinstance(file, dict) and file.get("sha256") in stored_files.hashes


def _checkpoint(
    batch_key: BatchKey, event: dict[str, Any], stored_files: files.StoredFiles
) -> Checkpoint:
    manifest = stored_files.checkpoints[event["seq"]]
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


def _delete_removed_checkpoints(batch_key: BatchKey, batch: list[dict[str, Any]]) -> None:
    """Delete the rows of checkpoints that the trainer removed to save space.

    It looks at both kinds of events, because they may be ingested in any order. The bytes are
    deleted later by `artifacts.collect`.
    """
    folders = {
        str(event.get("folder"))
        for event in batch
        if event["type"] in ("checkpoint", "checkpoint_removed")
    }
    removed = Event.objects.filter(
        run=batch_key.run_id,
        attempt=batch_key.attempt,
        type="checkpoint_removed",
        payload__folder__in=list(folders),
    )
    for folder, seq in removed.values_list("payload__folder", "seq"):
        # Only an older checkpoint: the trainer may write the same folder again later.
        Checkpoint.objects.filter(
            run=batch_key.run_id, attempt=batch_key.attempt, folder=folder, seq__lt=seq
        ).delete()


def _advance(attempt: Attempt, batch: list[dict[str, Any]]) -> None:
    """Update the attempt's step and last sequence number.

    Both only grow, so that the order of batches does not matter.
    """
    attempt.step = max([attempt.step, *(event.get("step") or 0 for event in batch)])
    attempt.last_seq = max([attempt.last_seq, *(event["seq"] for event in batch)])
    attempt.save(update_fields=["step", "last_seq"])
    run = attempt.run
    # Only a starting run: late events must not restart one that has ended, nor undo a stop.
    if Run.objects.filter(pk=run.pk, attempt=attempt.number, state=State.STARTING).update(
        state=State.RUNNING
    ):
        Transition.objects.create(
            run=run, attempt=attempt.number, state=State.RUNNING, reason="The trainer reports."
        )
