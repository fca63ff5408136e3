"""The `token_regions` event: a step's tokens by entropy and divergence (TIP, arXiv 2604.14084)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.engine.loop import Runtime
from trainer.text.lm_head.linear_divergence import TokenScores, TokenStatistics
from trainer.text.training.token_importance import region_metrics, regions


def emit_token_regions(
    rt: Runtime,
    rows: Sequence[TokenScores] | Sequence[TokenStatistics],
    kept_T: NDArray[np.bool_],
    vocabulary: int,
) -> None:
    """Emit the event for the tokens with a divergence; nothing if there are none.

    `kept_T` are the tokens that were trained on.
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
