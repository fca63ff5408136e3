"""Reverse KL, KL(p_S ‖ p_T) = Σ_v p_S (log p_S − log p_T): avoids what the teacher does not write.

    entry   p_S log(p_S / p_T)     slope   p_S (log(p_S / p_T) + 1)
    non-negative form: + p_T − p_S         − p_S

Without a clip, the gradient with respect to the student's logits is
p_S (log p_S − log p_T − KL) / τ.
"""

from __future__ import annotations

from torch import Tensor

from trainer.spec import Divergence
from trainer.text.objectives.divergences import (
    Distributions,
    EntriesAndSlopes,
    kl_entries,
    needs_nonneg,
)


def entries(objective: Divergence, log_t_TV: Tensor, log_s_TV: Tensor) -> Tensor:
    return kl_entries(log_s_TV, log_t_TV, objective.clip)


def entries_and_slopes(objective: Divergence, p: Distributions) -> EntriesAndSlopes:
    entries_TV = p.s * (p.log_s - p.log_t)
    # Not in place: the slopes of the non-negative form are the plain entries.
    if needs_nonneg(objective.clip):
        return entries_TV.add(p.t).sub_(p.s), entries_TV
    return entries_TV, entries_TV + p.s
