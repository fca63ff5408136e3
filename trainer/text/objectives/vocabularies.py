"""Distributions over the likeliest tokens: their ids, their logits, and the gradient back to all.

With k ids chosen per position the restricted logits are those of the ids and, for rest="tail",
log Σ exp of all others: softmax of these k + 1 numbers is the distribution with the tail's
probabilities added up. rest="renormalise" drops the others.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from trainer.spec import AllLogits, TopLogits

Rest = Literal["renormalise", "tail"]


def top_ids(
    vocabulary: AllLogits | TopLogits, teacher_TV: Tensor, student_TV: Tensor
) -> Tensor | None:
    """Return ids [T, k] of the likeliest tokens of the model that `vocabulary.of` names.

    Returns None if all tokens are compared. The tables may be logits or log-probs.
    """
    if isinstance(vocabulary, AllLogits) or vocabulary.k >= teacher_TV.shape[-1]:
        return None
    return (teacher_TV if vocabulary.of == "teacher" else student_TV).topk(vocabulary.k).indices


def restrict(logits_TV: Tensor, ids_TK: Tensor, tail_mode: Rest) -> Tensor:
    """Return the restricted logits, [T, k] or, with the tail last, [T, k + 1]."""
    top_TK = logits_TV.gather(1, ids_TK)
    if tail_mode == "renormalise":
        return top_TK
    tail_T = logits_TV.scatter(1, ids_TK, -torch.inf).logsumexp(-1)
    return torch.cat([top_TK, tail_T[:, None]], -1)


def expand(
    gradient_TK: Tensor, logits_TV: Tensor, restricted_TK: Tensor, ids_TK: Tensor, tail_mode: Rest
) -> Tensor:
    """Return the gradient with respect to `logits_TV`, [T, V], from that of the restricted logits.

    The tail's gradient is distributed over the other tokens.
    """
    if tail_mode == "renormalise":
        return torch.zeros_like(logits_TV).scatter_(1, ids_TK, gradient_TK)
    # The share of each other token in the tail.
    shares_TV = (logits_TV - restricted_TK[:, -1:]).exp_()
    return shares_TV.mul_(gradient_TK[:, -1:]).scatter_(1, ids_TK, gradient_TK[:, :-1])
