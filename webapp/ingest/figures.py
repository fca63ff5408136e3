"""The figures of a run in `RunValue`: the last, best and step of best of its metrics.

They are read back from the series store, so that the order and repetition of batches do not matter.
While a run logs, that is done at most once in SECONDS, because each reading costs some milliseconds
and a changed figure three index entries; after an evaluation, a rewind and the end at once. What a
process that was killed has not read, the sweep reads (`webapp.clients.run_indexes`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from webapp.base.database_clock import database_now
from webapp.runs.better import better
from webapp.runs.models import Run, RunIndex
from webapp.runs.run_values import write_figures
from webapp.series import series_store

SECONDS = 10
# The series that `pass_rate` stands for, unless a client logs one of that name.
PASS_RATES = ("eval/pass_rate", "eval_pass_rate")
# Metrics that are kept first where a run has more figures than fit; then by name.
FIRST = ("pass_rate", "eval", "retained", "calibration", "loss", "train", "divergence", "reward")


def refresh_if_due(run: Run, at_once: bool = False) -> None:
    """Refresh the figures if their last reading is old, in a transaction that locks the run."""
    index = RunIndex.objects.filter(run=run).only("read_at").first()
    read_at = index.read_at if index is not None else None
    if at_once or read_at is None or database_now() - read_at >= timedelta(seconds=SECONDS):
        refresh(run)


def refresh(run: Run) -> None:
    """Replace the figures of the run. Call it in a transaction that locks the run's row."""
    left_out = write_figures(run, dict(_figures(run)))
    RunIndex.objects.update_or_create(
        run=run,
        defaults={
            "team_id": run.team_id,
            "figures_left_out": left_out,
            "read_batch": run.batch_count,
            "read_at": database_now(),
        },
    )


def _figures(run: Run) -> Iterator[tuple[str, float]]:
    yield "step", run.step
    difference = run.summary.get("difference") or {}
    if isinstance(difference.get("pass_rate"), int | float):
        yield "difference", difference["pass_rate"]
    last = {key: point.value for key, point in series_store.last_points([run])[run.pk].items()}
    directions = {key: direction for key in last if (direction := better(key)) is not None}
    best = series_store.best_points(run, directions)
    short = next((key for key in ("pass_rate", *PASS_RATES) if key in last), None)
    names = {short: "pass_rate"} if short is not None else {}
    for key in [*names, *sorted(last.keys(), key=_rank)]:
        name = names.pop(key, key)
        yield name, last[key]
        if key in best:
            yield f"{name}.best", best[key].value
            yield f"{name}.best_step", best[key].step


def _rank(key: str) -> tuple[int, str]:
    section = key.partition("/")[0]
    return (FIRST.index(section) if section in FIRST else len(FIRST), key)
