"""Execution of an experiment: first its base students, then every arm with every seed.

Runs are executed one after the other. Each has a folder of its own,
`<folder>/<experiment>/<arm>-<seed>`, so an interrupted experiment continues where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from trainer.experiments.arms import events_of, execute, has_completed
from trainer.experiments.definition import Experiment
from trainer.experiments.outcomes import Outcome, outcome

Report = Callable[[str], None]


def run(
    experiment: Experiment, folder: Path, seeds: Sequence[int], arms: Sequence[str], report: Report
) -> None:
    """Execute the runs that are missing. Raises RuntimeError if one does not complete."""
    # Imported here, so that reports and definitions load without torch.
    from trainer.experiments import bases

    for name in experiment.bases:
        bases.make(name, folder / "bases", report)
    # Seeds in the outer loop: an experiment that is interrupted has whole seeds, which can be
    # paired.
    for seed in seeds:
        for arm in arms:
            report(f"{experiment.name}: {experiment.arms[arm].title}, seed {seed}")
            first_folder = folder_of(experiment, folder, next(iter(experiment.arms)), seed)
            run_folder = folder_of(experiment, folder, arm, seed)
            start = first_folder if experiment.shares_start and run_folder != first_folder else None
            execute(experiment.definition(arm, seed, folder / "bases"), run_folder, start)


def outcomes(experiment: Experiment, folder: Path) -> list[Outcome]:
    """The outcomes of the completed runs of the experiment's own seeds, ordered by seeds and arms.

    Runs of other seeds in the folder are search runs and are ignored.
    """
    completed_runs = [
        outcome(experiment, arm, seed, _events(experiment, folder, arm, seed))
        for seed in experiment.seeds
        for arm in experiment.arms
        if has_completed(folder_of(experiment, folder, arm, seed))
    ]
    if not completed_runs:
        raise FileNotFoundError(
            f"{folder / experiment.name} holds no completed run of {experiment.name}; run it first"
        )
    return completed_runs


def folder_of(experiment: Experiment, folder: Path, arm: str, seed: int) -> Path:
    return folder / experiment.name / f"{arm}-{seed}"


def _events(experiment: Experiment, folder: Path, arm: str, seed: int) -> Iterator[dict[str, Any]]:
    """A run's events, after the first arm's events of step 0 if the arms share them."""
    first = next(iter(experiment.arms))
    if experiment.shares_start and arm != first:
        yield from (
            event
            for event in events_of(folder_of(experiment, folder, first, seed))
            if event.get("step") == 0
        )
    yield from events_of(folder_of(experiment, folder, arm, seed))
