"""What a run of a reproduced experiment gave, read from its stored log.

`trainer.experiments.run_log` reads outcomes from the events of a log. Here the same events come
from the database: metrics from the series, which hold no events, and the others from their rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from trainer.experiments.definition import Experiment
from trainer.experiments.outcomes import Outcome
from trainer.experiments.run_log import outcome
from webapp.runs.branches import on_live_branch
from webapp.runs.models import Run
from webapp.series import series_store

TYPES = ("environment", "evaluation", "snr")


def outcome_of(experiment: Experiment, arm: str, seed: int, run: Run) -> Outcome:
    """Return the outcome of a run. A metric that the run never logged is absent."""
    return outcome(experiment, arm, seed, events_of(run, experiment.metrics))


def events_of(run: Run, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Return the events of the live branch that outcomes are read from, with these metrics."""
    events: list[tuple[int, float, dict[str, Any]]] = []
    rows = run.events.filter(on_live_branch(run), type__in=TYPES).order_by("attempt", "seq")
    for row in rows:
        step = -1 if row.step is None else row.step
        content = {**row.payload, "type": row.type, "step": row.step}
        events.append((step, row.wall_time.timestamp(), content))
    events += _metrics_events(run, metrics)
    # An evaluation is written just before its metrics; the sort is stable and times of rows are
    # rounded to microseconds.
    return [event for *_, event in sorted(events, key=lambda event: (event[0], event[1]))]


def _metrics_events(run: Run, metrics: Sequence[str]) -> list[tuple[int, float, dict[str, Any]]]:
    """Return (step, time, event): all values that were logged together are one event."""
    values: dict[tuple[int, int, float, int, float], dict[str, float]] = defaultdict(dict)
    for attempt, step, key, value, tokens, compute, wall_time in series_store.export_rows(
        run, metrics
    ):
        values[attempt, step, wall_time, tokens, compute][key] = value
    return [
        (
            step,
            round(wall_time, 6),
            {
                "type": "metrics",
                "step": step,
                "tokens": tokens,
                "compute": compute,
                "values": by_key,
            },
        )
        for (_, step, wall_time, tokens, compute), by_key in values.items()
    ]
