"""DAPO's soft penalty for long answers (arXiv 2503.14476, eq. 13), in units of a right answer.

    R(y) = 0                                  |y| ≤ L − C
    R(y) = P ((L − C) − |y|) / C              L − C < |y| ≤ L

with the longest answer L, the penalised length C = share · L and the largest penalty P. It is added
to the rewards before their advantages are computed, so that the advantages of a group change by the
difference. The paper's second case, −1 beyond L, is that of an answer cut at L here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.spec import Stage
from trainer.spec.objectives.objective import Write
from trainer.spec.shapers.overlong import OverlongShaper
from trainer.text.objectives.advantages import group_advantages
from trainer.text.rollouts.records import TrainRow
from trainer.text.shapers.shaping import Changes


def shape(shaper: OverlongShaper, rows: Sequence[TrainRow], stage: Stage) -> Changes:
    longest = stage.rollouts.generate.sampling.max_new_tokens
    rewards = [None if row.answer.verdict is None else float(row.answer.verdict) for row in rows]
    penalised = [
        None if reward is None else reward - penalty(shaper, len(row.answer.ids), longest)
        for reward, row in zip(rewards, rows, strict=True)
    ]
    groups, standardise = [row.owner for row in rows], stage.objective.standardises_advantages
    change = group_advantages(penalised, groups, standardise) - group_advantages(
        rewards, groups, standardise
    )
    return {Write.ADVANTAGES: change.astype(np.float32).tolist()}


def penalty(shaper: OverlongShaper, length: int, longest: int) -> float:
    """Return what an answer of so many tokens loses, between 0 and the largest penalty."""
    penalised_length = shaper.share * longest
    beyond = length - (longest - penalised_length)
    return shaper.penalty * min(max(beyond / penalised_length, 0.0), 1.0)
