"""Log-prob of given tokens and entropy, from hidden states, in chunks of tokens.

No [tokens × vocabulary] logits of a whole batch exist. This is for objectives whose weight per
token depends on the log-probs (ratios, preferences), and for cross-entropy, which is −log p of a
given text: supervised training (SFT), or sequence-level distillation where the teacher wrote the
text (arXiv 1606.07947). The forward pass stores two numbers per token, log Σ_v exp(z_v / τ) and the
entropy E; the backward pass computes the logits again, chunk by chunk. With p = softmax(z / τ):

    ∂ log p_y / ∂ z_v = ([v = y] − p_v) / τ        ∂ E / ∂ z_v = −p_v (log p_v + E) / τ

A token whose logit is −∞ has p = 0 and adds 0 to the entropy.

Shapes: T tokens, C tokens of a chunk, H hidden, V vocabulary in use.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainer.text.language.heads import Head
from trainer.text.lm_head.chunks import Gradients, chunks, tokens_per_chunk
from trainer.text.objectives.divergences import at_least_float32

# In the place of log 0: times a probability of 0 it is 0, where −∞ would be NaN.
LEAST_LOG_PROB = -1e30


def linear_logprob(
    hidden_TH: Tensor,
    head: Head,
    ids_T: Tensor,
    *,
    vocabulary: int,
    temperature: float = 1.0,
    chunk: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return (log p(id_t), entropy of p at t), two [T] tensors, in nats, in at least float32.

    Both can be differentiated once. p = softmax(z / τ) over the first `vocabulary` entries of the
    logits z. Only the given tokens are computed.
    """
    with torch.autocast(hidden_TH.device.type, enabled=False):
        hidden_TH = hidden_TH.to(head.weight.dtype)
        size = chunk or tokens_per_chunk(vocabulary)
        log_probs_T, entropies_T = LinearLogprob.apply(
            hidden_TH, head.weight, head.bias, ids_T, vocabulary, temperature, size
        )
    return log_probs_T, entropies_T


class LinearLogprob(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_TH: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        ids_T: Tensor,
        vocabulary: int,
        temperature: float,
        chunk: int,
    ) -> tuple[Tensor, Tensor]:
        head = Head(weight, bias)
        chunk_results = []
        for tokens in chunks(len(hidden_TH), chunk):
            scaled_CV = _scaled_logits(head, hidden_TH[tokens], vocabulary, temperature)
            normaliser_C = scaled_CV.logsumexp(-1)
            log_p_CV = scaled_CV.sub_(normaliser_C[:, None])
            given_C = log_p_CV.gather(1, ids_T[tokens, None])[:, 0]
            log_p_CV.clamp_min_(LEAST_LOG_PROB)
            # A product of matrices, because p · log p would be one more [C, V] tensor.
            entropy_C = -torch.bmm(log_p_CV.exp()[:, None], log_p_CV[:, :, None])[:, 0, 0]
            chunk_results.append((given_C, entropy_C, normaliser_C))
        log_probs_T, entropies_T, normalisers_T = (
            torch.cat(column) for column in zip(*chunk_results, strict=True)
        )
        ctx.save_for_backward(hidden_TH, weight, bias, ids_T, entropies_T, normalisers_T)
        ctx.vocabulary, ctx.temperature, ctx.chunk = vocabulary, temperature, chunk
        return log_probs_T, entropies_T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, log_prob_gradients_T: Tensor, entropy_gradients_T: Tensor) -> Any:
        hidden_TH, weight, bias, ids_T, entropies_T, normalisers_T = ctx.saved_tensors
        head = Head(weight, bias)
        gradients = Gradients(hidden_TH, head, ctx.needs_input_grad[:3])
        for tokens in chunks(len(hidden_TH), ctx.chunk):
            scaled_CV = _scaled_logits(head, hidden_TH[tokens], ctx.vocabulary, ctx.temperature)
            log_p_CV = scaled_CV.sub_(normalisers_T[tokens, None]).clamp_min_(LEAST_LOG_PROB)
            p_CV = log_p_CV.exp()
            of_log_prob_C1 = log_prob_gradients_T[tokens, None] / ctx.temperature
            of_entropy_C1 = entropy_gradients_T[tokens, None] / ctx.temperature
            gradient_CV = (
                log_p_CV.add_(entropies_T[tokens, None])
                .mul_(of_entropy_C1)
                .add_(of_log_prob_C1)
                .mul_(p_CV)
                .neg_()
            )
            gradient_CV.scatter_add_(1, ids_T[tokens, None], of_log_prob_C1)
            gradients.add(tokens, hidden_TH[tokens], gradient_CV)
        of_weight = None if gradients.weight is None else gradients.weight.to(weight.dtype)
        of_bias = None if gradients.bias is None else gradients.bias.to(weight.dtype)
        return gradients.hidden, of_weight, of_bias, None, None, None, None


def _scaled_logits(head: Head, hidden_CH: Tensor, vocabulary: int, temperature: float) -> Tensor:
    """Return z / τ as a new tensor, which may be changed in place."""
    logits_CV = head.logits(hidden_CH, vocabulary)
    wide_CV = logits_CV.to(at_least_float32(logits_CV.dtype))
    return wide_CV if temperature == 1 else wide_CV.div_(temperature)
