"""From logits to the next token of each row, and what is recorded about it.

A row's token is the inverse of the cumulative distribution at the row's uniform number, so the same
number always gives the same token. Cuts are applied in the order of transformers: temperature,
top-k (ties kept), top-p (the smallest set with at least that mass).

Shapes: N rows, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from trainer.spec.sampling import Sampling


class TokenChoice(NamedTuple):
    """Ids, log-probs (model, sampling distribution) and the model's entropies, each [N].

    The model's most likely tokens and their log-probs are [N, K], or None.
    """

    ids: Tensor
    logprobs: Tensor
    sampled_logprobs: Tensor
    entropies: Tensor
    top_ids: Tensor | None = None
    top_logprobs: Tensor | None = None


def choose(
    logits_NV: Tensor,
    uniforms_N: Tensor,
    sampling: Sampling,
    forced_N: Tensor | None = None,
    top: int = 0,
) -> TokenChoice:
    """Draw one token per row. Computed in float32, or in float64 for float64 logits.

    A row whose `forced_N` is an id takes it; −1 draws. The `top` most likely tokens are reported.
    """
    logits_NV = logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32))
    model_NV = logits_NV.log_softmax(-1)
    probabilities_NV = model_NV.exp()
    entropies = -torch.linalg.vecdot(probabilities_NV, model_NV)
    if entropies.isnan().any():
        # 0 · log 0 of a token that the model never writes (a logit of −∞) is 0.
        entropies = torch.special.entr(probabilities_NV).sum(-1)
    top_logprobs, top_ids = model_NV.topk(top, dim=-1) if top else (None, None)
    if sampling.temperature == 0:
        ids = _with_forced(logits_NV.argmax(-1), forced_N)
        logprobs = _at(model_NV, ids)
        sampled_logprobs = torch.zeros_like(logprobs)
    # Without cuts both distributions are the same: one softmax less per token.
    elif sampling.temperature == 1 and sampling.top_k == 0 and sampling.top_p == 1:
        ids = _with_forced(_inverse_cdf(probabilities_NV, uniforms_N), forced_N)
        logprobs = sampled_logprobs = _at(model_NV, ids)
    else:
        sampling_NV = _sampling_logprobs(logits_NV, sampling)
        ids = _with_forced(_inverse_cdf(sampling_NV.exp(), uniforms_N), forced_N)
        logprobs, sampled_logprobs = _at(model_NV, ids), _at(sampling_NV, ids)
    return TokenChoice(ids, logprobs, sampled_logprobs, entropies, top_ids, top_logprobs)


def _with_forced(ids_N: Tensor, forced_N: Tensor | None) -> Tensor:
    return ids_N if forced_N is None else torch.where(forced_N < 0, ids_N, forced_N)


def _sampling_logprobs(logits_NV: Tensor, sampling: Sampling) -> Tensor:
    """Log-probabilities after temperature, top-k and top-p; −∞ for cut tokens."""
    logits_NV = logits_NV / sampling.temperature
    if 0 < sampling.top_k < logits_NV.shape[-1]:
        least = logits_NV.topk(sampling.top_k, dim=-1).values[:, -1:]
        logits_NV = logits_NV.masked_fill(logits_NV < least, -torch.inf)
    if sampling.top_p < 1:
        # A stable sort cuts equally likely tokens in the order of their ids, on every device.
        sorted_NV, order_NV = (
            logits_NV.log_softmax(-1).exp().sort(dim=-1, descending=True, stable=True)
        )
        # The mass before a token decides: the token that reaches `top_p` stays, so one always does.
        mass_before_NV = sorted_NV.cumsum(-1) - sorted_NV
        cut_NV = torch.zeros_like(logits_NV, dtype=torch.bool).scatter_(
            -1, order_NV, mass_before_NV >= sampling.top_p
        )
        logits_NV = logits_NV.masked_fill(cut_NV, -torch.inf)
    return logits_NV.log_softmax(-1)


def _inverse_cdf(probabilities_NV: Tensor, uniforms_N: Tensor) -> Tensor:
    """The first id whose cumulative mass exceeds the uniform number.

    Computed in float64, so that a large vocabulary loses no mass.
    """
    mass_NV = probabilities_NV.cumsum(-1, dtype=torch.float64)
    # Scaled by the computed total: rounding keeps it from being exactly 1, and a number beyond it
    # would choose no token.
    target_N1 = uniforms_N[:, None] * mass_NV[:, -1:]
    # `right`: the number 0 must not choose a first token whose mass is 0.
    return torch.searchsorted(mass_NV, target_N1, right=True)[:, 0].clamp_(
        max=probabilities_NV.shape[-1] - 1
    )


def _at(values_NV: Tensor, ids_N: Tensor) -> Tensor:
    return values_NV.gather(-1, ids_N[:, None])[:, 0]
