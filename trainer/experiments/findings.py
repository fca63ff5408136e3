"""What an experiment's runs showed: verdict and numbers of every contrast, and the spread of every
metric over the seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from trainer.experiments.analysis import Estimate, Verdict, estimate, verdict
from trainer.experiments.definition import Contrast, Experiment
from trainer.experiments.measures import Outcome, differences

WITH_TOO_FEW_SEEDS: Verdict = "not shown"


@dataclass(frozen=True)
class Finding:
    """A contrast with its difference for each seed. `estimate` is None with fewer than two seeds:
    then nothing is shown.
    """

    contrast: Contrast
    differences: dict[int, float]
    estimate: Estimate | None
    verdict: Verdict

    @property
    def remark(self) -> str:
        """What the interval says of the smallest difference that would matter, where it says
        something.
        """
        if (
            self.estimate is None
            or self.estimate.high >= self.contrast.above + self.contrast.interest
        ):
            return ""
        return f"a difference of {self.contrast.interest:g} is ruled out"

    def record(self) -> dict[str, object]:
        found = asdict(self.estimate) if self.estimate else None
        measured = {
            "verdict": self.verdict,
            "remark": self.remark,
            "estimate": found,
            "differences": self.differences,
        }
        return self.contrast.model_dump(mode="json") | measured


@dataclass(frozen=True)
class Findings:
    gates: list[Finding]
    claims: list[Finding]
    explored: list[Finding]


def findings(experiment: Experiment, outcomes: Sequence[Outcome]) -> Findings:
    """Judge gates, claims and what was explored. Claims and explored contrasts say nothing where a
    gate does not hold.
    """
    gates = [_judged(contrast, outcomes, True) for contrast in experiment.gates]
    hold = all(gate.verdict == "shown" for gate in gates)
    claims = [_judged(contrast, outcomes, hold) for contrast in experiment.claims]
    return Findings(
        gates, claims, [_judged(contrast, outcomes, hold) for contrast in experiment.explored]
    )


def mean_and_spread(values: Iterable[float]) -> tuple[float, float]:
    """Mean and standard deviation over seeds (0 for one seed). Raises ValueError for none."""
    found = list(values)
    if not found:
        raise ValueError("there is no value to average")
    mean = math.fsum(found) / len(found)
    return mean, math.sqrt(math.fsum((each - mean) ** 2 for each in found) / max(1, len(found) - 1))


def _judged(contrast: Contrast, outcomes: Sequence[Outcome], gates_hold: bool) -> Finding:
    found = differences(contrast, outcomes)
    if len(found) < 2:
        return Finding(
            contrast, found, None, WITH_TOO_FEW_SEEDS if gates_hold else "precondition not met"
        )
    measured = estimate(list(found.values()))
    return Finding(contrast, found, measured, verdict(measured, contrast.above, gates_hold))
