"""Divergences with hand-written gradients, for the LM-head operator that needs both at once.

All divergences here are sums D = Σ_v ℓ(p_T(v), p_S(v)) over the vocabulary. With the slope
g_v = ∂ℓ_v / ∂ log p_S(v) the gradient with respect to the student's logits is

    ∂D / ∂z_u = (g_u − p_S(u) Σ_v g_v) / τ

and a clipped entry has slope 0. Slopes of the entries a log(a / b), and the terms that the
non-negative form + b − a adds to them:

    forward KL        −p_T                                     + p_S
    reverse KL        p_S (log(p_S / p_T) + 1)                 − p_S
    JSD               (1 − β) p_S log(p_S / m)                 0 (its entries are never negative)
    skewed, forward   −(1 − α) p_S p_T / m                     + (1 − α) p_S
    skewed, reverse   p_S (log(p_S / m) + 1 − α p_S / m)       − (1 − α) p_S

`divergences` defines the same by autograd, and tests compare the two. All tensors are [T, V].
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from trainer.spec.objectives import (
    JSD,
    AdaptiveKL,
    Clip,
    Divergence,
    ForwardKL,
    NoClip,
    ReverseKL,
    SkewedKL,
)
from trainer.text.objectives.divergences import (
    head_gap_share,
    log_mixture,
    needs_nonneg,
    token_scale,
)


class Distributions(NamedTuple):
    """Distributions of teacher (t) and student (s), and their logarithms."""

    log_t: Tensor
    log_s: Tensor
    t: Tensor
    s: Tensor


Slopes = tuple[Tensor, Tensor]


def distributions_of(log_t_TV: Tensor, log_s_TV: Tensor) -> Distributions:
    return Distributions(log_t_TV, log_s_TV, log_t_TV.exp(), log_s_TV.exp())


def divergence_and_gradient(
    objective: Divergence, p: Distributions
) -> tuple[Tensor, Tensor, Tensor]:
    """Return D [T], the clipped share of its entries [T], and ∂D / ∂z_S at temperature 1 [T, V]."""
    entries_TV, slopes_TV = entries_and_slopes(objective, p)
    divergence_T, capped_T = _clip(objective.clip, entries_TV, slopes_TV)
    return divergence_T, capped_T, slopes_TV.sub_(p.s * slopes_TV.sum(-1, keepdim=True))


def entries_and_slopes(objective: Divergence, p: Distributions) -> Slopes:
    """Return ℓ_v and g_v, two new tensors [T, V]."""
    nonneg = needs_nonneg(objective.clip)
    match objective:
        case ForwardKL():
            return _forward(p, nonneg)
        case ReverseKL():
            return _reverse(p, nonneg)
        case JSD(beta=0 | 1):
            # By definition and not as limits of the JSD, which are 0.
            return (_reverse if objective.beta else _forward)(p, nonneg)
        case JSD():
            return _jsd(p, objective.beta)
        case SkewedKL():
            return (_skewed_forward if objective.direction == "forward" else _skewed_reverse)(
                p, objective.alpha, nonneg
            )
        case AdaptiveKL():
            share_T1 = head_gap_share(p.t, p.s, objective.head_mass)[:, None]
            pairs = zip(_forward(p, nonneg), _reverse(p, nonneg), strict=True)
            entries_TV, slopes_TV = (
                forward.lerp_(reverse, 1 - share_T1) for forward, reverse in pairs
            )
            return entries_TV, slopes_TV


def _forward(p: Distributions, nonneg: bool) -> Slopes:
    entries_TV, slopes_TV = p.t * (p.log_t - p.log_s), -p.t
    return (
        (entries_TV.add_(p.s).sub_(p.t), slopes_TV.add_(p.s)) if nonneg else (entries_TV, slopes_TV)
    )


def _reverse(p: Distributions, nonneg: bool) -> Slopes:
    entries_TV = p.s * (p.log_s - p.log_t)
    # Not in place: the slopes of the non-negative form are the plain entries.
    return (entries_TV.add(p.t).sub_(p.s), entries_TV) if nonneg else (entries_TV, entries_TV + p.s)


def _jsd(p: Distributions, beta: float) -> Slopes:
    log_m_TV = log_mixture(p.log_t, p.log_s, beta)
    slopes_TV = p.s * (p.log_s - log_m_TV) * (1 - beta)
    return torch.addcmul(slopes_TV, p.t, p.log_t - log_m_TV, value=beta), slopes_TV


def _skewed_forward(p: Distributions, alpha: float, nonneg: bool) -> Slopes:
    to_m_TV = p.log_t - log_mixture(p.log_t, p.log_s, alpha)
    entries_TV, slopes_TV = p.t * to_m_TV, (p.log_s + to_m_TV).exp_().mul_(alpha - 1)
    if nonneg:
        entries_TV.add_(p.s - p.t, alpha=1 - alpha)
        slopes_TV.add_(p.s, alpha=1 - alpha)
    return entries_TV, slopes_TV


def _skewed_reverse(p: Distributions, alpha: float, nonneg: bool) -> Slopes:
    to_m_TV = p.log_s - log_mixture(p.log_s, p.log_t, alpha)
    # α p_S / m, the student's share of the mixture, is computed in the exponent, where α = 0 gives
    # 0 instead of 0 · ∞.
    share_TV = (to_m_TV + (math.log(alpha) if alpha else -math.inf)).exp_()
    entries_TV, slopes_TV = p.s * to_m_TV, p.s * (to_m_TV + 1 - share_TV)
    if nonneg:
        entries_TV.add_(p.t - p.s, alpha=1 - alpha)
        slopes_TV.sub_(p.s, alpha=1 - alpha)
    return entries_TV, slopes_TV


def _clip(clip: NoClip | Clip, entries_TV: Tensor, slopes_TV: Tensor) -> tuple[Tensor, Tensor]:
    """Return the clipped sum [T] and the clipped share of the entries [T].

    The slopes are set to 0 or rescaled in place.
    """
    total_T = entries_TV.sum(-1)
    if isinstance(clip, NoClip):
        return total_T, torch.zeros_like(total_T)
    if clip.scope == "token":
        scale_T = token_scale(total_T, clip.limit)
        slopes_TV.mul_(scale_T[:, None])
        return total_T * scale_T, (total_T > clip.limit).to(total_T)
    clipped_TV = entries_TV > clip.limit
    slopes_TV.masked_fill_(clipped_TV, 0)
    return entries_TV.clamp_max(clip.limit).sum(-1), clipped_TV.to(total_T).mean(-1)
