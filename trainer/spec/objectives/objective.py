"""What every objective declares, so that rules, texts and the trainer need not know which it is."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Literal

from trainer.spec.mechanisms import Mechanism


class Need(StrEnum):
    """What an objective computes the loss of a token from."""

    STUDENT_LOGITS = "the student's distribution over the vocabulary"
    TEACHER_LOGITS = "the teacher's distribution over the vocabulary"
    TEACHER_LOGPROB = "the teacher's log-prob of the sampled token"
    OLD_LOGPROB = "the log-prob of the sampled token under the weights that sampled it"
    REFERENCE_LOGPROB = "the log-prob of the sampled token under the weights at the stage's start"
    GROUP_VERDICTS = "the verdicts on all answers to the problem"


# What only a teacher with probabilities gives.
TEACHER_NEEDS = frozenset({Need.TEACHER_LOGITS, Need.TEACHER_LOGPROB})


class Write(StrEnum):
    """What a shaper may change of an answer, by the name of what it returns.

    RATIO_OFFSETS are γ of the ratio π / (sg[π] + γ), which takes the place of the clipped ratio
    wherever it is not NaN (`trainer.text.objectives.surrogates`).
    """

    ADVANTAGES = "advantages"
    CLIP_LOW = "clip_low"
    CLIP_HIGH = "clip_high"
    RATIO_OFFSETS = "ratio_offsets"
    IMPORTANCE_WEIGHTS = "importance_weights"
    ROW_WEIGHT = "row_weight"


class Objective(Mechanism):
    """The loss at each token.

    `function` is a `TokenLoss` (`trainer.text.objectives.sampled_tokens`); a divergence declares
    its entries instead (`Divergence`), and DPO's gives the loss of each pair. `answers` says what
    it learns from: any answers, the student's own, given ones, or pairs of a chosen and a rejected
    answer. `edited_answers` says whether an answer may be changed after it was sampled, as CaOPD
    does: the log-probs of its tokens are then unknown. `shaped_by` are the changes of shapers that
    its loss follows.
    """

    REQUIRED = ("function", "needs")
    needs: ClassVar[frozenset[Need]]
    answers: ClassVar[Literal["any", "own", "given", "pairs"]] = "any"
    edited_answers: ClassVar[bool] = False
    shaped_by: ClassVar[frozenset[Write]] = frozenset()

    @property
    def requirements(self) -> frozenset[Need]:
        """`needs`, with what these settings need besides."""
        return self.needs

    @property
    def learns_by_advantage_alone(self) -> bool:
        """Whether an answer whose advantages are 0 has no gradient, if it has advantages."""
        return True

    @property
    def compares_with_teacher(self) -> bool:
        """Whether it needs probabilities of a teacher that the trainer has loaded."""
        return bool(self.requirements & TEACHER_NEEDS)

    @property
    def standardises_advantages(self) -> bool:
        """Whether advantages are divided by the standard deviation of their group."""
        return bool(getattr(self, "standardise", False))

    @property
    def estimates_from_samples(self) -> bool:
        """Whether its loss is a mean over tokens that the student has sampled.

        Its gradient is right only for log-probs under the law that they were sampled from.
        """
        return self.answers == "own" or Need.OLD_LOGPROB in self.needs

    @property
    def logit_temperature(self) -> float:
        """The temperature setting, which divides the logits of both models."""
        return float(getattr(self, "temperature", 1.0))
