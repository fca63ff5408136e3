"""What lists and headers show of a run, derived from what is stored: step, phase, pass rate, loss,
speed, time left.

Everything is read back from the tables after a batch was appended, so it does not matter in which
order, or how often, batches came.
"""

from __future__ import annotations

import time
from typing import Any

from webapp.runs import branches
from webapp.runs.event_rows import moment
from webapp.runs.models import Attempt, Event, Run
from webapp.series import series_store

SPARKLINE = 40
SHOWN = {"loss": "loss", "tokens_per_second": "tokens_per_second"}


def refresh(attempt: Attempt, batch: list[dict[str, Any]], more: bool = False) -> None:
    """Bring the run of `attempt` up to date, if the attempt is the run's; part of the transaction
    that holds the run's row.

    With `more` events waiting already, the run is as far behind as this batch is old.
    """
    run = Run.objects.get(pk=attempt.run_id)
    if run.attempt != attempt.number or not batch:
        return
    types = {event["type"] for event in batch}
    written = max(event["wall_time"] for event in batch)
    run.step = attempt.step
    run.last_event_at = max(filter(None, [run.last_event_at, moment(written)]))
    run.summary = {
        **run.summary,
        "behind_s": round(max(0.0, time.time() - written), 1) if more else 0.0,
    }
    if types & {"progress", "end"}:
        _phase(run)
    if types & {"metrics", "rewind"}:
        run.summary.update(_shown(run))
    if types & {"evaluation", "rewind"}:
        run.summary.update(_pass_rates(run))
    run.summary["eta_s"] = _seconds_left(run)
    run.save(update_fields=["step", "last_event_at", "summary", "total_steps", "reason", "remedy"])


def _phase(run: Run) -> None:
    latest = (
        Event.objects.filter(run=run, attempt=run.attempt, type="progress").order_by("-seq").first()
    )
    if latest is not None:
        run.summary["phase"] = str(latest.payload.get("phase", ""))
        run.summary["stage"] = str(latest.payload.get("stage", ""))
        run.summary["done"], run.summary["of"] = (
            latest.payload.get("done"),
            latest.payload.get("of"),
        )
        run.total_steps = latest.payload.get("total_steps") or run.total_steps
    end = Event.objects.filter(run=run, attempt=run.attempt, type="end").order_by("-seq").first()
    if end is not None:
        run.reason, run.remedy = (
            str(end.payload.get("reason") or ""),
            str(end.payload.get("remedy") or ""),
        )


def _shown(run: Run) -> dict[str, Any]:
    latest = series_store.latest(run, list(SHOWN.values()))
    sketch = series_store.sparkline(run, "eval/pass_rate", SPARKLINE)
    if len(sketch) < 2:
        sketch = series_store.sparkline(run, "loss", SPARKLINE)
    shown = {
        name: series_store.json_number(latest[key]) for name, key in SHOWN.items() if key in latest
    }
    return {**shown, "sparkline": [series_store.json_number(value) for value in sketch]}


def _pass_rates(run: Run) -> dict[str, Any]:
    measured = Event.objects.filter(
        branches.on_live_branch(run), run=run, type="evaluation", payload__role="evaluation"
    )
    before = measured.filter(payload__when="before").order_by("attempt", "seq").last()
    latest = measured.order_by("step", "attempt", "seq").last()
    found: dict[str, Any] = {}
    if before is not None:
        found["pass_rate_before"] = before.payload.get("pass_rate")
    if latest is not None:
        found.update(
            pass_rate=latest.payload.get("pass_rate"),
            pass_rate_interval=latest.payload.get("interval"),
        )
        found["difference"] = latest.payload.get("difference")
    return found


def _seconds_left(run: Run) -> int | None:
    """From the mean pace of the attempt's steps so far; None before there is one."""
    paces = series_store.seconds_per_step(run, run.attempt)
    if paces is None or not run.total_steps:
        return None
    return max(0, round((run.total_steps - run.step) * paces))
