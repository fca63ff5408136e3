"""The clipped surrogate of ratio objectives.

    clipped surrogate   −min(ρ A, clip(ρ, 1 − ε_low, 1 + ε_high) A),  ρ = π_S(y) / anchor(y)
                        (PPO, arXiv 1707.06347; DAPO, 2503.14476)

The anchor is any log-prob per token: the policy that sampled (GRPO, Uni-OPD), or a mixture with the
teacher's (RLAD, arXiv 2602.22495: α log π_old + (1 − α) log π_T). Advantages are per token; those
of an answer or a group are repeated over its tokens.

All arguments are [T], in nats. Results are [T], per token, not reduced, **losses** to be minimised.
The gradient flows through `logprob_T` alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

# e^20 is about 5e8. Float32 overflows above e^88, and ∞ · 0 would be NaN.
LARGEST_LOG_RATIO = 20.0


def clipped_surrogate(
    logprob_T: Tensor,
    anchor_logprob_T: Tensor,
    advantages_T: Tensor,
    clip_low: float,
    clip_high: float,
) -> Tensor:
    """Return the worse of both terms, [T].

    Where `is_clipped`, it is a constant without gradient; elsewhere −ρ A with gradient −ρ A ∇log
    π_S. A negative advantage has no upper bound of ρ; above e^20 it is cut, without gradient.
    """
    ratio_T, advantages_T = _ratio(logprob_T, anchor_logprob_T), advantages_T.detach()
    return -torch.minimum(
        ratio_T * advantages_T, ratio_T.clamp(1 - clip_low, 1 + clip_high) * advantages_T
    )


def is_clipped(
    logprob_T: Tensor,
    anchor_logprob_T: Tensor,
    advantages_T: Tensor,
    clip_low: float,
    clip_high: float,
) -> Tensor:
    """Return which ratios are beyond the clip, bool [T].

    A ratio is beyond the clip above 1 + ε_high if the advantage is positive, and below 1 − ε_low if
    it is negative.
    """
    ratio_T = _ratio(logprob_T.detach(), anchor_logprob_T)
    return ((advantages_T > 0) & (ratio_T > 1 + clip_high)) | (
        (advantages_T < 0) & (ratio_T < 1 - clip_low)
    )


def _ratio(logprob_T: Tensor, anchor_logprob_T: Tensor) -> Tensor:
    return (
        (logprob_T - anchor_logprob_T.detach()).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp()
    )
