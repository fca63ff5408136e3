"""What the loss of a sampled token is computed from, for objectives that are no divergence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class SampledTokens:
    """K tokens of answers, in nats; only `logprob`, that of the student, carries a gradient, [K].

    `advantages`, `old_logprob` (under the weights that sampled the token) and `teacher_logprob` are
    given to objectives that need them, and raise ValueError for others. All log-probs are at the
    objective's temperature.
    """

    logprob: Tensor
    column: Callable[[str], Tensor]

    @property
    def advantages(self) -> Tensor:
        return self.column("advantages")

    @property
    def old_logprob(self) -> Tensor:
        return self.column("anchor_logprobs")

    @property
    def teacher_logprob(self) -> Tensor:
        return self.column("teacher_logprobs")


@dataclass(frozen=True)
class TokenLoss:
    """The loss of each token [K], to be minimised, and whether its ratio was clipped, bool [K]."""

    loss: Tensor
    clipped: Tensor | None = None
