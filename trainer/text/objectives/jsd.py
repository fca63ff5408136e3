"""Generalised Jensen–Shannon divergence, β KL(p_T ‖ m) + (1 − β) KL(p_S ‖ m).

The mixture is m = β p_T + (1 − β) p_S (GKD, arXiv 2306.13649). β = 0 is forward KL and β = 1
reverse KL. They are not the limits of the JSD, which are 0, but those of JSD / β and JSD / (1 − β).
JSD_β(T, S) = JSD_{1−β}(S, T).

    slope   (1 − β) p_S log(p_S / m)     the entries are never negative
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.spec import JSD
from trainer.text.objectives import forward_kl, reverse_kl
from trainer.text.objectives.divergences import (
    Distributions,
    EntriesAndSlopes,
    kl_entries,
    log_mixture,
)


def entries(objective: JSD, log_t_TV: Tensor, log_s_TV: Tensor) -> Tensor:
    beta, clip = objective.beta, objective.clip
    if beta in (0, 1):
        return (reverse_kl if beta else forward_kl).entries(objective, log_t_TV, log_s_TV)
    log_m_TV = log_mixture(log_t_TV, log_s_TV, beta)
    return beta * kl_entries(log_t_TV, log_m_TV, clip) + (1 - beta) * kl_entries(
        log_s_TV, log_m_TV, clip
    )


def entries_and_slopes(objective: JSD, p: Distributions) -> EntriesAndSlopes:
    beta = objective.beta
    # By definition and not as limits of the JSD, which are 0.
    if beta in (0, 1):
        return (reverse_kl if beta else forward_kl).entries_and_slopes(objective, p)
    log_m_TV = log_mixture(p.log_t, p.log_s, beta)
    slopes_TV = p.s * (p.log_s - log_m_TV) * (1 - beta)
    return torch.addcmul(slopes_TV, p.t, p.log_t - log_m_TV, value=beta), slopes_TV
