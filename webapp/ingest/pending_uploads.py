"""Files that the artifact store had no room for: which events name them, and what the run's page
says of them.

They stay in the attempt's folder until `ingest.retry_uploads` succeeds. An event whose file is not
stored yet carries `unstored` and `trouble`; the run's summary says how many there are. A checkpoint
counts, and rollouts are listed, once their files are stored.
"""

from __future__ import annotations

from typing import Any

from webapp.runs.event_rows import BatchKey, event_row
from webapp.runs.models import Event, Run


def update_summary(batch_key: BatchKey, batch: list[dict[str, Any]]) -> None:
    """Part of a batch's transaction: rows of files that were tried again say what came of it, and
    the summary counts those that wait.
    """
    named = {
        event["seq"]: event
        for event in batch
        if isinstance(event.get("file"), dict) or event["type"] == "checkpoint"
    }
    if not named:
        return
    for row in Event.objects.filter(
        run=batch_key.run_id, attempt=batch_key.attempt, seq__in=named, payload__has_key="trouble"
    ):
        row.payload, row.batch_number = (
            event_row(batch_key, named[row.seq]).payload,
            batch_key.batch_number,
        )
        row.save(update_fields=["payload", "batch_number"])
    run = Run.objects.only("summary").get(pk=batch_key.run_id)
    if "unstored" in run.summary or any("unstored" in event for event in named.values()):
        run.summary.pop("unstored", None)
        waiting = Event.objects.filter(run=run, payload__has_key="unstored").order_by(
            "attempt", "seq"
        )
        if count := waiting.count():
            run.summary["unstored"] = {"files": count, "trouble": waiting[0].payload["trouble"]}
        run.save(update_fields=["summary"])


def pending_seqs(run_id: int, attempt: int) -> list[int]:
    """Numbers of the attempt's events whose files are not stored yet, in order."""
    if not Run.objects.filter(pk=run_id, summary__has_key="unstored").exists():
        return []
    rows = Event.objects.filter(run=run_id, attempt=attempt, payload__has_key="unstored")
    return list(rows.order_by("seq").values_list("seq", flat=True))
