"""Carrying an experiment out: its bases first, then every arm with every seed, one run after the
other.

Each run has a folder of its own, `<folder>/<experiment>/<arm>-<seed>`, so that a broken-off
experiment goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from trainer.experiments.arms import carry_out, completed, log
from trainer.experiments.definition import Experiment
from trainer.experiments.measures import Outcome, outcome

Report = Callable[[str], None]


def run(
    experiment: Experiment, folder: Path, seeds: Sequence[int], arms: Sequence[str], report: Report
) -> None:
    """Make what is missing of the arms' runs. Raises RuntimeError for a run that does not
    complete.
    """
    _make_bases(experiment, folder, report)
    for seed in seeds:
        for arm in arms:
            report(f"{experiment.name}: {experiment.arms[arm].title}, seed {seed}")
            first = folder_of(experiment, folder, next(iter(experiment.arms)), seed)
            place = folder_of(experiment, folder, arm, seed)
            start = first if experiment.shares_start and place != first else None
            carry_out(experiment.definition(arm, seed, folder / "bases"), place, start)


def outcomes(experiment: Experiment, folder: Path) -> list[Outcome]:
    """What the completed runs in a folder measured, in the order of seeds and arms; those of other
    seeds were for searching.
    """
    found = [
        outcome(experiment, arm, seed, _events(experiment, folder, arm, seed))
        for seed in experiment.seeds
        for arm in experiment.arms
        if completed(folder_of(experiment, folder, arm, seed))
    ]
    if not found:
        raise FileNotFoundError(
            f"{folder / experiment.name} holds no completed run of {experiment.name}; run it first"
        )
    return found


def folder_of(experiment: Experiment, folder: Path, arm: str, seed: int) -> Path:
    return folder / experiment.name / f"{arm}-{seed}"


def _events(experiment: Experiment, folder: Path, arm: str, seed: int) -> Iterator[dict[str, Any]]:
    """A run's events, after those that the first arm has of the time before the first step where
    the arms share it.
    """
    first = next(iter(experiment.arms))
    if experiment.shares_start and arm != first:
        yield from (
            event
            for event in log(folder_of(experiment, folder, first, seed))
            if event.get("step") == 0
        )
    yield from log(folder_of(experiment, folder, arm, seed))


def _make_bases(experiment: Experiment, folder: Path, report: Report) -> None:
    # Imported here, because everything else of an experiment is at hand without torch.
    from trainer.experiments import bases

    for name in experiment.bases:
        bases.make(name, folder / "bases", report)
