"""What the loss of a sampled token is computed from, for objectives that are no divergence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from trainer.spec import Need, Objective
from trainer.spec.objectives.objective import Write
from trainer.text.mechanisms import CodeError


@dataclass(frozen=True)
class SampledTokens:
    """K tokens of answers, in nats; only `logprob`, that of the student, carries a gradient, [K].

    `advantages`, `old_logprob` (under the weights that sampled the token), `teacher_logprob` and
    `reference_logprob` are given to objectives that declare `Need.GROUP_VERDICTS`,
    `Need.OLD_LOGPROB`, `Need.TEACHER_LOGPROB` and `Need.REFERENCE_LOGPROB`, and raise CodeError for
    others. All log-probs are at the temperature that the tokens were sampled at. `rows` numbers the
    answer of each token. `shaped` has what a shaper may have changed. `column` gives a column of
    the rows by its name; None if no row has it.
    """

    logprob: Tensor
    objective: Objective
    column: Callable[[str], Tensor | None]
    rows: Tensor

    @property
    def advantages(self) -> Tensor:
        return self._needed(Need.GROUP_VERDICTS, "advantages")

    @property
    def old_logprob(self) -> Tensor:
        return self._needed(Need.OLD_LOGPROB, "anchor_logprobs")

    @property
    def teacher_logprob(self) -> Tensor:
        return self._needed(Need.TEACHER_LOGPROB, "teacher_logprobs")

    @property
    def reference_logprob(self) -> Tensor:
        return self._needed(Need.REFERENCE_LOGPROB, "reference_logprobs")

    def shaped(self, write: Write) -> Tensor | None:
        """Return what shapers give the tokens [K]; None if no shaper of the stage writes it."""
        return self.column(write)

    def _needed(self, need: Need, name: str) -> Tensor:
        if need not in self.objective.requirements:
            raise CodeError(
                f"the objective {self.objective.kind} uses {need.value}; add Need.{need.name} to "
                "the needs of its declaration"
            )
        column = self.column(name)
        assert column is not None
        return column


@dataclass(frozen=True)
class TokenLoss:
    """The loss of each token [K], to be minimised, and how its ratio was clipped, [K].

    `clipped` has the kinds of `trainer.text.objectives.surrogates.ClipKind`.
    """

    loss: Tensor
    clipped: Tensor | None = None
