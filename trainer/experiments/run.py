"""Execution of an experiment: for each seed its base students, then its arms.

Several seeds can be executed at a time, each by a thread that starts one process after the other.
Each run has a folder of its own, so an interrupted experiment continues where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from trainer.experiments.arms import events_of, execute, has_completed
from trainer.experiments.cpu_time import remaining, spent
from trainer.experiments.definition import Experiment
from trainer.experiments.folders import base_folder, bases_folder, run_folder
from trainer.experiments.outcomes import Outcome
from trainer.experiments.processes import cpu_minutes, run_and_record
from trainer.experiments.run_log import outcome

Report = Callable[[str], None]


def run(
    experiment: Experiment,
    folder: Path,
    seeds: Sequence[int],
    arms: Sequence[str],
    report: Report,
    jobs: int = 1,
) -> None:
    """Execute the runs that are missing, those of `jobs` seeds at a time.

    Reports the estimated CPU time before and the actual one after. Raises RuntimeError if a run
    does not complete, and what `trainer.spec.load` raises if an arm's definition is invalid.
    """
    seeds = list(dict.fromkeys(seeds))
    # The first arm first, because the others may start from its step 0.
    first = next(iter(experiment.arms))
    arms = [
        arm for arm in experiment.arms if arm in arms or (experiment.shares_start and arm == first)
    ]
    # Before any base is trained, so that an invalid definition costs no minutes.
    for seed in seeds:
        for arm in arms:
            experiment.definition(arm, seed, bases_folder(folder))
    estimated = remaining(experiment, folder, seeds, arms)
    report(f"{experiment.name}: {estimated.describe()}")
    spent_before = spent(experiment, folder, seeds, arms)
    # By seeds: an experiment that is interrupted has whole seeds, which can be paired.
    with ThreadPoolExecutor(jobs) as executor:
        futures = [
            executor.submit(_run_seed, experiment, folder, seed, arms, report) for seed in seeds
        ]
        try:
            for future in futures:
                future.result()
        except BaseException:
            # Seeds that have not begun are not begun; those that run end first.
            executor.shutdown(cancel_futures=True)
            raise
    actual = spent(experiment, folder, seeds, arms) - spent_before
    report(f"{experiment.name}: took {actual:.2f} CPU-hours, estimated {estimated.hours:.2f}")


def _run_seed(
    experiment: Experiment, folder: Path, seed: int, arms: Sequence[str], report: Report
) -> None:
    for name in experiment.bases:
        _make_base(name, seed, bases_folder(folder), report)
    first = run_folder(folder, experiment.name, arms[0], seed)
    for arm in arms:
        report(f"{experiment.name}: {experiment.arms[arm].title}, seed {seed}")
        target = run_folder(folder, experiment.name, arm, seed)
        start = first if experiment.shares_start and target != first else None
        execute(experiment.definition(arm, seed, bases_folder(folder)), target, start)


def _make_base(name: str, seed: int, bases: Path, report: Report) -> None:
    target = base_folder(bases, name, seed)
    if target.exists():
        return
    report(f"base student {name}, seed {seed}")
    # A process of its own: torch's generator, which its training draws from, is one per process.
    command = [
        "-m",
        "trainer",
        "base",
        name,
        "--seed",
        str(seed),
        "--dir",
        str(bases.parent),
    ]
    if exit_code := run_and_record(command, target):
        raise RuntimeError(f"the training of the base student in {target} ended with {exit_code}")


def outcomes(experiment: Experiment, folder: Path) -> list[Outcome]:
    """The outcomes of the completed runs of the experiment's own seeds, ordered by seeds and arms.

    Runs of other seeds in the folder are search runs and are ignored.
    """
    completed_runs = [
        outcome(
            experiment,
            arm,
            seed,
            _events(experiment, folder, arm, seed),
            cpu_minutes(run_folder(folder, experiment.name, arm, seed)),
        )
        for seed in experiment.seeds
        for arm in experiment.arms
        if has_completed(run_folder(folder, experiment.name, arm, seed))
    ]
    if not completed_runs:
        raise FileNotFoundError(
            f"{folder / experiment.name} holds no completed run of {experiment.name}; run it first"
        )
    return completed_runs


def _events(experiment: Experiment, folder: Path, arm: str, seed: int) -> Iterator[dict[str, Any]]:
    """A run's events, after the first arm's events of step 0 if the arms share them."""
    first = next(iter(experiment.arms))
    if experiment.shares_start and arm != first:
        yield from (
            event
            for event in events_of(run_folder(folder, experiment.name, first, seed))
            if event.get("step") == 0
        )
    yield from events_of(run_folder(folder, experiment.name, arm, seed))
