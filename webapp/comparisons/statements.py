"""Compare each shown run or group with the baseline: which measurements, then what they allow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer.experiments.analysis import estimate
from trainer.experiments.comparisons import (
    Statement,
    Terms,
    common_means,
    compare_checkpoints,
    compare_settings,
    compare_shared_seeds,
    differing_condition,
    problem_differences,
)
from webapp.comparisons.groups import RunGroup
from webapp.comparisons.results import ROLES, RunResult
from webapp.runs.models import FINISHED, Run

UNFINISHED = "No final results yet"
MISSING = "No per-problem results: evaluate again"
NOT_STARTED_HERE = "No per-problem results: only runs that were started here have them"
# The fourth power of a larger value, which Welch's interval takes, is more than a float holds.
LARGEST = 1e75


@dataclass(frozen=True)
class ComparedItem:
    """A run, or a group of runs, with its results and the name under which it is shown."""

    group: RunGroup
    results: tuple[RunResult, ...]
    name: str

    @property
    def id(self) -> str:
        return self.group.id

    @property
    def is_group(self) -> bool:
        return len(self.results) > 1

    def by_seed(self, metric: str) -> dict[int, float]:
        """The last value of a metric for each seed; the mean of the runs that share a seed."""
        values: dict[int, list[float]] = defaultdict(list)
        for result in self.results:
            if metric in result.last:
                values[result.seed].append(result.last[metric].value)
        return {seed: sum(of_seed) / len(of_seed) for seed, of_seed in values.items()}

    def rates_by_seed(self, metric: str) -> dict[int, Mapping[str, float]]:
        """The pass rates by problem for each seed; the mean of the runs that share a seed."""
        tables: dict[int, list[Mapping[str, float]]] = defaultdict(list)
        for result in self.results:
            tables[result.seed].append(result.by_problem[metric].rates)
        return {seed: _mean_rates(of_seed) for seed, of_seed in tables.items()}

    def value(self, metric: str) -> float | None:
        """The last value; of a group the mean over its seeds. None if nothing was measured."""
        values = list(self.by_seed(metric).values())
        return sum(values) / len(values) if values else None

    def interval(self, metric: str) -> tuple[float, float] | None:
        """The 95 % interval: over seeds for a group, as recorded for a run.

        It depends on nothing else that is shown.
        """
        if self.is_group:
            values = list(self.by_seed(metric).values())
            if len(values) < 2 or not _are_measurable(values):
                return None
            measured = estimate(values)
            return measured.low, measured.high
        last = self.results[0].last
        edges = [last.get(f"{metric}/{edge}") for edge in ("low", "high")]
        if edges[0] is None or edges[1] is None:
            return None
        return edges[0].value, edges[1].value


def statement(item: ComparedItem, baseline: ComparedItem, metric: str, terms: Terms) -> Statement:
    """Return what can be said about `item` − `baseline`."""
    both = (item, baseline)
    # A client may log a series of that name without anything by problem.
    if metric in ROLES and any(
        result.run.spec is not None or metric in result.by_problem
        for side in both
        for result in side.results
    ):
        return _on_problems(item, baseline, metric, terms)
    if not all(side.by_seed(metric) for side in both):
        return Statement("no verdict", f"{metric} was not measured on both sides.")
    if not any(side.is_group for side in both):
        return Statement(
            "no verdict",
            f"No verdict: one value of {metric} a side has no interval. "
            "Run each setting with three seeds or more.",
        )
    a, b = item.by_seed(metric), baseline.by_seed(metric)
    if not _are_measurable([*a.values(), *b.values()]):
        return Statement(
            "no verdict", f"No verdict: a value of {metric} is infinite, no number or too large."
        )
    return compare_settings(a, b, terms)


def _on_problems(
    item: ComparedItem, baseline: ComparedItem, metric: str, terms: Terms
) -> Statement:
    results = [*item.results, *baseline.results]
    if missing := [result.run for result in results if metric not in result.by_problem]:
        names = _listed([run.name for run in missing])
        return Statement("no verdict", f"{_why_missing(missing)} ({names}).")
    conditions = [
        {"set": evaluation.set_fingerprint, **evaluation.conditions}
        for evaluation in (result.by_problem[metric].evaluation for result in results)
    ]
    if differing := differing_condition(conditions):
        return Statement("no verdict", f"Not comparable. {differing}")
    if not item.is_group and not baseline.is_group:
        [a_rates], [b_rates] = (
            [result.by_problem[metric].rates for result in side.results]
            for side in (item, baseline)
        )
        return compare_checkpoints(a_rates, b_rates, terms)
    a, b = item.rates_by_seed(metric), baseline.rates_by_seed(metric)
    if a.keys() & b.keys():
        return compare_shared_seeds(problem_differences(a, b), terms)
    means_a, means_b = common_means(a, b)
    return compare_settings(means_a, means_b, terms)


def _are_measurable(values: Sequence[float]) -> bool:
    # NaN is not.
    return all(abs(value) <= LARGEST for value in values)


def _mean_rates(tables: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """The mean pass rate of each problem over the tables that have it."""
    if len(tables) == 1:
        return tables[0]
    values: dict[str, list[float]] = defaultdict(list)
    for table in tables:
        for problem, rate in table.items():
            values[problem].append(rate)
    return {problem: sum(rates) / len(rates) for problem, rates in values.items()}


def _why_missing(runs: Sequence[Run]) -> str:
    if any(run.state not in FINISHED for run in runs):
        return UNFINISHED
    # Only runs that were started here have checkpoints to evaluate.
    return MISSING if any(run.spec for run in runs) else NOT_STARTED_HERE


def _listed(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
