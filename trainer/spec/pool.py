"""The problem pool: pass rates and the problem weights that follow from them.

Source: PACED, arXiv 2603.11178.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from trainer.spec.base import Section, option
from trainer.spec.sampling import Sampling

PACED = "PACED, arXiv 2603.11178"


class PacedWeights(Section):
    """w(p) = p^α (1 − p)^β: problems that the student solves sometimes have the largest weight."""

    kind: Literal["paced"] = "paced"
    # α = β = 1 is what version 3 of the paper fixes; earlier versions leave both open. The largest
    # weight is at p = α / (α + β).
    alpha: float = option(
        1.0,
        title="α",
        help="Exponent of p. A larger α moves weight to easier problems.",
        ge=0,
        le=16,
        paper=PACED,
    )
    beta: float = option(
        1.0,
        title="β",
        help="Exponent of 1 − p. A larger β moves weight to harder problems.",
        ge=0,
        le=16,
        paper=PACED,
    )
    # p = 0 has weight 0, so without a floor or a refresh an unsolved problem stays dropped.
    floor: float = option(
        0.0,
        title="Floor",
        help="Added to every weight, so that no problem is dropped forever.",
        ge=0,
        le=1,
        expert=True,
    )


class UniformWeights(Section):
    """All problems have the same weight; pass rates are measured but not used."""

    kind: Literal["uniform"] = "uniform"


class HardFilterWeights(Section):
    """Problems with a pass rate in the interval have the same weight, all others are dropped."""

    kind: Literal["hard_filter"] = "hard_filter"
    # The paper leaves the thresholds open. At K = 8 these drop only the pass rates 0 and 1.
    low: float = option(
        0.125, title="Lowest pass rate", help="Problems below it are dropped.", ge=0, le=1
    )
    high: float = option(
        0.875, title="Highest pass rate", help="Problems above it are dropped.", ge=0, le=1
    )

    @model_validator(mode="after")
    def _ordered(self) -> HardFilterWeights:
        if self.low > self.high:
            raise ValueError(
                f"low ({self.low}) must not be above high ({self.high}), or every problem is "
                f"dropped"
            )
        return self


Weighting = Annotated[
    PacedWeights | UniformWeights | HardFilterWeights, Field(discriminator="kind")
]


class Pool(Section):
    """Stage 0: the student's pass rate on every problem, and the problem weights."""

    estimate: Literal["before", "never"] = option(
        "before",
        title="Pass rates",
        help="before: the student answers every problem before training. never: no stage 0; all "
        "problems have the same weight.",
    )
    rollouts_per_problem: int = option(
        8,
        title="Rollouts per problem (K)",
        help="Answers of the student from which a pass rate is estimated.",
        ge=1,
        le=1024,
        paper=PACED,
    )
    sampling: Sampling = option(
        title="Sampling",
        help="Sampling of the answers for pass rates.",
        factory=Sampling,
        subheading=True,
    )
    weighting: Weighting = option(
        title="Problem weights",
        help="Weight of a problem as a function of its pass rate.",
        factory=PacedWeights,
    )
    # With mean 1 over the pool, the size of a step does not depend on which problems are in a
    # batch.
    normalisation: Literal["pool", "batch_self_norm"] = option(
        "pool",
        title="Weight normalisation",
        help="pool: weights have mean 1 over the pool without dropped problems. batch_self_norm: "
        "divided by their sum in each batch (ablation).",
        expert=True,
        when={"estimate": ("before",)},
    )
    # The paper estimates pass rates once; every further estimate costs K answers to each problem.
    refresh: Literal["never", "each_stage", "every"] = option(
        "never",
        title="Pass-rate refresh",
        help="When pass rates are estimated again, those of dropped problems too.",
        paper=PACED,
        when={"estimate": ("before",)},
    )
    refresh_every: int = option(
        100,
        title="Refresh interval",
        help="Only for the refresh `every`.",
        unit="steps",
        ge=1,
        expert=True,
        when={"refresh": ("every",)},
    )
    track_problems: int = option(
        128,
        title="Tracked problems",
        help="Size of a fixed sample of the pool whose pass rates are measured at each "
        "evaluation, for the frontier chart. 0: none.",
        unit="problems",
        ge=0,
        le=100_000,
    )
    # On other rollouts, because p estimated from the same ones is correlated with their gradients.
    measure_snr: bool = option(
        False,
        title="Gradient SNR",
        help="Measure the signal-to-noise ratio of the gradient by pass rate, on other rollouts "
        "than those that estimate p.",
        expert=True,
        when={"estimate": ("before",)},
    )
