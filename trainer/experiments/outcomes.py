"""The outcome of a run, read from its event log: metrics before and after, and their cost.

A metric's name is a key of the log's `metrics` events, or `snr/at_0` or `snr/at_1` from an `snr`
event: the gradient's signal-to-noise ratio where the student never or always passes, each divided
by the highest ratio in between.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.experiments.definition import At, Contrast, Experiment, Side


@dataclass(frozen=True)
class Point:
    """A metric's value after `step` updates, `tokens` sampled or trained, `compute` operations."""

    step: int
    tokens: int
    compute: float
    value: float


@dataclass(frozen=True)
class Outcome:
    """One (arm, seed). `before` and `after` map metric to value, `curves` metric to points."""

    arm: str
    seed: int
    commit: str | None
    step: int
    tokens: int
    compute: float
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[Point]] = field(default_factory=dict)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Outcome:
        """The outcome whose `asdict` is `record`, also after a round trip through JSON."""
        curves = {
            metric: [Point(**point) for point in points]
            for metric, points in record["curves"].items()
        }
        return cls(**{**record, "curves": curves})


def outcome(
    experiment: Experiment, arm: str, seed: int, events: Iterable[Mapping[str, Any]]
) -> Outcome:
    """Read a run's events. A metric that the run never logged is absent."""
    commit, last, curves = (
        None,
        Point(0, 0, 0.0, math.nan),
        {metric: list[Point]() for metric in experiment.metrics},
    )
    for event in events:
        if event["type"] == "environment":
            commit = event["commit"]
        values: Mapping[str, Any] = {}
        # An `snr` event has no costs of its own; those of the latest metrics hold.
        if event["type"] == "snr":
            values = _snr_metrics(event["bins"])
        if event["type"] == "metrics":
            values = event["values"]
            last = Point(event["step"], event["tokens"], event["compute"], math.nan)
        for metric in values.keys() & curves.keys():
            curves[metric].append(
                Point(event["step"], last.tokens, last.compute, float(values[metric]))
            )
    points_by_metric = {metric: points for metric, points in curves.items() if points}
    # A metric that is only logged from the first step on has no value before training.
    before = {
        metric: points[0].value
        for metric, points in points_by_metric.items()
        if points[0].step == 0
    }
    after = {metric: points[-1].value for metric, points in points_by_metric.items()}
    # results.json is part of the repository, so only the curves that something reads are kept.
    drawn_curves = {
        metric: points
        for metric, points in points_by_metric.items()
        if metric in _curve_metrics(experiment)
    }
    return Outcome(
        arm, seed, commit, last.step, last.tokens, last.compute, before, after, drawn_curves
    )


def differences(contrast: Contrast, outcomes: Sequence[Outcome]) -> dict[int, float]:
    """`of` − `minus` for every seed that has both sides.

    Raises KeyError, which names the metric, if a run lacks one.
    """
    by_run = {(outcome.arm, outcome.seed): outcome for outcome in outcomes}
    seeds = sorted({outcome.seed for outcome in outcomes})
    complete = [
        seed for seed in seeds if all((side.arm, seed) in by_run for side in contrast.sides)
    ]
    return {
        seed: _difference(contrast, {side.arm: by_run[side.arm, seed] for side in contrast.sides})
        for seed in complete
    }


def value(outcome: Outcome, side: Side, axis: At = "end", budget: float = math.inf) -> float:
    """A side's value in a run: at its end, or interpolated linearly at a spent `budget`."""
    if side.when == "before" or axis == "end":
        values = outcome.before if side.when == "before" else outcome.after
        if side.metric not in values:
            raise KeyError(
                f"the run of {side.arm} with seed {outcome.seed} has no {side.metric} "
                f"{side.when} its training"
            )
        return values[side.metric]
    points = [(_spent(point, axis), point.value) for point in outcome.curves[side.metric]]
    return _interpolate(points, budget)


def mean_and_spread(values: Iterable[float]) -> tuple[float, float]:
    """Mean and standard deviation over seeds (0 for one seed). Raises ValueError for none."""
    numbers = list(values)
    if not numbers:
        raise ValueError("there is no value to average")
    mean = math.fsum(numbers) / len(numbers)
    return mean, math.sqrt(
        # n − 1 as of a sample, and 1 for a single number, whose deviation is 0.
        math.fsum((number - mean) ** 2 for number in numbers) / max(1, len(numbers) - 1)
    )


def _difference(contrast: Contrast, runs: Mapping[str, Outcome]) -> float:
    # The largest cost that both sides have spent.
    budget = min(_spent(run, contrast.at) for run in runs.values())

    def of(side: Side | float) -> float:
        return value(runs[side.arm], side, contrast.at, budget) if isinstance(side, Side) else side

    return of(contrast.of) - of(contrast.minus)


def _spent(spender: Point | Outcome, axis: At) -> float:
    return spender.compute if axis == "equal_compute" else float(spender.tokens)


def _interpolate(points: Sequence[tuple[float, float]], cost: float) -> float:
    """The value at `cost` of the broken line through `points`; the nearest end's beyond them."""
    earlier = max((point for point in points if point[0] <= cost), default=points[0])
    later = min((point for point in points if point[0] >= cost), default=points[-1])
    if later[0] == earlier[0]:
        return later[1]
    share = (cost - earlier[0]) / (later[0] - earlier[0])
    return earlier[1] + share * (later[1] - earlier[1])


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
    inner = max(
        (
            float(pass_rate_bin["snr"])
            for pass_rate_bin in bins
            if pass_rate_bin["low"] < pass_rate_bin["high"]
        ),
        default=0.0,
    )
    return {
        f"snr/at_{pass_rate_bin['low']:.0f}": float(pass_rate_bin["snr"]) / inner
        for pass_rate_bin in bins
        if pass_rate_bin["low"] == pass_rate_bin["high"] and inner > 0
    }
