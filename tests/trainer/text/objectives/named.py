"""Each divergence as a function of the logits, teacher first, and of its settings."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from trainer.spec import JSD, AdaptiveKL, ForwardKL, ReverseKL, SkewedKL
from trainer.text.objectives.divergences import divergence_of, log_softmax


def forward_kl(teacher: Tensor, student: Tensor, **settings: Any) -> Tensor:
    return divergence_of(ForwardKL(**settings), teacher, student)


def reverse_kl(teacher: Tensor, student: Tensor, **settings: Any) -> Tensor:
    return divergence_of(ReverseKL(**settings), teacher, student)


def jsd(teacher: Tensor, student: Tensor, beta: float, **settings: Any) -> Tensor:
    return divergence_of(JSD(beta=beta, **settings), teacher, student)


def skewed_kl(teacher: Tensor, student: Tensor, alpha: float, direction: str = "forward") -> Tensor:
    settings: Any = {"alpha": alpha, "direction": direction}
    return divergence_of(SkewedKL(**settings), teacher, student)


def adaptive_kl(teacher: Tensor, student: Tensor, head_mass: float) -> Tensor:
    return divergence_of(AdaptiveKL(head_mass=head_mass), teacher, student)


def entropy(logits: Tensor) -> Tensor:
    log_p = log_softmax(logits, 1.0)
    return -(log_p.exp() * log_p).sum(-1)
