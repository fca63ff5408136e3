"""Cross-entropy: −log π_S(y) of a given answer's token y."""

from __future__ import annotations

from trainer.spec import Objective
from trainer.text.objectives.sampled_tokens import SampledTokens, TokenLoss


def loss(_: Objective, tokens: SampledTokens) -> TokenLoss:
    return TokenLoss(-tokens.logprob)
