"""Direct preference optimisation (DPO, arXiv 2305.18290, eq. 7).

    z = β [(log π(y⁺) − log π_ref(y⁺)) − (log π(y⁻) − log π_ref(y⁻))]
    loss = −(1 − ε) log σ(z) − ε log σ(−z)

Log-probs of answers are **sums** over their tokens. ε is the label smoothing; 0 is the published
loss. With π = π_ref the loss is ln 2, and its gradient is −β (½ − ε)(∇ log π(y⁺) − ∇ log π(y⁻)).
Only the difference of both log-ratios counts, so that a constant added to both changes nothing.

Shapes: P pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import logsigmoid

from trainer.spec import DPO


@dataclass(frozen=True)
class PairLogprobs:
    """Log-probs of both answers of each pair, in nats, [P] each; `chosen` and `rejected` of the
    student carry the gradient."""

    chosen: Tensor
    rejected: Tensor
    reference_chosen: Tensor
    reference_rejected: Tensor


def loss(objective: DPO, pairs: PairLogprobs) -> Tensor:
    """Return the loss of each pair, [P], to be minimised."""
    logit_P, smoothing = margin(objective, pairs), objective.label_smoothing
    return -(1 - smoothing) * logsigmoid(logit_P) - smoothing * logsigmoid(-logit_P)


def margin(objective: DPO, pairs: PairLogprobs) -> Tensor:
    """Return the difference of the implicit rewards β log(π / π_ref), [P]; z above."""
    chosen_P = pairs.chosen - pairs.reference_chosen
    rejected_P = pairs.rejected - pairs.reference_rejected
    return objective.beta * (chosen_P - rejected_P)
