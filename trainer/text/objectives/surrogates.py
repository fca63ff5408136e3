"""The clipped surrogate of ratio objectives.

    clipped surrogate   −min(ρ A, clip(ρ, 1 − ε_low, 1 + ε_high) A),  ρ = π_S(y) / anchor(y)
                        (PPO, arXiv 1707.06347; DAPO, 2503.14476)

    dual clip           max(the above, −c A) → min(…, −c A) of the loss where A < 0, c > 1
                        (arXiv 1912.09729, eq. 5)
    shaped ratio        −A π_S(y) / (sg[π_S(y)] + γ), without a clip

The anchor is any log-prob per token: the policy that sampled (GRPO, Uni-OPD), or a mixture with the
teacher's (RLAD, arXiv 2602.22495: α log π_old + (1 − α) log π_T). Advantages are per token; those
of an answer or a group are repeated over its tokens.

All arguments are [T], in nats. Results are [T], per token, not reduced, **losses** to be minimised.
The gradient flows through `logprob_T` alone.
"""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

# e^20 is about 5e8. Float32 overflows above e^88, and ∞ · 0 would be NaN.
LARGEST_LOG_RATIO = 20.0
LEAST_DENOMINATOR = 1e-3


def clipped_surrogate(
    logprob_T: Tensor,
    anchor_logprob_T: Tensor,
    advantages_T: Tensor,
    clip_low: float | Tensor,
    clip_high: float | Tensor,
    dual_clip: float | None = None,
) -> Tensor:
    """Return the worse of both terms, [T]; clip radii are for all tokens or one each.

    Where `is_clipped`, it is a constant without gradient; elsewhere −ρ A with gradient −ρ A ∇log
    π_S. Without `dual_clip` c a negative advantage has no upper bound of ρ; above e^20 it is cut,
    without gradient.
    """
    ratio_T, advantages_T = _ratio(logprob_T, anchor_logprob_T), advantages_T.detach()
    clipped_T = ratio_T.clamp_min(1 - clip_low).clamp_max(1 + clip_high)
    loss_T = -torch.minimum(ratio_T * advantages_T, clipped_T * advantages_T)
    if dual_clip is None:
        return loss_T
    return torch.where(advantages_T < 0, torch.minimum(loss_T, -dual_clip * advantages_T), loss_T)


def shaped_ratio(logprob_T: Tensor, offsets_T: Tensor) -> Tensor:
    """Return π / (sg[π] + γ) of offsets γ, [T]; with γ = 0 its gradient is that of log π.

    The denominator is at least 0.001 (ThinkTuning, arXiv 2508.07616: γ of either sign, where it
    has a pole).
    """
    probability_T = logprob_T.exp()
    return probability_T / (probability_T.detach() + offsets_T).clamp_min(LEAST_DENOMINATOR)


class ClipKind(IntEnum):
    """How a ratio was clipped: not at all, by ε_high, by ε_low, or by the dual clip."""

    NONE, UPPER, LOWER, DUAL = range(4)


def clip_kinds(
    logprob_T: Tensor,
    anchor_logprob_T: Tensor,
    advantages_T: Tensor,
    clip_low: float | Tensor,
    clip_high: float | Tensor,
    dual_clip: float | None = None,
) -> Tensor:
    """Return the `ClipKind` of each ratio, int64 [T]."""
    ratio_T, negative_T = _ratio(logprob_T.detach(), anchor_logprob_T), advantages_T < 0
    kinds_T = torch.zeros_like(ratio_T, dtype=torch.long)
    kinds_T[(advantages_T > 0) & (ratio_T > 1 + clip_high)] = ClipKind.UPPER
    kinds_T[negative_T & (ratio_T < 1 - clip_low)] = ClipKind.LOWER
    if dual_clip is not None:
        kinds_T[negative_T & (ratio_T > dual_clip)] = ClipKind.DUAL
    return kinds_T


def is_clipped(
    logprob_T: Tensor,
    anchor_logprob_T: Tensor,
    advantages_T: Tensor,
    clip_low: float | Tensor,
    clip_high: float | Tensor,
) -> Tensor:
    """Return which ratios are beyond the clip, bool [T].

    A ratio is beyond the clip above 1 + ε_high if the advantage is positive, and below 1 − ε_low if
    it is negative.
    """
    kinds_T = clip_kinds(logprob_T, anchor_logprob_T, advantages_T, clip_low, clip_high)
    return kinds_T != ClipKind.NONE


def _ratio(logprob_T: Tensor, anchor_logprob_T: Tensor) -> Tensor:
    return (
        (logprob_T - anchor_logprob_T.detach()).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp()
    )
