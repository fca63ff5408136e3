"""Adaptive KL: forward and reverse KL, mixed by where the models differ (AKL, arXiv 2404.02657).

    (g_head forward KL + g_tail reverse KL) / (g_head + g_tail),  g = Σ |p_T − p_S|

over the teacher's likeliest tokens up to a mass μ (head) and over the others (tail). The gaps and
the choice of the head are constants. A clip applies to the weighted entries.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.spec import AdaptiveKL
from trainer.text.objectives import forward_kl, reverse_kl
from trainer.text.objectives.divergences import Distributions, EntriesAndSlopes

INITIAL_TOP_K = 64


def entries(objective: AdaptiveKL, log_t_TV: Tensor, log_s_TV: Tensor) -> Tensor:
    share_T1 = head_gap_share(log_t_TV.exp(), log_s_TV.detach().exp(), objective.head_mass)[:, None]
    return share_T1 * forward_kl.entries(objective, log_t_TV, log_s_TV) + (
        1 - share_T1
    ) * reverse_kl.entries(objective, log_t_TV, log_s_TV)


def entries_and_slopes(objective: AdaptiveKL, p: Distributions) -> EntriesAndSlopes:
    share_T1 = head_gap_share(p.t, p.s, objective.head_mass)[:, None]
    forward, reverse = (
        direction.entries_and_slopes(objective, p) for direction in (forward_kl, reverse_kl)
    )
    entries_TV, slopes_TV = (
        forward_TV.lerp_(reverse_TV, 1 - share_T1)
        for forward_TV, reverse_TV in zip(forward, reverse, strict=True)
    )
    return entries_TV, slopes_TV


def head_gap_share(t_TV: Tensor, s_TV: Tensor, mass: float) -> Tensor:
    """Return g_head / (g_head + g_tail), [T]; 0 where the two distributions are equal."""
    gap_TV = (t_TV - s_TV).abs()
    return (gap_TV * teacher_head(t_TV, mass)).sum(-1) / gap_TV.sum(-1).clamp_min(
        torch.finfo(gap_TV.dtype).tiny
    )


def teacher_head(t_TV: Tensor, mass: float) -> Tensor:
    """Return which tokens are the fewest likeliest ones with a total mass of `mass`, bool [T, V].

    In a language model these are few, so a full sort is not needed: topk is computed with a small
    k, which grows by a factor of eight until it is large enough.
    """
    width = k = t_TV.shape[-1]
    k = min(INITIAL_TOP_K, width)
    while True:
        top_TK, ids_TK = t_TV.topk(k)
        before_TK = top_TK.cumsum(-1) - top_TK
        if k == width or bool((before_TK[:, -1] >= mass).all()):
            return torch.zeros_like(t_TV, dtype=torch.bool).scatter(1, ids_TK, before_TK < mass)
        k = min(8 * k, width)
