"""Forward KL, KL(p_T ‖ p_S) = Σ_v p_T (log p_T − log p_S): covers all that the teacher writes.

    entry   p_T log(p_T / p_S)     slope   −p_T
    non-negative form: + p_S − p_T         + p_S

Without a clip, the gradient with respect to the student's logits is (p_S − p_T) / τ.
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
    return kl_entries(log_t_TV, log_s_TV, objective.clip)


def entries_and_slopes(objective: Divergence, p: Distributions) -> EntriesAndSlopes:
    entries_TV, slopes_TV = p.t * (p.log_t - p.log_s), -p.t
    if needs_nonneg(objective.clip):
        entries_TV.add_(p.s).sub_(p.t)
        slopes_TV.add_(p.s)
    return entries_TV, slopes_TV
