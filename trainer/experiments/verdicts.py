"""Verdict and numbers of every contrast of an experiment.

The verdict follows from the p-value at 0.05, and its direction from the side of the bound on which
the mean is. The p-values of an experiment's claims are adjusted for their number (Holm). Gates are
not: all of them must hold. Explored contrasts are not either, and are labelled so.

A contrast with `each_seed` is judged without p-values: every seed must meet the bound by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from trainer.experiments.analysis import (
    ERROR_RATE,
    Estimate,
    bonferroni_interval,
    estimate,
    holm,
    p_value,
)
from trainer.experiments.definition import Contrast, Experiment
from trainer.experiments.outcomes import Change, Outcome, changes, differences, unmeasured

Verdict = Literal[
    "shown", "shown, smaller than of interest", "not shown", "reversed", "precondition not met"
]

# What a verdict is about, in front of it, where it is not about a difference over seeds.
ABOUT = {"higher": "", "no worse": "no worse than the bound: ", "equal": "equal within the bound: "}


@dataclass(frozen=True)
class Finding:
    """A contrast with its difference per seed and its verdict.

    Seeds that are `unmeasured` have no difference. The others alone are no fair sample, so that no
    p-value is derived from them.

    `estimate` is None for fewer than two seeds. `p`, `adjusted_p` (Holm) and `adjusted_interval`
    (Bonferroni) are None where they do not apply.
    """

    contrast: Contrast
    differences: dict[int, float]
    estimate: Estimate | None
    verdict: Verdict
    p: float | None = None
    adjusted_p: float | None = None
    adjusted_interval: tuple[float, float] | None = None
    unmeasured: tuple[int, ...] = ()

    @property
    def words(self) -> str:
        """The verdict with what it is about."""
        return f"{_about(self.contrast)}{self.verdict}"

    @property
    def remark(self) -> str:
        """A sentence on seeds without a measurement or on a difference that is ruled out."""
        if self.unmeasured:
            noun = "seed" if len(self.unmeasured) == 1 else "seeds"
            return f"{noun} {', '.join(map(str, self.unmeasured))} could not be measured"
        interest = self.contrast.interest
        # What matters of “no worse” and “equal” is their bound.
        if self.estimate is None or interest is None or self.contrast.kind != "higher":
            return ""
        if self.estimate.high >= self.contrast.above + interest:
            return ""
        return f"a difference of {interest:g} is ruled out"

    def record(self) -> dict[str, object]:
        result = {
            "kind": self.contrast.kind,
            "verdict": self.verdict,
            "words": self.words,
            "remark": self.remark,
            "unmeasured": self.unmeasured,
            "estimate": asdict(self.estimate) if self.estimate else None,
            "differences": self.differences,
            "p": self.p,
            "adjusted_p": self.adjusted_p,
            "adjusted_interval": self.adjusted_interval,
        }
        return self.contrast.model_dump(mode="json") | result


@dataclass(frozen=True)
class Findings:
    gates: list[Finding]
    claims: list[Finding]
    explored: list[Finding]


def findings(experiment: Experiment, outcomes: Sequence[Outcome]) -> Findings:
    """Judge all contrasts. If a gate fails, claims and explored contrasts get no verdict."""
    gates = _judged(experiment, experiment.gates, outcomes, gates_hold=True)
    hold = all(gate.verdict.startswith("shown") for gate in gates)
    return Findings(
        gates,
        _judged(experiment, experiment.claims, outcomes, gates_hold=hold, together=True),
        _judged(experiment, experiment.explored, outcomes, gates_hold=hold),
    )


def _judged(
    experiment: Experiment,
    contrasts: Sequence[Contrast],
    outcomes: Sequence[Outcome],
    gates_hold: bool,
    together: bool = False,
) -> list[Finding]:
    """Findings in the order of `contrasts`; `together` adjusts their p-values for their number."""
    measured = [_measured(contrast, outcomes) for contrast in contrasts]
    tested = [index for index, contrast in enumerate(contrasts) if contrast.each_seed is None]
    # A claim that could not be measured counts too: otherwise leaving arms out would help the rest.
    p_values = [1.0 if (p := measured[index].p) is None else p for index in tested]
    adjusted = dict(zip(tested, holm(p_values) if together else p_values, strict=True))
    return [
        _finding(
            finding,
            _verdict(experiment, finding, outcomes, adjusted.get(index, 1.0), gates_hold),
            adjusted[index] if together and index in adjusted else None,
            len(tested),
        )
        for index, finding in enumerate(measured)
    ]


def _finding(finding: Finding, verdict: Verdict, adjusted_p: float | None, claims: int) -> Finding:
    """`finding` with its verdict and, if its p-value was adjusted, the numbers of that."""
    if finding.estimate is None or adjusted_p is None:
        return replace(finding, verdict=verdict)
    return replace(
        finding,
        verdict=verdict,
        adjusted_p=adjusted_p,
        adjusted_interval=bonferroni_interval(finding.estimate, claims),
    )


def _measured(contrast: Contrast, outcomes: Sequence[Outcome]) -> Finding:
    """A contrast's numbers, not judged yet."""
    by_seed = differences(contrast, outcomes)
    # A single difference has no spread, so there is no interval to judge by.
    measured = estimate(list(by_seed.values())) if len(by_seed) > 1 else None
    without = tuple(unmeasured(contrast, outcomes))
    p = None
    if measured and contrast.each_seed is None and not without:
        p = p_value(measured, contrast.margin(measured.mean))
    return Finding(contrast, by_seed, measured, "not shown", p, unmeasured=without)


