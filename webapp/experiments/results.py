"""How far an experiment is, and what its arms have reached."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from trainer.experiments.analysis import Estimate, estimate
from webapp.experiments.models import BaseStudent, Experiment, ExperimentRun
from webapp.runs.models import FINISHED, Run, State

Launch = ExperimentRun.Launch
# In the order in which the progress names them.
ENDED = (State.COMPLETED, State.FAILED, State.STOPPED, State.PAUSED)


@dataclass(frozen=True)
class Progress:
    """Numbers of runs; a deleted one has ended."""

    total: int
    ended: int
    by_state: tuple[tuple[str, int], ...]

    @property
    def is_over(self) -> bool:
        return self.ended == self.total

    @property
    def sentence(self) -> str:
        """“3 of 6 runs have ended: 2 completed, 1 failed, 1 running, 2 queued.”"""
        noun = "run has" if self.total == 1 else "runs have"
        words = ", ".join(f"{count:,} {state}" for state, count in self.by_state)
        return f"{self.ended:,} of {self.total:,} {noun} ended: {words}."


@dataclass(frozen=True)
class ArmResult:
    """An arm with its runs in the order of the seeds.

    `mean` is that of the final held-out pass rates of `completed` runs, with its interval over
    seeds from two of them on; `difference` is to the first arm, paired by seed.
    """

    name: str
    cells: tuple[ExperimentRun, ...]
    completed: int
    mean: float | None
    interval: tuple[float, float] | None
    difference: Estimate | None


def progress_of(cells: Iterable[ExperimentRun]) -> Progress:
    counts = Counter(cell.state for cell in cells)
    not_ended = (*(state.value for state in State if state not in ENDED), "waiting")
    order = [*ENDED, "deleted", *not_ended]
    by_state = tuple((str(state), counts[state]) for state in order if counts[state])
    ended = sum(counts[state] for state in (*FINISHED, "deleted"))
    return Progress(sum(counts.values()), ended, by_state)


def bases_of(cells: Iterable[ExperimentRun]) -> list[BaseStudent]:
    """Return the base students that runs wait for, or that have failed them."""
    bases = {
        base.pk: base
        for cell in cells
        if cell.run is None and cell.launch in (Launch.WAITING, Launch.FAILED)
        for base in cell.waits_for.all()
    }
    return [bases[pk] for pk in sorted(bases)]


def arm_results(experiment: Experiment, cells: Sequence[ExperimentRun]) -> list[ArmResult]:
    """Return the results of all arms, of which the first is the baseline."""
    by_arm: dict[int, list[ExperimentRun]] = {index: [] for index in range(len(experiment.arms))}
    for cell in sorted(cells, key=lambda cell: cell.seed):
        by_arm[cell.arm].append(cell)
    baseline = _rates(by_arm[0])
    results = []
    for index, arm in enumerate(experiment.arms):
        rates = _rates(by_arm[index])
        spread = estimate(list(rates.values())) if len(rates) > 1 else None
        shared = [rates[seed] - baseline[seed] for seed in rates if seed in baseline]
        results.append(
            ArmResult(
                arm["name"],
                tuple(by_arm[index]),
                len(rates),
                fmean(rates.values()) if rates else None,
                (spread.low, spread.high) if spread else None,
                estimate(shared) if index and len(shared) > 1 else None,
            )
        )
    return results


def _rates(cells: Iterable[ExperimentRun]) -> dict[int, float]:
    """Return the final pass rate of each completed run by its seed."""
    rates = {cell.seed: _rate(cell.run) for cell in cells if cell.run}
    return {seed: rate for seed, rate in rates.items() if rate is not None}


def _rate(run: Run) -> float | None:
    rate = run.summary.get("pass_rate")
    is_number = isinstance(rate, int | float) and math.isfinite(rate)
    return float(rate) if is_number and run.state == State.COMPLETED else None
