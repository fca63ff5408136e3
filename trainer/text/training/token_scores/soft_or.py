"""soft_or = ĥ + δ̂ − ĥ δ̂ (TIP, arXiv 2604.14084, eq. 7)."""

from __future__ import annotations

from trainer.spec import SelectedTokens
from trainer.text.training.token_importance import Array, cut, unit


def score(tokens: SelectedTokens, entropy: Array, reverse: Array, forward: Array) -> Array:
    unit_entropy = unit(cut(entropy, tokens.entropy_quantile))
    unit_divergence = unit(cut(reverse, tokens.divergence_quantile))
    return unit_entropy + unit_divergence - unit_entropy * unit_divergence
