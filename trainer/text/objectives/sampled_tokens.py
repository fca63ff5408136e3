"""What the loss of a sampled token is computed from, for objectives that are no divergence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from trainer.spec import Need, Objective
from trainer.text.mechanisms import CodeError


@dataclass(frozen=True)
class SampledTokens:
    """K tokens of answers, in nats; only `logprob`, that of the student, carries a gradient, [K].

    `advantages`, `old_logprob` (under the weights that sampled the token) and `teacher_logprob` are
    given to objectives that declare `Need.GROUP_VERDICTS`, `Need.OLD_LOGPROB` and
    `Need.TEACHER_LOGPROB`, and raise CodeError for others. All log-probs are at the temperature
    that the tokens were sampled at.
    """

    logprob: Tensor
    objective: Objective
    column: Callable[[str], Tensor]

    @property
    def advantages(self) -> Tensor:
        return self._needed(Need.GROUP_VERDICTS, "advantages")

    @property
    def old_logprob(self) -> Tensor:
        return self._needed(Need.OLD_LOGPROB, "anchor_logprobs")

    @property
    def teacher_logprob(self) -> Tensor:
        return self._needed(Need.TEACHER_LOGPROB, "teacher_logprobs")

    def _needed(self, need: Need, name: str) -> Tensor:
        if need not in self.objective.needs:
            raise CodeError(
                f"the objective {self.objective.kind} uses {need.value}; add Need.{need.name} to "
                "the needs of its declaration"
            )
        return self.column(name)


@dataclass(frozen=True)
class TokenLoss:
    """The loss of each token [K], to be minimised, and whether its ratio was clipped, bool [K]."""

    loss: Tensor
    clipped: Tensor | None = None
