"""How divergences of tokens add up to one loss.

    sequence_mean   loss = (1/Z) Σ_i w̃_i (1/N_i) Σ_j (1/|T_ij|) Σ_t D_ijt     Z = B planned problems
    token_mean      loss = (1/Z) Σ_i w̃_i         Σ_j            Σ_t D_ijt     Z = planned tokens

over problems i with weight w̃_i, their N_i answers j and tokens t. A method sums coefficient · D over the rows that it has at hand, and
the loop divides by Z once for the global batch: so micro-batches and ranks give the gradient of the whole batch, and a row that
drops out later leaves the others' coefficients as they were. `batch_self_norm` (an ablation) replaces B by Σ w̃_i, and the tokens
by their weighted count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["sequence_mean", "token_mean"]
Normalisation = Literal["pool", "batch_self_norm"]


def token_coefficients(weights: Sequence[float], siblings: Sequence[int], lengths: Sequence[int], reduction: Reduction) -> Tensor:
    """One coefficient per token of the rows one after the other, float64 [Σ lengths], before division by Z.

    Per row: w̃ of its problem, how many answers its problem has in the batch, and its tokens.
    """
    per_row = torch.tensor(weights, dtype=torch.float64)
    if reduction == "sequence_mean":
        per_row = per_row / torch.tensor(siblings) / torch.tensor(lengths)
    return per_row.repeat_interleave(torch.tensor(lengths))


def normaliser(
    reduction: Reduction, normalisation: Normalisation, weights: Sequence[float], siblings: Sequence[int], lengths: Sequence[int]
) -> float:
    """Z of the global batch: `weights` and `siblings` per planned problem, `lengths` per planned row in the problems' order."""
    own = normalisation == "batch_self_norm"
    if reduction == "sequence_mean":
        z = float(sum(weights)) if own else float(len(weights))
    else:
        rows = [weight if own else 1.0 for weight, answers in zip(weights, siblings, strict=True) for _ in range(answers)]
        z = float(sum(weight * length for weight, length in zip(rows, lengths, strict=True)))
    # All weights zero: the sum to be divided is zero too.
    return z or 1.0
