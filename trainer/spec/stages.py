"""The stages of a run: what is trained on, against what, and for how long."""

from __future__ import annotations

from typing import Literal

from trainer.spec.base import Section, Slug, option
from trainer.spec.objectives import Objective, ReverseKL
from trainer.spec.rollouts import Rollouts
from trainer.spec.tokens import AllTokens, Tokens


class Optimiser(Section):
    """AdamW with linear warm-up and decay inside the stage."""

    learning_rate: float = option(
        1e-3, title="Learning rate", help="Highest rate of the stage.", gt=0, le=1
    )
    final_share: float = option(
        0.1,
        title="Final share",
        help="Rate at the stage's end as a share of the highest; 1 keeps it constant.",
        ge=0,
        le=1,
        expert=True,
    )
    warmup_steps: int = option(
        0, title="Warm-up", help="The rate rises linearly over these steps.", unit="steps", ge=0
    )
    weight_decay: float = option(
        0.0, title="Weight decay", help="AdamW's decoupled decay.", ge=0, le=1, expert=True
    )
    clip_norm: float = option(
        1.0, title="Clip norm", help="The gradient's norm is cut to this.", gt=0, expert=True
    )
    state: Literal["carry_on", "reset"] = option(
        "carry_on",
        title="Optimiser state",
        help="Whether this stage goes on with the moments of the one before.",
        expert=True,
    )


class Until(Section):
    """When a stage ends."""

    steps: int = option(
        100, title="Steps", help="Optimiser steps of this stage.", unit="steps", ge=1, le=10_000_000
    )


class Stage(Section):
    """One leg of the run."""

    name: Slug = option(title="Name", help="Shown on the charts where the stage begins.")
    source: Literal["teacher_written", "student_rollouts", "solutions"] = option(
        "student_rollouts",
        title="Trained on",
        help="teacher_written: one answer to each problem that the teacher wrote before the stage. "
        "student_rollouts: fresh answers of the student in each step. solutions: the worked solutions of the data.",
    )
    rollouts: Rollouts = option(
        title="Rollouts", help="How answers are made and judged.", factory=Rollouts
    )
    objective: Objective = option(
        title="Objective", help="What is minimised at each token.", factory=ReverseKL
    )
    tokens: Tokens = option(
        title="Tokens", help="Which tokens of an answer are learnt from.", factory=AllTokens
    )
    problems_per_step: int = option(
        16, title="Problems per step", help="Batch size B.", ge=1, le=65_536
    )
    reduction: Literal["sequence_mean", "token_mean", "sequence_sum", "fixed"] = option(
        "sequence_mean",
        title="Reduction",
        help="sequence_mean: every answer counts the same. token_mean: every token does. sequence_sum: answers count by their length. "
        "fixed: the sum over tokens is divided by what the longest answers would have.",
        expert=True,
    )
    optimiser: Optimiser = option(title="Optimiser", help="AdamW.", factory=Optimiser)
    until: Until = option(title="Until", help="When the stage ends.", factory=Until)
