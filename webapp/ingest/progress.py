"""The summary of a run for lists and headers: step, phase, pass rate, loss, speed, time left.

It is read back from the tables after each batch, so that the order and repetition of batches do not
matter.
"""

from __future__ import annotations

import math
import time
from datetime import datetime
from typing import Any

from webapp.base.database_clock import database_now
from webapp.ingest import figures, final_evaluation
from webapp.runs import branches
from webapp.runs.event_rows import moment
from webapp.runs.models import Attempt, Event, Run
from webapp.series import series_store

# Values of the curve in lists of runs, which is 96 pixels wide (`figures.sparkline`).
SPARKLINE = 40
# The first of these that makes a curve is drawn; logs of older trainers lack the first.
CURVES = ("eval/common/pass_rate", "eval/pass_rate", "loss")
# Seconds: a hundred years.
LONGEST_UPTIME = 3.2e9
LATEST_SERIES = {"loss": "loss", "tokens_per_second": "tokens_per_second"}


def refresh(attempt: Attempt, batch: list[dict[str, Any]], more: bool = False) -> None:
    """Update the run's summary if `attempt` is its present attempt.

    Call it in the transaction that locks the run's row. With `more` events waiting, the run counts
    as behind by the age of this batch.
    """
    # A replaced attempt may still send its last events; the summary is that of the present one.
    run = Run.objects.get(pk=attempt.run_id)
    if run.attempt != attempt.number or not batch:
        return
    types = {event["type"] for event in batch}
    age = _age(batch)
    run.step = attempt.step
    run.last_event_at = _last_event_at(run, batch, age)
    run.summary = {**run.summary, "behind_s": round(age, 1) if more else 0.0}
    # Each part costs queries, and most batches hold metrics only. A rewind changes the live branch,
    # and with it the newest values and evaluations.
    if types & {"progress", "end"}:
        _update_phase(run)
    if types & {"metrics", "rewind"}:
        run.summary.update(_latest_values(run))
    if types & {"evaluation", "rewind"}:
        run.summary.update(_pass_rates(run))
    if final_evaluation.is_measured_by(batch):
        run.summary["final_evaluation_s"] = final_evaluation.seconds_of(run)
    run.summary["eta_s"] = _seconds_left(run, _seconds_per_step(run, batch))
    run.save(update_fields=["step", "last_event_at", "summary", "total_steps", "reason", "remedy"])
    figures.refresh_if_due(run, at_once=bool(types & {"evaluation", "rewind", "end"}))


def _age(batch: list[dict[str, Any]]) -> float:
    """Return the seconds since the newest event was written, by this host, which wrote it too.

    Its monotonic clock is used, because anybody may set the other one. It starts again with the
    host: where it is behind the event, the two wall times are compared.
    """
    since_boot = [event["monotonic"] for event in batch if _has_monotonic(event)]
    age = time.monotonic() - max(since_boot, default=math.inf)
    if not age >= 0:
        age = time.time() - max(event["wall_time"] for event in batch)
    return max(0.0, age)


def _seconds_per_step(run: Run, batch: list[dict[str, Any]]) -> float | None:
    """Return the attempt's mean, with its evaluations and checkpoints, of which more will come.

    By the monotonic clock of the trainer's host, whose other clock anybody may set. An attempt is
    one process there, so that the clock does not start again. Without such times, which a log of
    elsewhere may lack, the curve's wall times are compared. None before two steps were logged.
    """
    logged = [
        (event["step"], event["monotonic"])
        for event in batch
        if event["type"] == "metrics" and "loss" in event["values"] and _has_monotonic(event)
    ]
    pace = run.summary.get("pace", {})
    if pace.get("attempt") == run.attempt:
        logged += [tuple(pace["first"]), tuple(pace["last"])]
    if not logged:
        return series_store.seconds_per_step(run, run.attempt)
    (first, began), (last, ended) = min(logged), max(logged)
    run.summary["pace"] = {
        "attempt": run.attempt,
        "first": [first, began],
        "last": [last, ended],
    }
    if first == last or ended < began:
        return series_store.seconds_per_step(run, run.attempt)
    return float((ended - began) / (last - first))


