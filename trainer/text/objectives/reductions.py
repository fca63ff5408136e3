"""How the losses of tokens are reduced to one loss.

    sequence_mean   loss = (1/Z) Σ_i w̃_i (1/N_i) Σ_j (1/|T_ij|) Σ_t D_ijt   Z = B problems
    sequence_sum    loss = (1/Z) Σ_i w̃_i (1/N_i) Σ_j            Σ_t D_ijt   Z = B problems
    token_mean      loss = (1/Z) Σ_i w̃_i         Σ_j            Σ_t D_ijt   Z = Σ_ij |T_ij|
    fixed           loss = (1/Z) Σ_i w̃_i         Σ_j            Σ_t D_ijt   Z = Σ_ij L

over problems i with weight w̃_i, their N_i answers j and the trained tokens t ∈ T_ij: lengths count
**kept** tokens only. B, N_i and T_ij are those admitted to the update, over all ranks: the problems
that the controller trains on with all their answers, also answers that are dropped or masked
afterwards; L is the longest possible answer. A method sums coefficient · D over its rows, and the
loop divides by Z once for the update. So micro-batches and ranks give the gradient of the whole
update, and a row that is dropped later does not change the coefficients of the others.
`batch_self_norm` (an ablation) weights what Z counts: Σ_i w̃_i, Σ_ij w̃_i |T_ij|, Σ_ij w̃_i L.

`fixed` is the constant denominator of Dr. GRPO (arXiv 2503.20783): the length of an answer does not
change the share of any other token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["sequence_mean", "token_mean", "sequence_sum", "fixed"]
Normalisation = Literal["pool", "batch_self_norm"]


def token_coefficients(
    weights: Sequence[float], siblings: Sequence[int], lengths: Sequence[int], reduction: Reduction
) -> Tensor:
    """Return one coefficient per kept token, row by row, float64 [Σ lengths], not yet divided by Z.

    `weights` w̃ of its problem, `siblings` the number of its problem's answers in the batch, and
    `lengths` the number of its kept tokens, possibly 0, are given per row.
    """
    per_row = torch.tensor(weights, dtype=torch.float64)
    if reduction in ("sequence_mean", "sequence_sum"):
        per_row = per_row / torch.tensor(siblings)
    counts = torch.tensor(lengths, dtype=torch.long)
    if reduction == "sequence_mean":
        per_row = per_row / counts.clamp_min(1)
    return per_row.repeat_interleave(counts)


def normaliser(
    reduction: Reduction,
    normalisation: Normalisation,
    weights: Sequence[float],
    row_weights: Sequence[float],
    lengths: Sequence[int],
    longest: int,
) -> float:
    """Return Z of an update.

    `weights` are per admitted problem; `row_weights` (of their problems) and kept `lengths` are per
    admitted row. `longest` is L, the largest number of tokens of an answer.
    """
    self_normalised = normalisation == "batch_self_norm"
    if reduction in ("sequence_mean", "sequence_sum"):
        z = float(sum(weights)) if self_normalised else float(len(weights))
    else:
        counted_lengths = lengths if reduction == "token_mean" else [longest] * len(lengths)
        z = float(
            sum(
                (weight if self_normalised else 1.0) * length
                for weight, length in zip(row_weights, counted_lengths, strict=True)
            )
        )
    # Nothing to count, or all weights zero: the sum to be divided is zero too.
    return z or 1.0
