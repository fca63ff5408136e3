"""Skewed KL, to a mixture of both distributions (DistiLLM, arXiv 2402.03898).

    forward   KL(p_T ‖ m), m = α p_T + (1 − α) p_S     slope   −(1 − α) p_S p_T / m
              non-negative form                                + (1 − α) p_S
    reverse   KL(p_S ‖ m), m = α p_S + (1 − α) p_T     slope   p_S (log(p_S / m) + 1 − α p_S / m)
              non-negative form                                − (1 − α) p_S

α = 0 is the plain KL.
"""

from __future__ import annotations

import math

from torch import Tensor

from trainer.spec import SkewedKL
from trainer.text.objectives.divergences import (
    Distributions,
    EntriesAndSlopes,
    kl_entries,
    log_mixture,
    needs_nonneg,
)


def entries(objective: SkewedKL, log_t_TV: Tensor, log_s_TV: Tensor) -> Tensor:
    first_TV, second_TV = (
        (log_t_TV, log_s_TV) if objective.direction == "forward" else (log_s_TV, log_t_TV)
    )
    return kl_entries(first_TV, log_mixture(first_TV, second_TV, objective.alpha), objective.clip)


def entries_and_slopes(objective: SkewedKL, p: Distributions) -> EntriesAndSlopes:
    direction = _forward if objective.direction == "forward" else _reverse
    return direction(p, objective.alpha, needs_nonneg(objective.clip))


def _forward(p: Distributions, alpha: float, nonneg: bool) -> EntriesAndSlopes:
    to_m_TV = p.log_t - log_mixture(p.log_t, p.log_s, alpha)
    entries_TV, slopes_TV = p.t * to_m_TV, (p.log_s + to_m_TV).exp_().mul_(alpha - 1)
    if nonneg:
        entries_TV.add_(p.s - p.t, alpha=1 - alpha)
        slopes_TV.add_(p.s, alpha=1 - alpha)
    return entries_TV, slopes_TV


def _reverse(p: Distributions, alpha: float, nonneg: bool) -> EntriesAndSlopes:
    to_m_TV = p.log_s - log_mixture(p.log_s, p.log_t, alpha)
    # α p_S / m, the student's share of the mixture, is computed in the exponent, where α = 0 gives
    # 0 instead of 0 · ∞.
    share_TV = (to_m_TV + (math.log(alpha) if alpha else -math.inf)).exp_()
    entries_TV, slopes_TV = p.s * to_m_TV, p.s * (to_m_TV + 1 - share_TV)
    if nonneg:
        entries_TV.add_(p.t - p.s, alpha=1 - alpha)
        slopes_TV.sub_(p.s, alpha=1 - alpha)
    return entries_TV, slopes_TV
