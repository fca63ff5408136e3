"""Distributions over the likeliest tokens alone: which tokens, the logits that are left, and the
way back of a gradient.

With k ids chosen per position the logits that are left are those of the ids and, for rest="tail",
log Σ exp of all others: softmax of these k + 1 numbers is the distribution with its tail added up.
rest="renormalise" drops the others.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from trainer.spec.objectives import AllLogits, TopLogits

Rest = Literal["renormalise", "tail"]


def top_ids(
    vocabulary: AllLogits | TopLogits, teacher_TV: Tensor, student_TV: Tensor
) -> Tensor | None:
    """Ids [T, k] of the likeliest tokens of the model that is asked for; None where all are
    compared. Logits or log-probs will do.
    """
    if isinstance(vocabulary, AllLogits) or vocabulary.k >= teacher_TV.shape[-1]:
        return None
    return (teacher_TV if vocabulary.of == "teacher" else student_TV).topk(vocabulary.k).indices


def restrict(logits_TV: Tensor, ids_TK: Tensor, tail_mode: Rest) -> Tensor:
    """Logits that are left, [T, k] or, with the tail last, [T, k + 1]."""
    top_TK = logits_TV.gather(1, ids_TK)
    if tail_mode == "renormalise":
        return top_TK
    tail_T = logits_TV.scatter(1, ids_TK, -torch.inf).logsumexp(-1)
    return torch.cat([top_TK, tail_T[:, None]], -1)


def expand(
    gradient_TK: Tensor, logits_TV: Tensor, restricted_TK: Tensor, ids_TK: Tensor, tail_mode: Rest
) -> Tensor:
    """The gradient with respect to `logits_TV`, [T, V], from that with respect to `restrict` of
    them: the tail's goes to the others.
    """
    if tail_mode == "renormalise":
        return torch.zeros_like(logits_TV).scatter_(1, ids_TK, gradient_TK)
    shares_TV = (logits_TV - restricted_TK[:, -1:]).exp_()
    return shares_TV.mul_(gradient_TK[:, -1:]).scatter_(1, ids_TK, gradient_TK[:, :-1])
