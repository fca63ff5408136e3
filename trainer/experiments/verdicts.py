"""Verdict and numbers of every contrast of an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from trainer.experiments.analysis import Estimate, Verdict, estimate, judge
from trainer.experiments.definition import Contrast, Experiment
from trainer.experiments.outcomes import Outcome, differences

WITH_TOO_FEW_SEEDS: Verdict = "not shown"


@dataclass(frozen=True)
class Finding:
    """A contrast with its difference per seed. `estimate` is None for fewer than two seeds."""

    contrast: Contrast
    differences: dict[int, float]
    estimate: Estimate | None
    verdict: Verdict

    @property
    def remark(self) -> str:
        """A sentence if the interval excludes the smallest difference of interest, else empty."""
        if (
            self.estimate is None
            or self.estimate.high >= self.contrast.above + self.contrast.interest
        ):
            return ""
        return f"a difference of {self.contrast.interest:g} is ruled out"

    def record(self) -> dict[str, object]:
        result = {
            "verdict": self.verdict,
            "remark": self.remark,
            "estimate": asdict(self.estimate) if self.estimate else None,
            "differences": self.differences,
        }
        return self.contrast.model_dump(mode="json") | result


@dataclass(frozen=True)
class Findings:
    gates: list[Finding]
    claims: list[Finding]
    explored: list[Finding]


def findings(experiment: Experiment, outcomes: Sequence[Outcome]) -> Findings:
    """Judge all contrasts. If a gate fails, claims and explored contrasts get no verdict."""
    gates = [_finding(contrast, outcomes, True) for contrast in experiment.gates]
    hold = all(gate.verdict == "shown" for gate in gates)
    return Findings(
        gates,
        [_finding(contrast, outcomes, hold) for contrast in experiment.claims],
        [_finding(contrast, outcomes, hold) for contrast in experiment.explored],
    )


def _finding(contrast: Contrast, outcomes: Sequence[Outcome], gates_hold: bool) -> Finding:
    differences_by_seed = differences(contrast, outcomes)
    # A single difference has no spread, so there is no interval to judge by.
    if len(differences_by_seed) < 2:
        return Finding(
            contrast,
            differences_by_seed,
            None,
            WITH_TOO_FEW_SEEDS if gates_hold else "precondition not met",
        )
    measured = estimate(list(differences_by_seed.values()))
    verdict = judge(measured, contrast.above, gates_hold)
    return Finding(contrast, differences_by_seed, measured, verdict)