def _seconds_left(run: Run, seconds_per_step: float | None) -> int | None:
    """Return the seconds of the remaining steps and of the final evaluation.

    Without the latter as long as nothing tells how long it takes: `final_evaluation_s` is None.
    """
    if seconds_per_step is None or not run.total_steps:
        return None
    remaining = max(0, run.total_steps - run.step)
    final = run.summary.get("final_evaluation_s") or 0.0
    done, of = run.summary.get("done"), run.summary.get("of")
    if not remaining and run.summary.get("phase") == "evaluation" and done is not None and of:
        final *= max(0.0, 1 - done / of)
    return round(remaining * seconds_per_step + final)


def _has_monotonic(event: dict[str, Any]) -> bool:
    value = event.get("monotonic")
    # Not NaN either.
    return isinstance(value, float) and 0 <= value < LONGEST_UPTIME


def _last_event_at(run: Run, batch: list[dict[str, Any]], age: float) -> datetime:
    """Return when the run's newest event was written, by the clock of the database.

    The trainer's clock may be hours off: pages would call a trainer silent whose clock is behind,
    and never one whose clock is ahead. An imported run was written by another host, long ago.
    """
    if run.source == Run.Source.IMPORTED:
        newest = moment(max(event["wall_time"] for event in batch))
        return max(newest, run.last_event_at or newest)
    now = database_now()
    newest = moment(max(0.0, now.timestamp() - age))
    # A later batch may hold earlier events; the time that pages show must not go back. One that an
    # earlier version took from a trainer whose clock is ahead may lie in the future.
    return max(newest, min(run.last_event_at or newest, now))


def _update_phase(run: Run) -> None:
    latest = (
        Event.objects.filter(run=run, attempt=run.attempt, type="progress").order_by("-seq").first()
    )
    if latest is not None:
        run.summary.update(
            phase=str(latest.payload.get("phase", "")),
            stage=str(latest.payload.get("stage", "")),
            done=latest.payload.get("done"),
            of=latest.payload.get("of"),
        )
        run.total_steps = latest.payload.get("total_steps") or run.total_steps
    end = Event.objects.filter(run=run, attempt=run.attempt, type="end").order_by("-seq").first()
    if end is not None:
        run.reason = str(end.payload.get("reason") or "")
        run.remedy = str(end.payload.get("remedy") or "")


def _latest_values(run: Run) -> dict[str, Any]:
    latest = series_store.latest(run, list(LATEST_SERIES.values()))
    # One evaluation makes no curve; until there are two, the list shows the loss.
    sketches = ((key, series_store.sparkline(run, key, SPARKLINE)) for key in CURVES)
    sketched, sketch = next((sketch for sketch in sketches if len(sketch[1]) > 1), ("", []))
    values = {
        name: series_store.json_number(latest[key])
        for name, key in LATEST_SERIES.items()
        if key in latest
    }
    return {
        **values,
        "sparkline": [series_store.json_number(value) for value in sketch],
        "sketched": sketched,
    }


def _pass_rates(run: Run) -> dict[str, Any]:
    evaluations = Event.objects.filter(
        branches.on_live_branch(run), run=run, type="evaluation", payload__role="evaluation"
    )
    before = evaluations.filter(payload__when="before").order_by("attempt", "seq").last()
    latest = evaluations.order_by("step", "attempt", "seq").last()
    rates: dict[str, Any] = {}
    if before is not None:
        rates["pass_rate_before"] = before.payload.get("pass_rate")
    if latest is not None:
        rates.update(
            pass_rate=latest.payload.get("pass_rate"),
            pass_rate_interval=latest.payload.get("interval"),
            difference=latest.payload.get("difference"),
        )
    return rates
