"""The stages of a run: what is trained on, against what, and for how long."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainer.spec.base import Section, Slug, option
from trainer.spec.sampling import Sampling


class PlainGenerate(Section):
    """N independent answers to each problem."""

    kind: Literal["plain"] = "plain"
    per_problem: int = option(1, title="Answers per problem", help="Student rollouts of each problem in a step.", ge=1, le=1024)
    sampling: Sampling = option(title="Sampling", help="How answers are drawn.", factory=Sampling)


class VerifierFilter(Section):
    """Every answer gets a verdict; none is removed."""

    kind: Literal["verifier"] = "verifier"


class FixedControl(Section):
    """The same number of answers for each problem; all are waited for."""

    kind: Literal["fixed"] = "fixed"


class NoReplay(Section):
    """Nothing is kept for a later round."""

    kind: Literal["none"] = "none"


class Rollouts(Section):
    """The four rooms that a rollout passes."""

    generate: PlainGenerate = option(title="Generate", help="How answers are made.", factory=PlainGenerate)
    filter: VerifierFilter = option(title="Filter", help="How answers are judged.", factory=VerifierFilter, expert=True)
    control: FixedControl = option(title="Control", help="How many answers each problem gets.", factory=FixedControl, expert=True)
    replay: NoReplay = option(title="Replay", help="What is kept for later.", factory=NoReplay, expert=True)


class ForwardKL(Section):
    """KL(teacher ‖ student): covers all that the teacher would say."""

    kind: Literal["forward_kl"] = "forward_kl"
    temperature: float = option(1.0, title="Temperature", help="Divides the logits of both models.", gt=0, le=10, expert=True)


class ReverseKL(Section):
    """KL(student ‖ teacher): avoids what the teacher would not say."""

    kind: Literal["reverse_kl"] = "reverse_kl"
    temperature: float = option(1.0, title="Temperature", help="Divides the logits of both models.", gt=0, le=10, expert=True)


Objective = Annotated[ForwardKL | ReverseKL, Field(discriminator="kind")]


class Optimiser(Section):
    """AdamW with linear warm-up and decay inside the stage."""

    learning_rate: float = option(1e-3, title="Learning rate", help="Highest rate of the stage.", gt=0, le=1)
    final_share: float = option(
        0.1, title="Final share", help="Rate at the stage's end as a share of the highest; 1 keeps it constant.", ge=0, le=1, expert=True
    )
    warmup_steps: int = option(0, title="Warm-up", help="The rate rises linearly over these steps.", unit="steps", ge=0)
    weight_decay: float = option(0.0, title="Weight decay", help="AdamW's decoupled decay.", ge=0, le=1, expert=True)
    clip_norm: float = option(1.0, title="Clip norm", help="The gradient's norm is cut to this.", gt=0, expert=True)
    state: Literal["carry_on", "reset"] = option(
        "carry_on", title="Optimiser state", help="Whether this stage goes on with the moments of the one before.", expert=True
    )


class Until(Section):
    """When a stage ends."""

    steps: int = option(100, title="Steps", help="Optimiser steps of this stage.", unit="steps", ge=1, le=10_000_000)


class Stage(Section):
    """One leg of the run."""

    name: Slug = option(title="Name", help="Shown on the charts where the stage begins.")
    source: Literal["teacher_written", "student_rollouts"] = option(
        "student_rollouts",
        title="Trained on",
        help="teacher_written: one answer to each problem that the teacher wrote before the stage. "
        "student_rollouts: fresh answers of the student in each step.",
    )
    rollouts: Rollouts = option(title="Rollouts", help="How answers are made and judged.", factory=Rollouts)
    objective: Objective = option(title="Objective", help="The divergence that is minimised.", factory=ReverseKL)
    problems_per_step: int = option(16, title="Problems per step", help="Batch size B.", ge=1, le=65_536)
    reduction: Literal["sequence_mean", "token_mean"] = option(
        "sequence_mean",
        title="Reduction",
        help="sequence_mean: every answer counts the same. token_mean: every token does.",
        expert=True,
    )
    optimiser: Optimiser = option(title="Optimiser", help="AdamW.", factory=Optimiser)
    until: Until = option(title="Until", help="When the stage ends.", factory=Until)
