"""Where a step's tokens lie between what the student doubts and where the teacher differs (TIP,
arXiv 2604.14084), as an event.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.engine.loop import Runtime
from trainer.text.objectives.linear_divergence import TokenScores, TokenStatistics
from trainer.text.training.token_importance import region_metrics, regions


def emit_token_regions(
    rt: Runtime,
    rows: Sequence[TokenScores] | Sequence[TokenStatistics],
    kept_T: NDArray[np.bool_],
    vocabulary: int,
) -> None:
    """Tell of the tokens whose divergence is known; nothing where there is none. `kept_T` are those
    that were learnt from.
    """
    entropy_T, divergence_T = (
        _concatenate([row.entropy for row in rows]),
        _concatenate([row.divergence for row in rows]),
    )
    known_T = ~np.isnan(entropy_T) & ~np.isnan(divergence_T)
    if known_T.any():
        event = regions(
            entropy_T[known_T], divergence_T[known_T], kept_T[known_T], vocabulary=vocabulary
        )
        rt.emit("token_regions", stage=rt.stage, **event)
        rt.metrics(region_metrics(event))


def _concatenate(rows: Sequence[torch.Tensor]) -> NDArray[np.float64]:
    return np.asarray(torch.cat(list(rows)).double().cpu().numpy())
