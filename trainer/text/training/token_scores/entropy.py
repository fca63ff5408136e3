"""entropy = h, cut at its quantile."""

from __future__ import annotations

from trainer.spec import SelectedTokens
from trainer.text.training.token_importance import Array, cut


def score(tokens: SelectedTokens, entropy: Array, reverse: Array, forward: Array) -> Array:
    return cut(entropy, tokens.entropy_quantile)
