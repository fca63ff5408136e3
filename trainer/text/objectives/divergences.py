"""Divergences between the next-token distributions of teacher and student, straight from their definitions.

With p = softmax(z / τ) of the teacher's (T) and the student's (S) logits z, in nats, no factor τ²:

    forward KL   KL(p_T ‖ p_S) = Σ_v p_T (log p_T − log p_S)     covers all that the teacher would say
    reverse KL   KL(p_S ‖ p_T) = Σ_v p_S (log p_S − log p_T)     avoids what the teacher would not say

Logits are [T, V], results [T]. These are for small vocabularies and as the reference that `linear_divergence` is tested against.
"""

from __future__ import annotations

from torch import Tensor


def forward_kl(teacher_logits_TV: Tensor, student_logits_TV: Tensor, temperature: float = 1.0) -> Tensor:
    return _kl(teacher_logits_TV / temperature, student_logits_TV / temperature)


def reverse_kl(teacher_logits_TV: Tensor, student_logits_TV: Tensor, temperature: float = 1.0) -> Tensor:
    return _kl(student_logits_TV / temperature, teacher_logits_TV / temperature)


def entropy(logits_TV: Tensor) -> Tensor:
    log_p_TV = logits_TV.log_softmax(-1)
    return -(log_p_TV.exp() * log_p_TV).sum(-1)


def _kl(from_TV: Tensor, to_TV: Tensor) -> Tensor:
    log_p_TV = from_TV.log_softmax(-1)
    return (log_p_TV.exp() * (log_p_TV - to_TV.log_softmax(-1))).sum(-1)
