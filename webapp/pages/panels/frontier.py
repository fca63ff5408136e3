"""The frontier of a run: how the pass rates of its problems move, and the weight of each pass rate.

A `problems` event holds, for every problem, how many of its verdicts were passed; p = passed /
verdicts. Tracked problems are a fixed sample that each evaluation measures again, so their
histogram over time is the heat map. A problem is mastered at p = 1, hopeless at p = 0, and at the
frontier in between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trainer.spec import SpecError, load
from trainer.text.training.problem_weights import weigh
from webapp.pages.panels.scrubber import events
from webapp.runs.models import Run

# Columns of the heat map that a page can show side by side; longer runs are thinned out.
MAX_COLUMNS = 120
# Rows of the heat map: pass rates from k = 16 samples and fewer are shown exactly.
MAX_LEVELS = 17
CURVE_POINTS = 41


@dataclass(frozen=True)
class PoolMeasurement:
    """Pass rates of problems at one step: `rates[id]` is None if a problem has no verdict.

    `k` is the number of samples for each problem.
    """

    step: int
    k: int
    rates: dict[str, float | None]
    passed: dict[str, int]
    verdicts: dict[str, int]
    weights: dict[str, float | None]


def tracked(run: Run) -> list[PoolMeasurement]:
    """Return the measurements of the tracked problems, oldest first, at most MAX_COLUMNS.

    The first one is of the whole pool before training, reduced to the tracked problems. A run that
    tracks no problems gets the measurements of its whole pool.
    """
    measurements, pools = _measurements(run, "tracked"), _measurements(run, "train")
    if not measurements:
        measurements = pools
    elif pools and pools[0].step < measurements[0].step:
        tracked_ids = measurements[0].rates
        first = replace(pools[0], rates={id: pools[0].rates.get(id) for id in tracked_ids})
        measurements = [first, *measurements]
    last = len(measurements) - 1
    if last < MAX_COLUMNS:
        return measurements
    # Evenly spaced; the first and the last measurement are always among them.
    return [measurements[round(i * last / (MAX_COLUMNS - 1))] for i in range(MAX_COLUMNS)]


def pool(run: Run) -> PoolMeasurement | None:
    """Return the newest pass rates of the whole training pool; the weights in use follow them."""
    newest = events(run, "problems", role="train").last()
    return _measurement(newest.step or 0, newest.payload) if newest else None


def heat_map(run: Run) -> dict[str, Any]:
    """Return what static/js/run/heat_map.js draws.

    `counts[level]` of a column are the problems at each pass rate, from 0 upwards; `weight` is the
    curve w(p) beside the map.
    """
    columns = tracked(run)
    # k samples have k + 1 possible pass rates, from 0 to 1.
    levels = min(max((column.k for column in columns), default=8) + 1, MAX_LEVELS)
    return {
        "levels": [level / (levels - 1) for level in range(levels)],
        "columns": [
            {"step": column.step, "counts": _level_counts(column, levels), **shares(column)}
            for column in columns
        ],
        "weight": weight_curve(run),
        "total_steps": run.total_steps,
    }


def shares(measurement: PoolMeasurement) -> dict[str, float]:
    """Return the mastered, frontier and hopeless shares of the problems that have a verdict."""
    rates = [rate for rate in measurement.rates.values() if rate is not None]
    mastered, hopeless = rates.count(1), rates.count(0)
    total = len(rates) or 1
    return {
        "mastered": mastered / total,
        "frontier": (len(rates) - mastered - hopeless) / total,
        "hopeless": hopeless / total,
    }


def weight_curve(run: Run) -> list[list[float]]:
    """Return pairs (p, w(p) as a share of its maximum); empty without a readable definition."""
    if run.spec is None:
        return []
    try:
        weighting = load(run.spec).pool.weighting
    except SpecError:
        return []
    grid = np.linspace(0.0, 1.0, CURVE_POINTS)
    weights = weigh(weighting, grid)
    return [
        # All weights may be 0.
        [float(p), float(w)]
        for p, w in zip(grid, weights / (weights.max() or 1.0), strict=True)
    ]


def trajectories(columns: Sequence[PoolMeasurement]) -> dict[str, list[float | None]]:
    """Return each tracked problem's pass rate at every measurement."""
    ids = dict.fromkeys(id for column in columns for id in column.rates)
    return {id: [column.rates.get(id) for column in columns] for id in ids}


def _measurements(run: Run, role: str) -> list[PoolMeasurement]:
    rows = events(run, "problems", role=role)
    return [
        _measurement(step or 0, payload) for step, payload in rows.values_list("step", "payload")
    ]


def _measurement(step: int, payload: dict[str, Any]) -> PoolMeasurement:
    ids = [str(id) for id in payload["ids"]]
    passed = dict(zip(ids, payload["passed"], strict=True))
    verdicts = dict(zip(ids, payload["verdicts"], strict=True))
    rates = {id: passed[id] / verdicts[id] if verdicts[id] else None for id in ids}
    weights = dict(zip(ids, payload.get("weights") or [None] * len(ids), strict=False))
    return PoolMeasurement(step, int(payload["k"]), rates, passed, verdicts, weights)


def _level_counts(measurement: PoolMeasurement, levels: int) -> list[int]:
    """Return the number of problems at each level, from pass rate 0 to 1."""
    rates = [rate for rate in measurement.rates.values() if rate is not None]
    counts = Counter(round(rate * (levels - 1)) for rate in rates)
    return [counts[level] for level in range(levels)]
