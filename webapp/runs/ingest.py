"""Taking a log into Postgres: batches of events, any number of times, in any order.

Files come first: what an event names is in the artifact store before the row that names it. Then one transaction takes the run's row,
counts the batch (`news`), appends rows whose keys make a repetition do nothing, and derives what lists show from what is stored. Late
events of an attempt that has been replaced are appended to that attempt and change nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from webapp import metrics
from webapp.live import doorbell
from webapp.runs import files, progress
from webapp.runs.models import Attempt, Checkpoint, Event, RolloutRow, Run, State, Transition
from webapp.runs.reading_events import Place, checked, event_row, moment, rollout_rows, unreadable

TAKE = "UPDATE runs_run SET news = news + 1 WHERE id = %s RETURNING news"


def ingest(run_id: int, attempt: int, events: Sequence[dict[str, Any]], folder: Path) -> int:
    """Append `events` of attempt `attempt`, whose files lie below its `folder`; return the run's cursor.

    Safe to repeat. Raises Run.DoesNotExist or Attempt.DoesNotExist when there is nothing to append to.
    """
    known = Attempt.objects.select_related("run__team").get(run=run_id, number=attempt)
    batch = [_readable(event) for event in events if isinstance(event.get("seq"), int) and 0 < event["seq"] < 2**62]
    stored = files.store(known.run.team, batch, folder)
    with transaction.atomic():
        place = Place(run_id, attempt, _take(run_id))
        _append(place, known.run, batch, stored)
        known.refresh_from_db()
        _advance(known, batch)
        progress.refresh(known, batch)
        doorbell.ring_on_commit(known.run.public_id, place.news)
    return place.news


def _readable(event: dict[str, Any]) -> dict[str, Any]:
    try:
        return checked(event)
    except (ValueError, OverflowError, RecursionError) as problem:
        return unreadable(event, problem, time.time())


def _take(run_id: int) -> int:
    """Lock the run's row until the end of the transaction and count this batch."""
    with connection.cursor() as cursor:
        cursor.execute(TAKE, [run_id])
        found = cursor.fetchone()
    if found is None:
        raise Run.DoesNotExist(f"run {run_id} is gone")
    return int(found[0])


def _append(place: Place, run: Run, batch: list[dict[str, Any]], stored: files.Stored) -> None:
    metrics.append(run, place.attempt, [event for event in batch if event["type"] == "metrics"], place.news)
    others = [event_row(place, event) for event in batch if event["type"] != "metrics"]
    Event.objects.bulk_create(others, ignore_conflicts=True, batch_size=500)
    for event in batch:
        if event["type"] == "rollouts" and stored.has(event["file"]["sha256"]):
            RolloutRow.objects.bulk_create(rollout_rows(place, event), ignore_conflicts=True, batch_size=500)
        elif event["type"] == "checkpoint" and event["seq"] in stored.checkpoints:
            Checkpoint.objects.bulk_create([_checkpoint(place, event, stored)], ignore_conflicts=True)
    _forget_removed(place, batch)


def _checkpoint(place: Place, event: dict[str, Any], stored: files.Stored) -> Checkpoint:
    manifest = stored.checkpoints[event["seq"]]
    return Checkpoint(
        run_id=place.run_id,
        attempt=place.attempt,
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


def _forget_removed(place: Place, batch: list[dict[str, Any]]) -> None:
    """What the trainer removed to save space leaves the store too, whichever event came first; `artifacts.collect` takes the bytes."""
    touched = {str(event.get("folder")) for event in batch if event["type"] in ("checkpoint", "checkpoint_removed")}
    removed = Event.objects.filter(run=place.run_id, attempt=place.attempt, type="checkpoint_removed", payload__folder__in=list(touched))
    for folder, seq in removed.values_list("payload__folder", "seq"):
        Checkpoint.objects.filter(run=place.run_id, attempt=place.attempt, folder=folder, seq__lt=seq).delete()


def _advance(known: Attempt, batch: list[dict[str, Any]]) -> None:
    """The attempt's own marks; all of them only grow, or are set once, so that order does not matter."""
    for event in batch:
        if event["type"] == "rewind" and known.rewound_to is None:
            known.rewound_to = event["step"]
    known.step = max([known.step, *(event.get("step") or 0 for event in batch)])
    known.last_seq = max([known.last_seq, *(event["seq"] for event in batch)])
    known.save(update_fields=["rewound_to", "step", "last_seq"])
    run = known.run
    if Run.objects.filter(pk=run.pk, attempt=known.number, state=State.STARTING).update(state=State.RUNNING):
        Transition.objects.create(run=run, attempt=known.number, state=State.RUNNING, reason="The trainer reports.")
