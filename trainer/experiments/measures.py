"""What is kept of a run: the values of chosen metrics before and after, and what they cost, from
its event log.

A metric's name is a key of the log's `metrics` events, or one of those that an `snr` event gives:
`snr/at_0` and `snr/at_1`, the gradient's signal-to-noise ratio where the student never or always
passes, each divided by the highest ratio in between.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from trainer.experiments.definition import At, Contrast, Experiment, Side


@dataclass(frozen=True)
class Point:
    """A metric's value after `step` updates, when so many tokens had been sampled or trained on, by
    so many counted operations.
    """

    step: int
    tokens: int
    compute: float
    value: float


@dataclass(frozen=True)
class Outcome:
    """One (arm, seed). `before` and `after` by metric; `curve` is the experiment's drawn metric."""

    arm: str
    seed: int
    commit: str | None
    step: int
    tokens: int
    compute: float
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[Point]] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Outcome:
        """What `record` gave, also from JSON."""
        curves = {
            metric: [Point(**point) for point in points]
            for metric, points in record["curves"].items()
        }
        return cls(**{**record, "curves": curves})


def outcome(
    experiment: Experiment, arm: str, seed: int, events: Iterable[Mapping[str, Any]]
) -> Outcome:
    """Read a run's events. A metric that a run never gave is left out."""
    commit, last, curves = (
        None,
        Point(0, 0, 0.0, math.nan),
        {metric: list[Point]() for metric in experiment.metrics},
    )
    for event in events:
        if event["type"] == "environment":
            commit = event["commit"]
        values = (
            event["values"]
            if event["type"] == "metrics"
            else _of_snr(event["bins"])
            if event["type"] == "snr"
            else {}
        )
        if event["type"] == "metrics":
            last = Point(event["step"], event["tokens"], event["compute"], math.nan)
        for metric in values.keys() & curves.keys():
            curves[metric].append(
                Point(event["step"], last.tokens, last.compute, float(values[metric]))
            )
    found = {metric: points for metric, points in curves.items() if points}
    before = {metric: points[0].value for metric, points in found.items() if points[0].step == 0}
    after = {metric: points[-1].value for metric, points in found.items()}
    drawn = {metric: points for metric, points in found.items() if metric in _drawn(experiment)}
    return Outcome(arm, seed, commit, last.step, last.tokens, last.compute, before, after, drawn)


def differences(contrast: Contrast, outcomes: Sequence[Outcome]) -> dict[int, float]:
    """`of` − `minus` for every seed that has both sides. Raises KeyError naming a metric that a run
    does not have.
    """
    by_run = {(each.arm, each.seed): each for each in outcomes}
    seeds = sorted({each.seed for each in outcomes})
    complete = [
        seed for seed in seeds if all((side.arm, seed) in by_run for side in contrast.sides)
    ]
    return {
        seed: _difference(contrast, {side.arm: by_run[side.arm, seed] for side in contrast.sides})
        for seed in complete
    }


def value(outcome: Outcome, side: Side, at: At = "end", budget: float = math.inf) -> float:
    """A side's value in a run: at its end, or where the run had spent `budget`, linearly between
    the points around it.
    """
    if side.when == "before" or at == "end":
        found = outcome.before if side.when == "before" else outcome.after
        if side.metric not in found:
            raise KeyError(
                f"the run of {side.arm} with seed {outcome.seed} has no {side.metric} {side.when} its training"
            )
        return found[side.metric]
    points = [(_spent(point, at), point.value) for point in outcome.curves[side.metric]]
    return _between(points, budget)


def _difference(contrast: Contrast, runs: Mapping[str, Outcome]) -> float:
    budget = min(_spent(run, contrast.at) for run in runs.values())

    def of(side: Side | float) -> float:
        return value(runs[side.arm], side, contrast.at, budget) if isinstance(side, Side) else side

    return of(contrast.of) - of(contrast.minus)


def _spent(where: Point | Outcome, at: At) -> float:
    return where.compute if at == "equal_compute" else float(where.tokens)


def _between(points: Sequence[tuple[float, float]], at: float) -> float:
    """The value at `at` of the broken line through `points`; the nearest end's beyond them."""
    earlier = max((point for point in points if point[0] <= at), default=points[0])
    later = min((point for point in points if point[0] >= at), default=points[-1])
    if later[0] == earlier[0]:
        return later[1]
    share = (at - earlier[0]) / (later[0] - earlier[0])
    return earlier[1] + share * (later[1] - earlier[1])


def _drawn(experiment: Experiment) -> set[str]:
    """Metrics that are needed as curves: the one that is drawn, and those that are compared at
    equal cost.
    """
    compared = {
        side.metric
        for contrast in experiment.contrasts
        if contrast.at != "end"
        for side in contrast.sides
    }
    return compared | {experiment.curve}


def _of_snr(bins: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    inner = max((float(each["snr"]) for each in bins if each["low"] < each["high"]), default=0.0)
    return {
        f"snr/at_{each['low']:.0f}": float(each["snr"]) / inner
        for each in bins
        if each["low"] == each["high"] and inner > 0
    }
