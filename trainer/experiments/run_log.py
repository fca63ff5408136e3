"""The outcome of a run, read from its event log.

A metric's name is a key of the log's `metrics` events, or `snr/at_0` or `snr/at_1` from an `snr`
event: the gradient's signal-to-noise ratio where the student never or always passes, each divided
by the highest ratio in between. The bin of the highest ratio is found on one half of each bin's
problems, and the ratios are measured on the other half: the highest of several noisy numbers would
be too high if it were measured on the same problems.

A curve holds evaluations of the same problems only, so that it can be read between them. An
evaluation in the middle of a run may ask a part of the problems (`evaluation.problems`); the first
and the last ask all. Of the sets of problems that occur a curve has the one with the most
evaluations. If that is a part, the last evaluation is left out, and the untrained student's pass
rate on the part follows from the paired difference that a later evaluation of it states.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer.experiments.definition import Experiment
from trainer.experiments.outcomes import Change, Outcome, Point

# Prefix of the metrics of an evaluation, by its role.
PREFIXES = {"evaluation": "eval", "retained": "retained"}


def outcome(
    experiment: Experiment,
    arm: str,
    seed: int,
    events: Iterable[Mapping[str, Any]],
    cpu_minutes: float | None = None,
) -> Outcome:
    """Read a run's events. A metric that the run never logged is absent."""
    log = list(events)
    points = _points(log)
    costs = [event for event in log if event["type"] == "metrics"]
    commits = [event["commit"] for event in log if event["type"] == "environment"]
    metrics = [metric for metric in experiment.metrics if metric in points]
    return Outcome(
        arm,
        seed,
        commits[-1] if commits else None,
        costs[-1]["step"] if costs else 0,
        costs[-1]["tokens"] if costs else 0,
        costs[-1]["compute"] if costs else 0.0,
        # A metric that is only logged from the first step on has no value before training.
        before={
            metric: points[metric][0].value for metric in metrics if points[metric][0].step == 0
        },
        after={metric: points[metric][-1].value for metric in metrics},
        # results.json is part of the repository, so only the curves that something reads are kept.
        curves={
            metric: _of_one_set(points[metric], _starts(log, metric))
            for metric in metrics
            if metric in _curve_metrics(experiment)
        },
        changes={
            metric: change
            for metric, change in _changes(log).items()
            if metric in experiment.metrics
        },
        clipped_share=_clipped_share(costs, lambda: experiment.definition(arm, seed, Path())),
        cpu_minutes=cpu_minutes,
    )


def _clipped_share(
    costs: Sequence[Mapping[str, Any]], definition: Callable[[], Mapping[str, Any]]
) -> float | None:
    """The share of the updates whose gradient was longer than its stage's clip norm."""
    updates = [event for event in costs if "grad_norm" in event["values"]]
    if not updates:
        return None
    limits = {stage["name"]: stage["optimiser"]["clip_norm"] for stage in definition()["stages"]}
    clipped = [event["values"]["grad_norm"] > limits[event["stage"]] for event in updates]
    return sum(clipped) / len(clipped)


def _points(log: Sequence[Mapping[str, Any]]) -> dict[str, list[Point]]:
    """All points of every metric."""
    points: dict[str, list[Point]] = defaultdict(list)
    problems: dict[str, int] = {}
    last = Point(0, 0, 0.0, math.nan)
    for event in log:
        if event["type"] == "evaluation":
            # Its metrics come in the next event.
            problems[event["role"]] = event["problems"]
        # An `snr` event has no costs of its own; those of the latest metrics hold.
        if event["type"] == "snr":
            for metric, value in _snr_metrics(event["bins"]).items():
                points[metric].append(replace(last, step=event["step"], value=value))
        if event["type"] == "metrics":
            last = Point(event["step"], event["tokens"], event["compute"], math.nan)
            for metric, value in event["values"].items():
                role = "retained" if metric.startswith("retained/") else "evaluation"
                points[metric].append(
                    replace(last, value=float(value), problems=problems.get(role))
                )
            problems = {}
    return points


def _rates(event: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The pass rates of an `evaluation` event with their metrics: of all its problems, by group."""
    metric = f"{PREFIXES[event['role']]}/pass_rate"
    yield metric, event
    for group in event.get("groups", ()):
        yield f"{metric}/{group['by']}={group['name']}", group


def _changes(log: Sequence[Mapping[str, Any]]) -> dict[str, Change]:
    """The changes that the last evaluations state, by metric."""
    return {
        metric: _change(rate)
        for event in log
        if event["type"] == "evaluation" and event["when"] == "after"
        for metric, rate in _rates(event)
        if rate.get("difference")
    }


def _change(rate: Mapping[str, Any]) -> Change:
    low, high = rate["difference"]["interval"]
    # A group has its own number of problems.
    problems = rate["n"] if "n" in rate else rate["problems"]
    return Change(rate["difference"]["pass_rate"], low, high, problems)


def _starts(log: Sequence[Mapping[str, Any]], metric: str) -> dict[int, float]:
    """The untrained student's value by the size of the problem set, from later evaluations."""
    return {
        event["problems"]: rate["pass_rate"] - rate["difference"]["pass_rate"]
        for event in log
        if event["type"] == "evaluation"
        for name, rate in _rates(event)
        if name == metric and rate.get("difference")
    }


def _of_one_set(points: Sequence[Point], starts: Mapping[int, float]) -> list[Point]:
    """The points of the problem set with the most evaluations, from step 0 if that is known."""
    count_by_set = Counter(point.problems for point in points)
    problems = max(count_by_set, key=lambda size: (count_by_set[size], size or 0))
    curve = [point for point in points if point.problems == problems]
    if curve[0].step and points[0].step == 0 and problems is not None and problems in starts:
        curve.insert(0, replace(points[0], value=starts[problems], problems=problems))
    return curve


def _curve_metrics(experiment: Experiment) -> set[str]:
    """Metrics that are needed as curves: the drawn one, and those compared at equal cost."""
    compared = {
        side.metric
        for contrast in experiment.contrasts
        if contrast.at != "end"
        for side in contrast.sides
    }
    return compared | {experiment.curve}


def _snr_metrics(bins: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """`snr/at_0` and `snr/at_1`; none for logs of earlier versions, which have no halves."""
    halved = [
        entry
        for entry in bins
        if entry.get("first_half") is not None and entry.get("second_half") is not None
    ]
    inner = [entry for entry in halved if entry["low"] < entry["high"]]
    if not inner:
        return {}
    highest = float(max(inner, key=lambda entry: float(entry["first_half"]))["second_half"])
    return {
        f"snr/at_{entry['low']:.0f}": float(entry["second_half"]) / highest
        for entry in halved
        if entry["low"] == entry["high"] and highest > 0
    }
