"""GRPO (arXiv 2402.03300) and its variants: a clipped ratio × advantage, and a KL term.

    ratio      of a token; of an answer (GSPO); or of an answer with a gradient for each token
               (GSPO-token)
    clip       [1 − ε_low, 1 + ε_high] (DAPO, arXiv 2503.14476); dual clip c for negative advantages
    KL term    β k2 or β k3 to the reference or the teacher

Shapers may give each token its own clip radii, and a shaped ratio in the place of the clipped one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.spec import GRPO
from trainer.spec.objectives.grpo import KLTerm
from trainer.spec.objectives.objective import Write
from trainer.text.objectives.kl_estimators import kl_loss
from trainer.text.objectives.sampled_tokens import SampledTokens, TokenLoss
from trainer.text.objectives.sequence_ratios import sequence_terms, sequence_token_terms
from trainer.text.objectives.surrogates import (
    ClipKind,
    clip_kinds,
    clipped_surrogate,
    shaped_ratio,
)


def loss(objective: GRPO, tokens: SampledTokens) -> TokenLoss:
    arguments = (*_terms(objective, tokens), tokens.advantages, *_clip_radii(objective, tokens))
    # How a ratio is clipped is for the metrics alone; `clipped_surrogate` clips by itself.
    loss_K = clipped_surrogate(*arguments, objective.dual_clip)
    clipped_K = clip_kinds(*arguments, objective.dual_clip)
    offsets_K = tokens.shaped(Write.RATIO_OFFSETS)
    if offsets_K is not None:
        shaped_K = ~offsets_K.isnan()
        ratio_K = shaped_ratio(tokens.logprob, offsets_K.nan_to_num())
        loss_K = torch.where(shaped_K, -tokens.advantages * ratio_K, loss_K)
        clipped_K = clipped_K.masked_fill(shaped_K, ClipKind.NONE)
    if isinstance(objective.kl, KLTerm):
        other_K = (
            tokens.teacher_logprob if objective.kl.to == "teacher" else tokens.reference_logprob
        )
        term_K = kl_loss(objective.kl.estimator, tokens.logprob, other_K)
        loss_K = loss_K + objective.kl.coefficient * term_K
    return TokenLoss(loss_K, clipped_K)


def _terms(objective: GRPO, tokens: SampledTokens) -> tuple[Tensor, Tensor]:
    """Return (log-probs, anchors) [K] of the ratio."""
    old_K = tokens.old_logprob
    match objective.ratio:
        case "token":
            return tokens.logprob, old_K
        case "sequence":
            return sequence_terms(tokens.logprob, old_K, tokens.rows)
        case "sequence_token":
            return sequence_token_terms(tokens.logprob, old_K, tokens.rows)


def _clip_radii(objective: GRPO, tokens: SampledTokens) -> tuple[float | Tensor, float | Tensor]:
    low_K, high_K = tokens.shaped(Write.CLIP_LOW), tokens.shaped(Write.CLIP_HIGH)
    return (
        objective.clip_low if low_K is None else low_K,
        objective.clip_high if high_K is None else high_K,
    )
