"""GRPO (arXiv 2402.03300) with the clip range of DAPO (2503.14476): a clipped ratio × advantage."""

from __future__ import annotations

from trainer.spec import GRPO
from trainer.text.objectives.sampled_tokens import SampledTokens, TokenLoss
from trainer.text.objectives.surrogates import clipped_surrogate, is_clipped


def loss(objective: GRPO, tokens: SampledTokens) -> TokenLoss:
    arguments = (
        tokens.logprob,
        tokens.old_logprob,
        tokens.advantages,
        objective.clip_low,
        objective.clip_high,
    )
    # Whether a ratio is clipped is for the metric alone; `clipped_surrogate` clips by itself.
    return TokenLoss(clipped_surrogate(*arguments), is_clipped(*arguments))
