"""Importance weights for answers that were sampled by another law than the trainer's.

Another program sampled them, older weights, or the same weights in another number format.

    c_t ← c_t · min(π(y_t) / μ(y_t), 2)

with π of the trainer and μ of the sampler, both under the distribution that y_t was sampled from.
This is truncated importance sampling: the weight is a constant, and the normaliser Z does not
change. Ratio objectives take π as their anchor instead of the sampler's log-probs, so that nothing
is corrected twice. Tokens that the student did not sample have no μ and weigh 1: those that a
teacher has written, and those that were forced. An edited answer was not sampled and is not
weighted.

Shapes: T tokens of a row.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.spec import RunSpec, Stage, VllmSampler
from trainer.text.rollouts.records import TrainRow

# A coefficient of exactly 0 would say that a token is left out, which changes Z.
LEAST = float(np.finfo(np.float32).tiny)

Numbers = NDArray[np.float32]


def needs_importance_weights(spec: RunSpec, stage: Stage, row: TrainRow, version: int) -> bool:
    """Whether a row was sampled by another law than that of the student after `version` updates."""
    sampling = stage.rollouts.generate.sampling
    if row.behaviour_logprobs is None or not sampling.temperature:
        return False
    # Overlapped answers come from older weights, so they need importance weights like a server's.
    if isinstance(spec.compute.sampler, VllmSampler) or spec.compute.overlap:
        return True
    # A cut distribution is chosen to be another one than the student's.
    if sampling.top_p < 1 or sampling.top_k > 0:
        return False
    # Updates in bfloat16 compute other log-probs than the sampler, which computes in float32.
    # Answers that were paused, or stored for a later round, are in part those of older weights.
    return spec.networks.student.dtype == "bfloat16" or set(row.versions) != {version}


def with_importance_weights(row: TrainRow, own_T: Numbers) -> TrainRow:
    """Multiply coefficients by importance weights; the trainer's log-probs become the anchor."""
    assert row.behaviour_logprobs is not None
    weights_T = importance_weight(
        torch.from_numpy(own_T), torch.from_numpy(row.behaviour_logprobs)
    ).numpy()
    return replace(weighted(row, np.nan_to_num(weights_T, nan=1.0)), anchor_logprobs=own_T)


def weighted(row: TrainRow, weights_T: Numbers) -> TrainRow:
    """Return the row with its coefficients multiplied by weights, which leave no token out."""
    return replace(row, coefficients=row.coefficients * np.maximum(weights_T, LEAST))


def importance_weight(
    trainer_logprob_T: Tensor, behaviour_logprob_T: Tensor, cap: float = 2.0
) -> Tensor:
    """Return min(π_trainer / μ, cap), [T], a constant; NaN where μ is.

    It corrects for tokens sampled by another engine or older weights (μ). Both log-probs are of the
    same token, at the same temperature, of distributions that are cut (top-p, top-k) in the same
    way.
    """
    return (trainer_logprob_T - behaviour_logprob_T).detach().exp().clamp_max(cap)
