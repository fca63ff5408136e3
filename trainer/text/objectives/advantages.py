"""How much better an answer is than the others to the same problem (GRPO, arXiv 2402.03300).

With the rewards r of a problem's answers that have a verdict, their mean μ and population standard
deviation σ (1/G, as in RLAD, arXiv 2602.22495): A = (r − μ) / σ, or r − μ where not standardised
(Dr. GRPO, arXiv 2503.20783). Shapes: N answers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Rewards that differ by no more are equal but for rounding, which a division by their standard
# deviation would blow up.
SAME = 1e-9


def group_advantages(
    rewards_N: Sequence[float | None], groups_N: Sequence[int], standardise: bool
) -> NDArray[np.float64]:
    """Advantages [N], summing to 0 over each group. 0 for answers without a verdict (None) and for
    groups whose rewards are all equal.
    """
    advantages = np.zeros(len(rewards_N))
    for indices in _judged(rewards_N, groups_N):
        rewards = np.array([rewards_N[index] for index in indices], dtype=np.float64)
        if np.ptp(rewards) > SAME:
            centred = rewards - rewards.mean()
            advantages[indices] = centred / rewards.std() if standardise else centred
    return advantages


def zero_variance_share(rewards_N: Sequence[float | None], groups_N: Sequence[int]) -> float:
    """Share of the groups that teach nothing because their rewards are all equal, or that have no
    verdict. 0 of no groups.
    """
    groups = set(groups_N)
    differing = sum(
        bool(np.ptp([rewards_N[index] for index in indices]) > SAME)
        for indices in _judged(rewards_N, groups_N)
    )
    return 1 - differing / len(groups) if groups else 0.0


def _judged(rewards_N: Sequence[float | None], groups_N: Sequence[int]) -> list[list[int]]:
    """Places of the answers with a verdict, by group."""
    members: dict[int, list[int]] = {}
    for index, (reward, group) in enumerate(zip(rewards_N, groups_N, strict=True)):
        if reward is not None:
            members.setdefault(group, []).append(index)
    return list(members.values())
