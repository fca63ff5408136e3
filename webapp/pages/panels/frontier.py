"""The frontier of a run: how the pass rates of its problems move, and what weight each pass rate
gets.

A `problems` event holds, for every problem, how many of its verdicts were passed; p = passed /
verdicts. Tracked problems are a fixed sample that is measured again at each evaluation, so their
histogram over time is the heat map. A problem is mastered at p = 1, hopeless at p = 0, and at the
frontier between.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trainer.spec import SpecError, load
from trainer.text.training.problem_weights import weigh
from webapp.runs import branches
from webapp.runs.models import Run

MOST_COLUMNS = 120
MOST_LEVELS = 17
CURVE = 41


@dataclass(frozen=True)
class Measurement:
    """Pass rates at one step: `rates[id]` is None where the problem has no verdict."""

    step: int
    k: int
    rates: dict[str, float | None]
    passed: dict[str, int]
    verdicts: dict[str, int]
    weights: dict[str, float | None]


def tracked(run: Run) -> list[Measurement]:
    """The tracked problems over time, oldest first, from the pool's own measurement on; the whole
    pool where none are tracked.
    """
    found, pools = _measurements(run, "tracked"), _measurements(run, "train")
    if not found:
        return _thinned(pools)
    first = [_only(pool, found[0].rates) for pool in pools[:1] if pool.step < found[0].step]
    return _thinned([*first, *found])


def pool(run: Run) -> Measurement | None:
    """The latest pass rates of the whole training pool, which the weights in use come from."""
    newest = (
        run.events.filter(branches.on_live_branch(run), type="problems", payload__role="train")
        .order_by("step", "attempt", "seq")
        .last()
    )
    return _measurement(newest.step or 0, newest.payload) if newest else None


def heat_map(run: Run) -> dict[str, Any]:
    """What the browser draws: counts[column][level], from pass rate 0 up, with the shares and w(p)
    beside it.
    """
    columns = tracked(run)
    levels = min(max((column.k for column in columns), default=8) + 1, MOST_LEVELS)
    return {
        "levels": [level / (levels - 1) for level in range(levels)],
        "columns": [
            {"step": column.step, "counts": _histogram(column, levels), **shares(column)}
            for column in columns
        ],
        "weight": weight_curve(run),
        "total_steps": run.total_steps,
    }


def shares(measurement: Measurement) -> dict[str, float]:
    """Mastered, frontier and hopeless as shares of the problems that have a verdict."""
    known = [rate for rate in measurement.rates.values() if rate is not None]
    mastered, hopeless = sum(rate == 1 for rate in known), sum(rate == 0 for rate in known)
    total = len(known) or 1
    return {
        "mastered": mastered / total,
        "frontier": (len(known) - mastered - hopeless) / total,
        "hopeless": hopeless / total,
    }


def weight_curve(run: Run) -> list[list[float]]:
    """Pairs (p, w(p) as a share of its maximum); empty for a run without a definition."""
    if run.spec is None:
        return []
    try:
        weighting = load(run.spec).pool.weighting
    except SpecError:
        return []
    grid = np.linspace(0.0, 1.0, CURVE)
    weights = weigh(weighting, grid)
    return [
        [float(p), float(w)] for p, w in zip(grid, weights / (weights.max() or 1.0), strict=True)
    ]


def trajectories(columns: Sequence[Measurement]) -> dict[str, list[float | None]]:
    """Each tracked problem's pass rate at every measurement."""
    ids = dict.fromkeys(id for column in columns for id in column.rates)
    return {id: [column.rates.get(id) for column in columns] for id in ids}


def _measurements(run: Run, role: str) -> list[Measurement]:
    rows = run.events.filter(
        branches.on_live_branch(run), type="problems", payload__role=role
    ).order_by("step", "attempt", "seq")
    return [
        _measurement(step or 0, payload) for step, payload in rows.values_list("step", "payload")
    ]


def _measurement(step: int, payload: dict[str, Any]) -> Measurement:
    ids = [str(id) for id in payload["ids"]]
    passed, verdicts = (
        dict(zip(ids, payload["passed"], strict=True)),
        dict(zip(ids, payload["verdicts"], strict=True)),
    )
    rates = {id: passed[id] / verdicts[id] if verdicts[id] else None for id in ids}
    weights = dict(zip(ids, payload.get("weights") or [None] * len(ids), strict=False))
    return Measurement(step, int(payload["k"]), rates, passed, verdicts, weights)


def _only(measurement: Measurement, ids: Iterable[str]) -> Measurement:
    """The part of a measurement that is about `ids`."""
    return replace(measurement, rates={id: measurement.rates.get(id) for id in ids})


def _thinned(found: list[Measurement]) -> list[Measurement]:
    """At most MOST_COLUMNS of them, first and last among them."""
    if len(found) <= MOST_COLUMNS:
        return found
    return [found[round(i * (len(found) - 1) / (MOST_COLUMNS - 1))] for i in range(MOST_COLUMNS)]


def _histogram(measurement: Measurement, levels: int) -> list[int]:
    counts = [0] * levels
    for rate in measurement.rates.values():
        if rate is not None:
            counts[round(rate * (levels - 1))] += 1
    return counts
