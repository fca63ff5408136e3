"""The problem pool: pass rates and the problem weights that follow from them.

Source: PACED, arXiv 2603.11178.
"""

from __future__ import annotations

from typing import Literal

from trainer.spec.base import Section, option
from trainer.spec.sampling import Sampling
from trainer.spec.weightings import AnyWeighting
from trainer.spec.weightings.paced import PacedWeights

PACED = "PACED, arXiv 2603.11178"


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
    weighting: AnyWeighting = option(
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
