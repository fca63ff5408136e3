"""Pending uploads: files of events that the artifact store did not take, usually for lack of space.

They stay in the attempt's folder until `event_log.retry_uploads` succeeds. Until then the event's
payload has `unstored` and `trouble`, and the run's summary has their number. A checkpoint can be
resumed from, and rollouts are listed, once their files are stored.
"""

from __future__ import annotations

from typing import Any

from webapp.runs.event_rows import BatchKey, event_row
from webapp.runs.models import Event, Run


def update_summary(batch_key: BatchKey, batch: list[dict[str, Any]]) -> None:
    """Store the outcome of repeated uploads in the events' rows, and count pending ones.

    Call it in the transaction of the batch.
    """
    event_by_seq = {
        event["seq"]: event
        for event in batch
        if isinstance(event.get("file"), dict) or event["type"] == "checkpoint"
    }
    if not event_by_seq:
        return
    for row in Event.objects.filter(
        run=batch_key.run_id,
        attempt=batch_key.attempt,
        seq__in=event_by_seq,
        payload__has_key="trouble",
    ):
        row.payload = event_row(batch_key, event_by_seq[row.seq]).payload
        # The row counts as part of this batch, so that open pages load it again.
        row.batch_number = batch_key.batch_number
        row.save(update_fields=["payload", "batch_number"])
    run = Run.objects.only("summary").get(pk=batch_key.run_id)
    if "unstored" in run.summary or any("unstored" in event for event in event_by_seq.values()):
        run.summary.pop("unstored", None)
        pending = Event.objects.filter(run=run, payload__has_key="unstored").order_by(
            "attempt", "seq"
        )
        if count := pending.count():
            run.summary["unstored"] = {"files": count, "trouble": pending[0].payload["trouble"]}
        run.save(update_fields=["summary"])


def pending_seqs(run_id: int, attempt: int) -> list[int]:
    """Return the sequence numbers of the attempt's events whose files are not stored, in order."""
    # The usual answer, by the primary key: no index finds events by a key of their payload.
    if not Run.objects.filter(pk=run_id, summary__has_key="unstored").exists():
        return []
    return list(
        Event.objects.filter(run=run_id, attempt=attempt, payload__has_key="unstored")
        .order_by("seq")
        .values_list("seq", flat=True)
    )
