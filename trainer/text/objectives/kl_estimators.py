"""KL(p_S ‖ p) as a loss of the sampled tokens, with d = log p_S(y) − log p(y).

    k2 = d² / 2             its expected gradient, E[d ∇log p_S], is that of the reverse KL
    k3 = e^(−d) + d − 1     as GRPO publishes it (arXiv 2402.03300, eq. 4); its expected gradient,
                            E[(1 − p / p_S) ∇log p_S], is that of the forward KL, KL(p ‖ p_S)

Both are never negative, and the expectations are over tokens drawn from p_S (Schulman 2020,
“Approximating KL divergence”). k1 = d as a loss has a gradient of mean 0; its place is the
advantage (`trainer.text.shapers.kl`).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from trainer.text.objectives.surrogates import LARGEST_LOG_RATIO


def kl_loss(estimator: Literal["k2", "k3"], logprob_T: Tensor, other_T: Tensor) -> Tensor:
    """Return the estimator [T]; the gradient flows through `logprob_T` alone."""
    difference_T = logprob_T - other_T.detach()
    if estimator == "k2":
        return difference_T.square() / 2
    # Above e^20 it is cut, without gradient, as ratios are.
    return (-difference_T).clamp(max=LARGEST_LOG_RATIO).exp() + difference_T - 1
