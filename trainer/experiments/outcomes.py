"""What a run of an experiment gave, and the differences between runs that contrasts ask for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.experiments.definition import At, Contrast, Side, When


@dataclass(frozen=True)
class Point:
    """A metric's value after `step` updates, `tokens` sampled or trained, `compute` operations.

    `problems` is the number of problems of an evaluation, which says in one run and between runs of
    one seed which problems they are; None for metrics of the training.
    """

    step: int
    tokens: int
    compute: float
    value: float
    problems: int | None = None


@dataclass(frozen=True)
class Change:
    """A pass rate after the run minus before it, paired by problem, with its 95 % interval.

    The interval is by bootstrap over problems: it holds for this one training.
    """

    difference: float
    low: float
    high: float
    problems: int


@dataclass(frozen=True)
class Outcome:
    """One (arm, seed).

    `before` and `after` map metric to value, `curves` metric to points that can be compared, and
    `changes` the metric of a pass rate to its change. `clipped_share` is the share of the updates
    whose gradient was clipped.
    """

    arm: str
    seed: int
    commit: str | None
    step: int
    tokens: int
    compute: float
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[Point]] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    clipped_share: float | None = None
    cpu_minutes: float | None = None

    def values(self, when: When) -> dict[str, float]:
        return self.before if when == "before" else self.after

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Outcome:
        """The outcome whose `asdict` is `record`, also after a round trip through JSON."""
        curves = {
            metric: [Point(**point) for point in points]
            for metric, points in record["curves"].items()
        }
        # Records of earlier versions have no changes.
        changes = {metric: Change(**change) for metric, change in record.get("changes", {}).items()}
        return cls(**{**record, "curves": curves, "changes": changes})


def differences(contrast: Contrast, outcomes: Sequence[Outcome]) -> dict[int, float]:
    """`of` − `minus` for every seed in which both sides were measured.

    Raises KeyError, which names the metric, if all runs of a side lack it.
    """
    by_run = {(outcome.arm, outcome.seed): outcome for outcome in outcomes}
    without = unmeasured(contrast, outcomes)
    return {
        seed: _difference(contrast, {side.arm: by_run[side.arm, seed] for side in contrast.sides})
        for seed in _complete_seeds(contrast, outcomes)
        if seed not in without
    }


def unmeasured(contrast: Contrast, outcomes: Sequence[Outcome]) -> list[int]:
    """Seeds whose runs are complete, but lack a metric that other runs of the same side have.

    A ratio is one that a run may lack: its divisor can be measured as 0.
    """
    lacking: set[int] = set()
    for side in contrast.sides:
        runs = [outcome for outcome in outcomes if outcome.arm == side.arm]
        without = {run.seed for run in runs if side.metric not in run.values(side.when)}
        if len(without) < len(runs):
            lacking |= without
    return [seed for seed in _complete_seeds(contrast, outcomes) if seed in lacking]


def _complete_seeds(contrast: Contrast, outcomes: Sequence[Outcome]) -> list[int]:
    runs = {(outcome.arm, outcome.seed) for outcome in outcomes}
    seeds = sorted({outcome.seed for outcome in outcomes})
    return [seed for seed in seeds if all((side.arm, seed) in runs for side in contrast.sides)]


def changes(contrast: Contrast, outcomes: Sequence[Outcome]) -> dict[int, Change]:
    """The change that an `each_seed` contrast is about, for every seed that has its arm.

    Raises KeyError, which names the metric, if a run has no interval of it over problems.
    """
    [side, _] = contrast.sides
    runs = [outcome for outcome in outcomes if outcome.arm == side.arm]
    if missing := next((run for run in runs if side.metric not in run.changes), None):
        raise KeyError(
            f"the run of {side.arm} with seed {missing.seed} states no change of {side.metric} "
            "with an interval over problems; each_seed needs a pass rate of its evaluations"
        )
    return {run.seed: run.changes[side.metric] for run in runs}


def value(outcome: Outcome, side: Side, axis: At = "end", budget: float = math.inf) -> float:
    """A side's value in a run: at its end, or interpolated linearly at a spent `budget`.

    Raises KeyError, which names the metric, if the run lacks it.
    """
    values = outcome.values(side.when)
    if side.metric not in values:
        raise KeyError(
            f"the run of {side.arm} with seed {outcome.seed} has no {side.metric} "
            f"{side.when} its training"
        )
    if side.when == "before" or axis == "end":
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
    budget = math.inf if contrast.at == "end" else _common_budget(contrast, runs)

    def of(side: Side | float) -> float:
        return value(runs[side.arm], side, contrast.at, budget) if isinstance(side, Side) else side

    return of(contrast.of) - of(contrast.minus)


def _common_budget(contrast: Contrast, runs: Mapping[str, Outcome]) -> float:
    """The largest cost at which all sides were evaluated, on the same problems.

    Raises KeyError if they were evaluated on different problems.
    """
    curves = {
        side: runs[side.arm].curves[side.metric]
        for side in contrast.sides
        if side.when == "after" and side.metric in runs[side.arm].curves
    }
    if len({curve[0].problems for curve in curves.values()}) > 1:
        sizes = ", ".join(f"{side.arm}: {curve[0].problems}" for side, curve in curves.items())
        raise KeyError(
            f"“{contrast.says}” compares evaluations of different numbers of problems ({sizes}); "
            "give its arms the same evaluation.every and evaluation.problems"
        )
    return min((_spent(curve[-1], contrast.at) for curve in curves.values()), default=math.inf)


def _spent(point: Point, axis: At) -> float:
    return point.compute if axis == "equal_compute" else float(point.tokens)


def _interpolate(points: Sequence[tuple[float, float]], cost: float) -> float:
    """The value at `cost` of the broken line through `points`; the nearest end's beyond them."""
    earlier = max((point for point in points if point[0] <= cost), default=points[0])
    later = min((point for point in points if point[0] >= cost), default=points[-1])
    if later[0] == earlier[0]:
        return later[1]
    share = (cost - earlier[0]) / (later[0] - earlier[0])
    return earlier[1] + share * (later[1] - earlier[1])
