"""How much CPU time an experiment still needs, and how much it took.

A run is estimated by the mean of its arm's completed runs in the folder; without any, by the
definition's `cpu_minutes`, which was measured in the search. A base student is estimated by what
one training of it took. Imports without torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.experiments.arms import has_completed
from trainer.experiments.definition import Experiment
from trainer.experiments.folders import base_folder, bases_folder, run_folder
from trainer.experiments.processes import cpu_minutes

# What one training of a base took.
BASE_CPU_MINUTES = {"student": 2.3, "hinted": 3.3, "confident": 3.3, "misreading": 1.7}


@dataclass(frozen=True)
class Estimated:
    """CPU minutes of the runs and bases that are missing, one entry each."""

    runs: list[float]
    bases: list[float]
    done: int

    @property
    def hours(self) -> float:
        return math.fsum([*self.runs, *self.bases]) / 60

    def describe(self) -> str:
        """For example `estimated 0.3 CPU-hours: 12 runs of about 1.1 CPU-minutes; …`."""
        parts = [
            f"{len(minutes)} {noun}{'' if len(minutes) == 1 else 's'} of about "
            f"{math.fsum(minutes) / len(minutes):.1f} CPU-minutes"
            for noun, minutes in (("run", self.runs), ("base student", self.bases))
            if minutes
        ]
        total, are = len(self.runs) + self.done, "is" if self.done == 1 else "are"
        work = f"{', '.join(parts)}; " if parts else ""
        return f"estimated {self.hours:.2f} CPU-hours: {work}{self.done} of {total} runs {are} done"


def planned(experiment: Experiment, seeds: int) -> Estimated:
    """What all arms with so many seeds and their bases need where nothing is done yet."""
    return Estimated(
        [experiment.cpu_minutes] * (seeds * len(experiment.arms)),
        [BASE_CPU_MINUTES[name] for name in experiment.bases] * seeds,
        0,
    )


def remaining(
    experiment: Experiment, folder: Path, seeds: Sequence[int], arms: Sequence[str]
) -> Estimated:
    """What the runs of these seeds and arms still need."""
    keys = [(arm, seed) for seed in seeds for arm in arms]
    missing = [
        (arm, seed)
        for arm, seed in keys
        if not has_completed(run_folder(folder, experiment.name, arm, seed))
    ]
    per_run = {arm: _mean_of_arm(experiment, folder, arm) for arm in arms}
    return Estimated(
        [per_run[arm] for arm, _ in missing],
        [
            BASE_CPU_MINUTES[name]
            for seed in sorted({seed for _, seed in missing})
            for name in experiment.bases
            if not base_folder(bases_folder(folder), name, seed).exists()
        ],
        len(keys) - len(missing),
    )


def spent(experiment: Experiment, folder: Path, seeds: Sequence[int], arms: Sequence[str]) -> float:
    """CPU hours of these runs and their bases, as far as they were recorded."""
    folders = [run_folder(folder, experiment.name, arm, seed) for seed in seeds for arm in arms]
    folders += [
        base_folder(bases_folder(folder), name, seed) for seed in seeds for name in experiment.bases
    ]
    return math.fsum(cpu_minutes(path) or 0.0 for path in folders) / 60


def _mean_of_arm(experiment: Experiment, folder: Path, arm: str) -> float:
    # Runs of the search count too: what they cost is what the others will.
    measured = [
        minutes
        for path in (folder / experiment.name).glob(f"{arm}-*")
        if path.name.removeprefix(f"{arm}-").isdecimal() and (minutes := cpu_minutes(path))
    ]
    return math.fsum(measured) / len(measured) if measured else experiment.cpu_minutes