def _verdict(
    experiment: Experiment,
    finding: Finding,
    outcomes: Sequence[Outcome],
    p: float,
    gates_hold: bool,
) -> Verdict:
    # Whatever the numbers say: the claim does not apply without the precondition.
    if not gates_hold:
        return "precondition not met"
    if finding.contrast.each_seed:
        return _verdict_of_each_seed(finding.contrast, experiment.seeds, outcomes)
    return _verdict_over_seeds(finding.contrast, finding.estimate, p)


def _verdict_over_seeds(contrast: Contrast, measured: Estimate | None, p: float) -> Verdict:
    """`shown` or `reversed` by the side of the bound, unless p is too high for either.

    `not shown` does not mean that there is no difference.
    """
    if measured is None or p > ERROR_RATE:
        return "not shown"
    return "reversed" if contrast.margin(measured.mean) < 0 else _shown(contrast, measured.mean)


def _verdict_of_each_seed(
    contrast: Contrast, seeds: Sequence[int], outcomes: Sequence[Outcome]
) -> Verdict:
    """`shown` if each of the planned seeds meets the bound, `reversed` if each is below it."""
    by_seed = changes(contrast, outcomes)
    if not set(seeds) <= by_seed.keys():
        return "not shown"
    sides = {_side_of_bound(contrast, by_seed[seed]) for seed in seeds}
    if sides == {1}:
        return _shown(contrast, sum(by_seed[seed].difference for seed in seeds) / len(seeds))
    return "reversed" if sides == {-1} else "not shown"


def _side_of_bound(contrast: Contrast, change: Change) -> int:
    """1 if a seed's change meets the bound, −1 if it is below, 0 if its interval holds it."""
    if contrast.each_seed == "difference":
        # Rounded, because a loss of exactly the bound is allowed and sums are not exact.
        return 1 if round(change.difference - contrast.above, 9) >= 0 else -1
    return (change.low > contrast.above) - (change.high < contrast.above)


def _shown(contrast: Contrast, mean: float) -> Verdict:
    # What matters of “no worse” and “equal” is their bound.
    if contrast.kind != "higher" or contrast.interest is None:
        return "shown"
    # Rounded, because a mean of exactly what is of interest is not smaller and sums are not exact.
    is_smaller = round(mean - contrast.above - contrast.interest, 9) < 0
    return "shown, smaller than of interest" if is_smaller else "shown"


def _about(contrast: Contrast) -> str:
    return ("in each seed, " if contrast.each_seed else "") + ABOUT[contrast.kind]
