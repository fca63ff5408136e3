"""How much better an answer is than the other answers to its problem (GRPO, arXiv 2402.03300).

With the rewards r of a problem's answers that have a verdict, their mean μ and population standard
deviation σ (1/G, as in RLAD, arXiv 2602.22495): A = (r − μ) / σ, or r − μ if not standardised
(Dr. GRPO, arXiv 2503.20783). Shapes: N answers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Smaller differences of rewards are rounding errors, which a division by their standard deviation
# would enlarge.
REWARD_TOLERANCE = 1e-9


def group_advantages(
    rewards_N: Sequence[float | None], groups_N: Sequence[int], standardise: bool
) -> NDArray[np.float64]:
    """Return advantages [N], which sum to 0 over each group.

    They are 0 for answers without a verdict (None) and for groups whose rewards are all equal.
    """
    advantages = np.zeros(len(rewards_N))
    for indices in _indices_by_group(rewards_N, groups_N):
        rewards = np.array([rewards_N[index] for index in indices], dtype=np.float64)
        if np.ptp(rewards) > REWARD_TOLERANCE:
            centred = rewards - rewards.mean()
            advantages[indices] = centred / rewards.std() if standardise else centred
    return advantages


def zero_variance_share(rewards_N: Sequence[float | None], groups_N: Sequence[int]) -> float:
    """Return the share of groups whose rewards are all equal or that have no verdict.

    Such groups have no gradient. The share is 0 if there are no groups.
    """
    groups = set(groups_N)
    differing = sum(
        bool(np.ptp([rewards_N[index] for index in indices]) > REWARD_TOLERANCE)
        for indices in _indices_by_group(rewards_N, groups_N)
    )
    return 1 - differing / len(groups) if groups else 0.0


def _indices_by_group(
    rewards_N: Sequence[float | None], groups_N: Sequence[int]
) -> list[list[int]]:
    """Return the indices of the answers with a verdict, one list per group."""
    members: dict[int, list[int]] = {}
    for index, (reward, group) in enumerate(zip(rewards_N, groups_N, strict=True)):
        if reward is not None:
            members.setdefault(group, []).append(index)
    return list(members.values())
