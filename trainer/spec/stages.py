"""The stages of a run: source of answers, objective, tokens, optimiser and number of steps."""

from __future__ import annotations

from typing import Literal

from trainer.spec.base import Section, Slug, option
from trainer.spec.objectives import AnyObjective
from trainer.spec.objectives.objective import TEACHER_NEEDS, Need
from trainer.spec.objectives.reverse_kl import ReverseKL
from trainer.spec.pairs import Pairs
from trainer.spec.rollouts import Rollouts
from trainer.spec.shapers import Shapers
from trainer.spec.tokens import AllTokens, Tokens


class Optimiser(Section):
    """AdamW with linear warm-up and linear decay in each stage."""

    learning_rate: float = option(
        1e-3, title="Learning rate", help="Highest learning rate of the stage.", gt=0, le=1
    )
    final_share: float = option(
        0.1,
        title="Final share",
        help="Learning rate at the end of the stage as a share of the highest; 1: constant.",
        ge=0,
        le=1,
        expert=True,
    )
    warmup_steps: int = option(
        0,
        title="Warm-up",
        help="Updates over which the learning rate rises linearly; a step has one update unless "
        "the stage says otherwise.",
        unit="updates",
        ge=0,
    )
    weight_decay: float = option(
        0.0, title="Weight decay", help="AdamW's decoupled decay.", ge=0, le=1, expert=True
    )
    clip_norm: float = option(
        1.0, title="Clip norm", help="Largest norm of the gradient.", gt=0, expert=True
    )
    beta1: float = option(
        0.9,
        title="β₁",
        help="AdamW's decay of the mean gradient.",
        ge=0,
        lt=1,
        expert=True,
    )
    beta2: float = option(
        0.999,
        title="β₂",
        help="AdamW's decay of the mean squared gradient.",
        ge=0,
        lt=1,
        expert=True,
    )
    not_finite: Literal["stop", "skip"] = option(
        "stop",
        title="Gradient that is no number",
        help="What follows if a loss or its gradient is NaN or infinite. stop: the run ends. skip: "
        "the update is left out, up to ten in a row.",
        expert=True,
    )
    state: Literal["carry_on", "reset"] = option(
        "carry_on",
        title="Optimiser state",
        help="carry_on: keep the moments of the previous stage. reset: discard them.",
        expert=True,
    )


class Until(Section):
    """The length of a stage."""

    steps: int = option(
        100,
        title="Steps",
        help="Steps of the stage. Each draws problems, gets their answers and learns from them.",
        unit="steps",
        ge=1,
        le=10_000_000,
    )


class Stage(Section):
    """One stage of training."""

    name: Slug = option(title="Name", help="Name of the stage, shown in charts at its first step.")
    source: Literal["teacher_written", "student_rollouts", "solutions", "pairs"] = option(
        "student_rollouts",
        title="Source of answers",
        help="teacher_written: answers of the teacher to each problem, written before the stage. "
        "student_rollouts: new answers of the student in each step. solutions: the worked "
        "solutions of the data. pairs: chosen and rejected answers, written before the stage.",
    )
    pairs: Pairs = option(
        title="Preference pairs",
        help="Where the answers of the pairs come from.",
        factory=Pairs,
        subheading=True,
        when={"source": ("pairs",)},
    )
    rollouts: Rollouts = option(
        title="Rollouts",
        help="How the student's answers are generated and judged.",
        factory=Rollouts,
        subheading=True,
    )
    objective: AnyObjective = option(
        title="Objective", help="Loss at each token.", factory=ReverseKL
    )
    shapers: Shapers = option(
        title="Shapers",
        help="What changes the advantages, clip ranges, ratios and weights of a ratio objective.",
        factory=Shapers,
        expert=True,
        subheading=True,
    )
    tokens: Tokens = option(
        title="Tokens", help="Tokens of an answer that are trained on.", factory=AllTokens
    )
    problems_per_step: int = option(
        16, title="Problems per step", help="Problems in a batch (B).", ge=1, le=65_536
    )
    # PPO's names. Both are 1 in the distillation systems and APRIL, where ratios are 1 at each
    # update.
    inner_epochs: int = option(
        1,
        title="Inner epochs",
        help="How often a step learns from its answers. The log-probs of the weights that sampled "
        "them stay those of the ratios.",
        ge=1,
        le=64,
        expert=True,
    )
    minibatches: int = option(
        1,
        title="Minibatches",
        help="Updates in each inner epoch. The problems of the step are divided among them at "
        "random.",
        ge=1,
        le=65_536,
        expert=True,
    )
    # The default is Equation 6 of OPSD: the mean over an answer's tokens, then over answers.
    reduction: Literal["sequence_mean", "token_mean", "sequence_sum", "fixed"] = option(
        "sequence_mean",
        title="Reduction",
        help="sequence_mean: each answer has the same weight. token_mean: each token has. "
        "sequence_sum: the weight of an answer is its length. "
        "fixed: the sum over tokens is divided by the number of tokens of answers of full length.",
        expert=True,
    )
    renormalise_by_kept: bool = option(
        False,
        title="Means over kept answers",
        help="On: answers without any token that is trained on are left out of the means over "
        "answers and problems. Off: they count as answers with a loss of 0.",
        expert=True,
    )
    optimiser: Optimiser = option(
        title="Optimiser", help="Settings of AdamW.", factory=Optimiser, subheading=True
    )
    until: Until = option(title="Length", help="Length of the stage.", factory=Until)

    @property
    def uses_teacher_answers(self) -> bool:
        """Whether the teacher writes answers for this stage."""
        return self.source == "teacher_written" or (
            self.source == "pairs"
            and self.pairs.chosen == "teacher"
            and self.pairs.rejected != "column"
        )

    @property
    def uses_solutions(self) -> bool:
        """Whether the student learns from the worked solutions of the data."""
        return self.source == "solutions" or (
            self.source == "pairs" and self.pairs.chosen == "solutions"
        )

    @property
    def reads_pairs(self) -> bool:
        """Whether both answers of its pairs are in the teacher's file."""
        return self.source == "pairs" and self.pairs.rejected == "column"

    @property
    def student_answers_before(self) -> bool:
        """Whether the student answers the problems once, before the stage or the run."""
        return self.source == "pairs" and self.pairs.rejected != "column"

    @property
    def updates_per_step(self) -> int:
        return self.inner_epochs * self.minibatches

    @property
    def updates(self) -> int:
        """The number of updates of the whole stage."""
        return self.until.steps * self.updates_per_step

    @property
    def requirements(self) -> frozenset[Need]:
        """What the objective and the shapers compute from."""
        return self.objective.requirements.union(
            *(shaper.requirements for shaper in self.shapers.chosen)
        )

    def describe_objective(self) -> str:
        """Return what is minimised, and how it is shaped, as part of a sentence."""
        parts = (self.objective, *self.shapers.chosen)
        return ", ".join(part.describe() for part in parts)

    @property
    def compares_with_teacher(self) -> bool:
        """Whether it needs probabilities of a teacher that the trainer has loaded."""
        return bool(self.requirements & TEACHER_NEEDS)

    @property
    def logit_temperature(self) -> float:
        """The temperature that divides the logits of all models in the loss."""
        # A mean over sampled tokens is a mean under the law that they were sampled from.
        if self.objective.estimates_from_samples:
            return self.rollouts.generate.sampling.temperature
        return self.objective.logit_temperature
