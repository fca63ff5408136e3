"""Ratios of whole answers: GSPO and GSPO-token (arXiv 2507.18071, eq. 7, 14 and 15).

    s_i   = (π_S(y_i) / π_old(y_i))^(1 / |y_i|) = exp( mean_t (log π_S(y_it) − log π_old(y_it)) )
    s_it  = sg[s_i] · π_S(y_it) / sg[π_S(y_it)]

over the tokens of answer i that are trained on. s_it has the value of s_i and a gradient of its
own, so that each token may have its own advantage.

Shapes: K tokens of several answers; `rows_K` numbers the answer of each.
"""

from __future__ import annotations

import torch
from torch import Tensor


def mean_by_row(values_K: Tensor, rows_K: Tensor) -> Tensor:
    """Return at each token the mean over its answer's tokens, [K]."""
    count = int(rows_K.max()) + 1 if len(rows_K) else 0
    sums = values_K.new_zeros(count).index_add(0, rows_K, values_K)
    return (sums / torch.bincount(rows_K, minlength=count).clamp_min(1))[rows_K]


def sequence_terms(logprob_K: Tensor, old_K: Tensor, rows_K: Tensor) -> tuple[Tensor, Tensor]:
    """Return (log-probs, anchors) [K] whose ratio is s_i, with its gradient."""
    return mean_by_row(logprob_K, rows_K), mean_by_row(old_K, rows_K)


def sequence_token_terms(logprob_K: Tensor, old_K: Tensor, rows_K: Tensor) -> tuple[Tensor, Tensor]:
    """Return (log-probs, anchors) [K] whose ratio is s_it."""
    own_K = logprob_K.detach()
    return logprob_K, own_K - mean_by_row(own_K - old_K, rows_K)
