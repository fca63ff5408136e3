"""The problem pool: how pass rates are estimated and turned into problem weights (PACED, arXiv
2603.11178).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from trainer.spec.base import Section, option
from trainer.spec.sampling import Sampling

PACED = "PACED, arXiv 2603.11178"


class PacedWeights(Section):
    """w(p) = p^α (1 − p)^β: problems at the frontier of what the student can do count most."""

    kind: Literal["paced"] = "paced"
    alpha: float = option(
        1.0,
        title="α",
        help="Exponent of p. Larger moves weight to easier problems.",
        ge=0,
        le=16,
        paper=PACED,
    )
    beta: float = option(
        1.0,
        title="β",
        help="Exponent of 1 − p. Larger moves weight to harder problems.",
        ge=0,
        le=16,
        paper=PACED,
    )
    floor: float = option(
        0.0,
        title="Floor",
        help="Added to every weight, so that no problem is dropped for good.",
        ge=0,
        le=1,
        expert=True,
    )


class UniformWeights(Section):
    """Every problem counts the same; pass rates are measured but not used."""

    kind: Literal["uniform"] = "uniform"


class HardFilterWeights(Section):
    """Problems with a pass rate inside the interval count the same, all others are dropped."""

    kind: Literal["hard_filter"] = "hard_filter"
    low: float = option(
        0.125, title="Lowest pass rate", help="Problems below are dropped.", ge=0, le=1
    )
    high: float = option(
        0.875, title="Highest pass rate", help="Problems above are dropped.", ge=0, le=1
    )

    @model_validator(mode="after")
    def _ordered(self) -> HardFilterWeights:
        if self.low > self.high:
            raise ValueError(
                f"low ({self.low}) must not be above high ({self.high}), or every problem is dropped"
            )
        return self


Weighting = Annotated[
    PacedWeights | UniformWeights | HardFilterWeights, Field(discriminator="kind")
]


class Pool(Section):
    """Stage 0: the student's pass rate on every problem, and what follows from it."""

    estimate: Literal["before", "never"] = option(
        "before",
        title="Pass rates",
        help="before: the student answers every problem before training. never: no stage 0; all problems count the same.",
    )
    rollouts_per_problem: int = option(
        8,
        title="Rollouts per problem (K)",
        help="Student answers that a pass rate is estimated from.",
        ge=1,
        le=1024,
        paper=PACED,
    )
    sampling: Sampling = option(
        title="Sampling",
        help="How the answers that estimate a pass rate are drawn.",
        factory=Sampling,
    )
    weighting: Weighting = option(
        title="Problem weights", help="What a pass rate makes of a problem.", factory=PacedWeights
    )
    normalisation: Literal["pool", "batch_self_norm"] = option(
        "pool",
        title="Weight normalisation",
        help="pool: weights have mean 1 over the kept pool. batch_self_norm: divided by their sum in each batch (ablation).",
        expert=True,
    )
    refresh: Literal["never", "each_stage", "every"] = option(
        "never",
        title="Refresh pass rates",
        help="Estimate pass rates again, of dropped problems too.",
        paper=PACED,
    )
    refresh_every: int = option(
        100,
        title="Refresh every",
        help="Only for the choice `every`.",
        unit="steps",
        ge=1,
        expert=True,
    )
    track_problems: int = option(
        128,
        title="Tracked problems",
        help="A fixed sample of the pool whose pass rates are followed at each evaluation, for the frontier chart. 0 turns it off.",
        unit="problems",
        ge=0,
        le=100_000,
    )
    measure_snr: bool = option(
        False,
        title="Measure gradient SNR",
        help="Signal-to-noise ratio of the gradient against pass rate, on rollouts other than those that estimate p.",
        expert=True,
    )
